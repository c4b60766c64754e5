import { createHash } from "node:crypto";

/** What macOS reads of an executable. */
export interface Macho {
  readonly format: "macho";
  readonly arch: string;
  /** The oldest macOS it starts on. */
  readonly macos: string;
  /**
   * Of its code signature: "whole" where every page is what was signed, "broken" where one is not, which macOS ends on arm64. It is
   * nobody's signature ("ad hoc"): it says that the file is as it was built, not by whom.
   */
  readonly signature: "none" | "whole" | "broken";
}

const MACHINES: Readonly<Record<number, string>> = { 0x01000007: "x64", 0x0100000c: "arm64" };
const COMMAND = { signature: 0x1d, version: 0x32, oldVersion: 0x24 } as const;
const BLOB = { super: 0xfade0cc0, directory: 0xfade0c02 } as const;
const SHA256 = 2;

/** Reads a 64-bit little-endian executable. @throws RangeError where it ends too early */
export function inspectMacho(bytes: Buffer): Macho {
  let macos = "";
  let signature: Macho["signature"] = "none";
  let at = 32;
  for (let commands = bytes.readUInt32LE(16); commands > 0; commands--) {
    const command = bytes.readUInt32LE(at);
    if (command === COMMAND.version) macos = versionOf(bytes.readUInt32LE(at + 12));
    if (command === COMMAND.oldVersion) macos = versionOf(bytes.readUInt32LE(at + 8));
    if (command === COMMAND.signature) {
      signature = isWhole(bytes, bytes.readUInt32LE(at + 8)) ? "whole" : "broken";
    }
    at += bytes.readUInt32LE(at + 4);
  }
  return { format: "macho", arch: MACHINES[bytes.readUInt32LE(4)] ?? "unknown", macos, signature };
}

function versionOf(packed: number): string {
  return `${packed >>> 16}.${(packed >>> 8) & 0xff}`;
}

/** Whether the hashes of the signature's code directory are those of the file's pages. */
function isWhole(bytes: Buffer, at: number): boolean {
  if (bytes.readUInt32BE(at) !== BLOB.super) return false;
  for (let blob = 0; blob < bytes.readUInt32BE(at + 8); blob++) {
    const directory = at + bytes.readUInt32BE(at + 12 + blob * 8 + 4);
    if (bytes.readUInt32BE(directory) === BLOB.directory) return holds(bytes, directory, at);
  }
  return false;
}

function holds(bytes: Buffer, directory: number, end: number): boolean {
  const hashes = directory + bytes.readUInt32BE(directory + 16);
  const pages = bytes.readUInt32BE(directory + 28);
  const limit = bytes.readUInt32BE(directory + 32);
  const [size = 0, type = 0, , page = 0] = bytes.subarray(directory + 36, directory + 40);
  // All that comes before the signature has to be covered by it.
  if (type !== SHA256 || limit !== end || Math.ceil(limit / 2 ** page) !== pages) return false;
  return Array.from({ length: pages }, (_, index) => index).every((index) => {
    const start = index * 2 ** page;
    const hash = createHash("sha256").update(bytes.subarray(start, Math.min(start + 2 ** page, limit)));
    const signed = bytes.subarray(hashes + index * size, hashes + (index + 1) * size);
    return hash.digest().equals(signed);
  });
}
