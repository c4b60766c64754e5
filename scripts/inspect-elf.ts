/** What the loader of Linux reads of an executable. */
export interface Elf {
  readonly format: "elf";
  readonly arch: string;
  /** The program that loads it. */
  readonly interpreter: string;
  /** The libraries it cannot do without. */
  readonly needed: readonly string[];
  /** The newest version of glibc it asks for, such as 2.17; null: none. */
  readonly glibc: string | null;
}

const MACHINES: Readonly<Record<number, string>> = { 0x3e: "x64", 0xb7: "arm64" };
const SEGMENT = { load: 1, dynamic: 2, interpreter: 3 } as const;
const TAG = { needed: 1, strings: 5, versions: 0x6ffffffe, versionCount: 0x6fffffff } as const;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Reads a 64-bit little-endian executable. @throws RangeError where it ends too early */
export function inspectElf(bytes: Buffer): Elf {
  const at = Number(bytes.readBigUInt64LE(0x20));
  const size = bytes.readUInt16LE(0x36);
  const segments = Array.from({ length: bytes.readUInt16LE(0x38) }, (_, index): Segment => {
    const start = at + index * size;
    return {
      type: bytes.readUInt32LE(start),
      offset: Number(bytes.readBigUInt64LE(start + 8)),
      address: Number(bytes.readBigUInt64LE(start + 16)),
      size: Number(bytes.readBigUInt64LE(start + 32)),
    };
  });
  const interpreter = segments.find(({ type }) => type === SEGMENT.interpreter);
  const tags = dynamicOf(bytes, segments);
  const strings = offsetOf(tags.get(TAG.strings)?.[0] ?? 0, segments);
  const needed = (tags.get(TAG.needed) ?? []).map((each) => textAt(bytes, strings + each));
  return {
    format: "elf",
    arch: MACHINES[bytes.readUInt16LE(0x12)] ?? "unknown",
    interpreter: interpreter === undefined ? "" : textAt(bytes, interpreter.offset),
    needed: needed.sort(),
    glibc: newestGlibc(bytes, tags, segments, strings),
  };
}

/** The values of the dynamic section, by tag. */
function dynamicOf(bytes: Buffer, segments: readonly Segment[]): ReadonlyMap<number, number[]> {
  const tags = new Map<number, number[]>();
  const dynamic = segments.find(({ type }) => type === SEGMENT.dynamic);
  if (dynamic === undefined) return tags;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = Number(bytes.readBigInt64LE(at));
    if (tag === 0) break;
    tags.set(tag, [...(tags.get(tag) ?? []), Number(bytes.readBigUInt64LE(at + 8))]);
  }
  return tags;
}

function newestGlibc(
  bytes: Buffer,
  tags: ReadonlyMap<number, number[]>,
  segments: readonly Segment[],
  strings: number,
): string | null {
  const found: string[] = [];
  let file = offsetOf(tags.get(TAG.versions)?.[0] ?? 0, segments);
  for (let files = tags.get(TAG.versionCount)?.[0] ?? 0; files > 0; files--) {
    let version = file + bytes.readUInt32LE(file + 8);
    for (let versions = bytes.readUInt16LE(file + 2); versions > 0; versions--) {
      const name = textAt(bytes, strings + bytes.readUInt32LE(version + 8));
      if (/^GLIBC_[\d.]+$/.test(name)) found.push(name.slice("GLIBC_".length));
      version += bytes.readUInt32LE(version + 12);
    }
    file += bytes.readUInt32LE(file + 12);
  }
  return found.sort((one, other) => Bun.semver.order(padded(one), padded(other))).at(-1) ?? null;
}

function padded(version: string): string {
  return [...version.split("."), "0", "0"].slice(0, 3).join(".");
}

/** Where in the file an address is. */
function offsetOf(address: number, segments: readonly Segment[]): number {
  const segment = segments.find(
    (each) => each.type === SEGMENT.load && address >= each.address && address < each.address + each.size,
  );
  return segment === undefined ? 0 : address - segment.address + segment.offset;
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString("latin1", at, bytes.indexOf(0, at));
}
