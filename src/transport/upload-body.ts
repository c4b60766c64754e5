import type { Limits } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { takenBytes } from "./unread-body.ts";

interface BodyDeps {
  readonly limits: Limits;
  readonly clock: Clock;
}

/** What a form has around its file. */
const FORM_BYTES = 16 * 1024;

/**
 * The body of an upload as it comes, no more of it than a file may have, and no longer than it may take. How large the file
 * itself is, is for who takes it. @throws GatewayError INVALID_REQUEST, TOO_LARGE, TIMEOUT
 */
export async function* uploadedBytes(
  deps: BodyDeps,
  { headers, body }: Request,
): AsyncGenerator<Uint8Array, void, void> {
  const { attachment_bytes, upload_deadline_ms } = deps.limits;
  if ((headers.get("content-encoding") ?? "identity") !== "identity") {
    throw new GatewayError("INVALID_REQUEST", "send the file as it is, without Content-Encoding", {
      details: { kind: "content_type" },
      http: 415,
    });
  }
  const most = attachment_bytes + FORM_BYTES;
  const last = most + takenBytes(deps.limits);
  const said = Number(headers.get("content-length") ?? 0);
  if (said > last) throw tooLarge(attachment_bytes);
  if (body === null) return;
  const reader = body.getReader();
  let late = false;
  const cancel = deps.clock.after(upload_deadline_ms, () => {
    late = true;
    void reader.cancel().catch(() => undefined);
  });
  let size = 0;
  try {
    for (let next = await read(reader); !next.done; next = await read(reader)) {
      size += next.value.length;
      if (size > last) break;
      // What is too large is taken in all the same: a proxy that may not finish tells its client 502 in place of our answer.
      if (size <= most && said <= most) yield next.value;
      // Pieces of a byte each cost 15 times as much one by one; while nobody asks for them they are put together.
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (size > most) throw tooLarge(attachment_bytes);
    if (late) throw tooSlow(upload_deadline_ms);
  } finally {
    cancel();
    void reader.cancel().catch(() => undefined);
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

async function read(reader: Reader): ReturnType<Reader["read"]> {
  try {
    return await reader.read();
  } catch (cause) {
    throw new GatewayError("INVALID_REQUEST", "the body broke off", { details: { kind: "body" }, cause });
  }
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError("TOO_LARGE", `a file may have ${limit} bytes (limits.attachment_bytes)`, {
    details: { kind: "attachment" },
    limit: { what: "attachment_bytes", limit },
  });
}

function tooSlow(limit: number): GatewayError {
  return new GatewayError("TIMEOUT", `the file took longer than ${limit} ms (limits.upload_deadline_ms)`, {
    details: { kind: "body" },
    limit: { what: "upload_deadline_ms", limit },
  });
}

/**
 * The same bytes for somebody who may give up in the middle, and what reads on then: who is cut off while it sends may not
 * read why. Of what nobody began to read nothing is read.
 */
export function forgiving(body: AsyncGenerator<Uint8Array, void, void>): {
  readonly content: AsyncIterableIterator<Uint8Array, void, void>;
  readonly readOn: () => Promise<void>;
} {
  let begun = false;
  const content: AsyncIterableIterator<Uint8Array, void, void> = {
    next() {
      begun = true;
      return body.next();
    },
    [Symbol.asyncIterator]: () => content,
  };
  return {
    content,
    async readOn() {
      try {
        while (begun && (await body.next()).done !== true);
      } catch {
        // It is refused for another reason already.
      }
    },
  };
}
