import { GatewayError } from "../protocol/errors.ts";

/** What a file is, by its content. */
export interface Media {
  readonly media_type: string;
  /** Of an image, in pixels, as its header says; nothing of it is ever unpacked. */
  readonly size: { readonly width: number; readonly height: number } | null;
}

/** Images models take and browsers show without running anything in them. */
const IMAGES: readonly {
  readonly media_type: string;
  readonly begins: (bytes: Uint8Array) => boolean;
  readonly size: (bytes: DataView) => Size | null;
}[] = [
  { media_type: "image/png", begins: (bytes) => says(bytes, 0, "\x89PNG\r\n\x1a\n"), size: pngSize },
  { media_type: "image/jpeg", begins: (bytes) => says(bytes, 0, "\xff\xd8\xff"), size: jpegSize },
  {
    media_type: "image/gif",
    begins: (bytes) => says(bytes, 0, "GIF87a") || says(bytes, 0, "GIF89a"),
    size: (view) => sizeOf(view.getUint16(6, true), view.getUint16(8, true)),
  },
  {
    media_type: "image/webp",
    begins: (bytes) => says(bytes, 0, "RIFF") && says(bytes, 8, "WEBP"),
    size: webpSize,
  },
];

/** Of text it is the name that says what for; none of these is ever shown as anything else than text. */
const TEXTS: Readonly<Record<string, string>> = {
  csv: "text/csv",
  json: "application/json",
  markdown: "text/markdown",
  md: "text/markdown",
};

type Size = NonNullable<Media["size"]>;

/** Whether it is an image that may be shown as one; everything else is text. */
export function isImage(media_type: string): boolean {
  return media_type.startsWith("image/");
}

/**
 * Tells what a file is while it comes in. The first piece holds the header, or is the whole file.
 * @throws GatewayError INVALID_REQUEST {kind:"media_type"}
 */
export class Sniffer {
  readonly #text = new TextDecoder("utf-8", { fatal: true });
  #image: Media | null = null;
  #begun = false;

  push(piece: Uint8Array): void {
    if (!this.#begun) this.#image = imageOf(piece);
    this.#begun = true;
    if (this.#image === null) this.#check(piece);
  }

  /** `name` says which text it is. */
  end(name: string): Media {
    if (!this.#begun) throw refused("the file is empty: send its bytes as the body");
    if (this.#image !== null) return this.#image;
    this.#check(null);
    const extension = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
    const media_type = Object.hasOwn(TEXTS, extension) ? TEXTS[extension] : undefined;
    return { media_type: media_type ?? "text/plain", size: null };
  }

  #check(piece: Uint8Array | null): void {
    if (piece?.includes(0) === true) throw refused(NEITHER);
    try {
      this.#text.decode(piece ?? new Uint8Array(), { stream: piece !== null });
    } catch {
      throw refused(NEITHER);
    }
  }
}

const NEITHER = "only images (PNG, JPEG, GIF, WebP) and text in UTF-8 can be attached";

function refused(message: string): GatewayError {
  return new GatewayError("INVALID_REQUEST", message, { details: { kind: "media_type" }, http: 415 });
}

function imageOf(bytes: Uint8Array): Media | null {
  if (says(bytes, 0, "%PDF-"))
    throw refused("PDF files cannot be attached: attach their text, or images of their pages");
  const kind = IMAGES.find(({ begins }) => begins(bytes));
  if (kind === undefined) return null;
  const size = readSize(kind.size, bytes);
  if (size !== null) return { media_type: kind.media_type, size };
  throw refused(
    `this ${kind.media_type} cannot be read: no width and height where they belong; save it again without metadata`,
  );
}

/** Null where the header ends too soon, or says that there is nothing to see. */
function readSize(read: (view: DataView) => Size | null, bytes: Uint8Array): Size | null {
  try {
    return read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function sizeOf(width: number, height: number): Size | null {
  return width > 0 && height > 0 ? { width, height } : null;
}

function says(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

function fourCc(view: DataView, at: number): string {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}

function pngSize(view: DataView): Size | null {
  return fourCc(view, 12) === "IHDR" ? sizeOf(view.getUint32(16), view.getUint32(20)) : null;
}

/** Segments of a JPEG up to the one that begins a frame; those before it may be long. */
function jpegSize(view: DataView): Size | null {
  for (let at = 2; ;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    // Any number of FF may stand before a marker.
    if (marker === 0xff) {
      at++;
      continue;
    }
    const begins = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (begins) return sizeOf(view.getUint16(at + 7), view.getUint16(at + 5));
    const length = view.getUint16(at + 2);
    // The scan, the end, or a length that leads nowhere.
    if (marker === 0xda || marker === 0xd9 || length < 2) return null;
    at += 2 + length;
  }
}

function webpSize(view: DataView): Size | null {
  switch (fourCc(view, 12)) {
    case "VP8 ":
      if (view.getUint8(23) !== 0x9d || view.getUint8(24) !== 0x01 || view.getUint8(25) !== 0x2a) return null;
      return sizeOf(view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
    case "VP8L": {
      if (view.getUint8(20) !== 0x2f) return null;
      const bits = view.getUint32(21, true);
      return sizeOf((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1);
    }
    case "VP8X":
      return sizeOf(uint24(view, 24) + 1, uint24(view, 27) + 1);
    default:
      return null;
  }
}

function uint24(view: DataView, at: number): number {
  return view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
}
