import { createHash } from "node:crypto";

/**
 * Gives an executable of macOS a code signature of nobody's ("ad hoc") that covers all of it. The compiler leaves the one of
 * the Bun it put the program into where that is for Intel, which holds no longer: macOS may refuse to start such a file, and
 * `codesign` to sign it.
 */
const COMMAND = { segment: 0x19, signature: 0x1d } as const;
const BLOB = { super: 0xfade0cc0, directory: 0xfade0c02 } as const;
/** Ad hoc, and made while linking: whoever has a certificate may replace it. */
const FLAGS = 0x20002;
const VERSION = 0x20400;
const MAIN_BINARY = 1n;
const PAGE_BITS = 12;
const PAGE = 2 ** PAGE_BITS;
const HASH = { bytes: 32, sha256: 2 } as const;
const SUPER_BYTES = 20;
const DIRECTORY_BYTES = 88;
const IDENTIFIER = Buffer.from("agentbus\0");

interface Commands {
  /** Offsets of the commands in the header. */
  readonly text: number;
  readonly linkedit: number;
  readonly signature: number;
}

/** The signed file. @throws where it has no room for a signature at its end */
export function signMacho(original: Buffer): Buffer {
  const { text, linkedit, signature } = commandsOf(original);
  const limit = original.readUInt32LE(signature + 8);
  const pages = Math.ceil(limit / PAGE);
  const hashes = DIRECTORY_BYTES + IDENTIFIER.length;
  const length = hashes + pages * HASH.bytes;
  const size = Math.ceil((SUPER_BYTES + length) / 16) * 16;
  const signed = Buffer.alloc(limit + size);
  original.copy(signed, 0, 0, limit);

  // The header is part of what is signed.
  const start = Number(signed.readBigUInt64LE(linkedit + 40));
  signed.writeUInt32LE(size, signature + 12);
  signed.writeBigUInt64LE(BigInt(Math.ceil((limit + size - start) / PAGE) * PAGE), linkedit + 32);
  signed.writeBigUInt64LE(BigInt(limit + size - start), linkedit + 48);

  [BLOB.super, SUPER_BYTES + length, 1, 0, SUPER_BYTES].forEach((word, index) =>
    signed.writeUInt32BE(word, limit + 4 * index),
  );
  const directory = signed.subarray(limit + SUPER_BYTES);
  [BLOB.directory, length, VERSION, FLAGS, hashes, DIRECTORY_BYTES, 0, pages, limit].forEach((word, index) =>
    directory.writeUInt32BE(word, 4 * index),
  );
  directory.set([HASH.bytes, HASH.sha256, 0, PAGE_BITS], 36);
  directory.writeBigUInt64BE(signed.readBigUInt64LE(text + 40), 64);
  directory.writeBigUInt64BE(signed.readBigUInt64LE(text + 48), 72);
  directory.writeBigUInt64BE(MAIN_BINARY, 80);
  directory.set(IDENTIFIER, DIRECTORY_BYTES);
  for (let page = 0; page < pages; page++) {
    const bytes = signed.subarray(page * PAGE, Math.min((page + 1) * PAGE, limit));
    directory.set(createHash("sha256").update(bytes).digest(), hashes + page * HASH.bytes);
  }
  return signed;
}

function commandsOf(bytes: Buffer): Commands {
  const found: { text?: number; linkedit?: number; signature?: number } = {};
  let at = 32;
  for (let commands = bytes.readUInt32LE(16); commands > 0; commands--) {
    const command = bytes.readUInt32LE(at);
    const name = bytes.toString("latin1", at + 8, at + 24).replace(/\0+$/, "");
    if (command === COMMAND.segment && name === "__TEXT") found.text = at;
    if (command === COMMAND.segment && name === "__LINKEDIT") found.linkedit = at;
    if (command === COMMAND.signature) found.signature = at;
    at += bytes.readUInt32LE(at + 4);
  }
  const { text, linkedit, signature } = found;
  if (text === undefined || linkedit === undefined || signature === undefined)
    throw new Error("the executable has no place for a code signature");
  return { text, linkedit, signature };
}
