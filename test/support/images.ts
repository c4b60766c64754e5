/** Images of which there is a header, and what stands for the rest. */

const text = (said: string): Uint8Array => Buffer.from(said, "latin1");

function joined(...parts: readonly (Uint8Array | string)[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === "string" ? text(part) : part))));
}

function numbers(format: "be16" | "le16" | "be32" | "le32", ...values: number[]): Uint8Array {
  const bytes = format.endsWith("16") ? 2 : 4;
  const buffer = Buffer.alloc(bytes * values.length);
  for (const [at, value] of values.entries()) {
    if (format === "be16") buffer.writeUInt16BE(value, at * 2);
    else if (format === "le16") buffer.writeUInt16LE(value, at * 2);
    else if (format === "be32") buffer.writeUInt32BE(value, at * 4);
    else buffer.writeUInt32LE(value, at * 4);
  }
  return buffer;
}

export function png(
  width: number,
  height: number,
  rest: Uint8Array | string = "rest",
): Uint8Array<ArrayBuffer> {
  return joined("\x89PNG\r\n\x1a\n", numbers("be32", 13), "IHDR", numbers("be32", width, height), rest);
}

export function gif(width: number, height: number, version = "89a"): Uint8Array<ArrayBuffer> {
  return joined(`GIF${version}`, numbers("le16", width, height), "rest");
}

/** `before`: bytes of metadata before the frame. */
export function jpeg(width: number, height: number, before = 20, marker = 0xc0): Uint8Array<ArrayBuffer> {
  const segments: Uint8Array[] = [];
  for (let left = before; left > 0; left -= 60_000) {
    const length = Math.min(left, 60_000);
    segments.push(joined("\xff\xe1", numbers("be16", length + 2), Buffer.alloc(length, 0xff)));
  }
  const frame = joined(
    `\xff${String.fromCharCode(marker)}`,
    numbers("be16", 17),
    "\x08",
    numbers("be16", height, width),
    "\x03rest of it",
  );
  return joined("\xff\xd8", ...segments, frame);
}

export function webp(kind: "VP8 " | "VP8L" | "VP8X", width: number, height: number): Uint8Array<ArrayBuffer> {
  const begin = joined("RIFF", numbers("le32", 100), "WEBP", kind, numbers("le32", 10));
  if (kind === "VP8 ") return joined(begin, "\0\0\0\x9d\x01\x2a", numbers("le16", width, height), "rest");
  if (kind === "VP8L")
    return joined(begin, "\x2f", numbers("le32", (width - 1) | ((height - 1) << 14)), "rest");
  const sides = [width - 1, height - 1].map((side) => numbers("le32", side).subarray(0, 3));
  return joined(begin, "\0\0\0\0", ...sides, "rest");
}
