import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";

export interface Body {
  readonly bytes: Uint8Array;
  /** There was more than may be read. */
  readonly isCut: boolean;
}

/** Reads what an answer holds once it is unpacked, up to `max_bytes`. Rejects where it breaks off. */
export async function readBody(response: IncomingMessage, max_bytes: number): Promise<Body> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of unpacked(response)) {
    const bytes = chunk as Uint8Array;
    chunks.push(bytes.subarray(0, max_bytes - length));
    length += bytes.length;
    if (length > max_bytes) break;
  }
  const isCut = length > max_bytes;
  if (!isCut && !response.complete) throw new Error("the answer broke off");
  response.destroy();
  return { bytes: Buffer.concat(chunks), isCut };
}

/** Unpacking goes on only as fast as it is read: what a bomb unpacks to is never held. */
function unpacked(response: IncomingMessage): Readable {
  const encoding = (response.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (encoding === "identity" || encoding === "") return response;
  const make = {
    gzip: createGunzip,
    "x-gzip": createGunzip,
    deflate: createInflate,
    br: createBrotliDecompress,
  }[encoding];
  if (make === undefined) throw new Error("the answer is packed in a way that was not asked for");
  const unpack = make();
  // Whatever goes wrong on either side is an error of what is read.
  return pipeline(response, unpack, () => undefined);
}

/** Text in the encoding that the answer, or the page itself, names; UTF-8 where it names none that exists. */
export function decode(bytes: Uint8Array, type: string): string {
  const named = /charset\s*=\s*["']?([\w-]{1,40})/i;
  const head = /html/i.test(type) ? Buffer.from(bytes.subarray(0, 1_024)).toString("latin1") : "";
  const label = named.exec(type)?.[1] ?? /<meta[^>]{0,200}/i.exec(head)?.[0].match(named)?.[1] ?? "utf-8";
  return decoder(label).decode(bytes);
}

function decoder(label: string): TextDecoder {
  try {
    return new TextDecoder(label);
  } catch {
    // A name that no encoding has.
    return new TextDecoder();
  }
}
