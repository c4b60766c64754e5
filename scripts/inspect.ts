import type { Elf } from "./inspect-elf.ts";
import { inspectElf } from "./inspect-elf.ts";
import type { Macho } from "./inspect-macho.ts";
import { inspectMacho } from "./inspect-macho.ts";
import type { Target } from "./release-targets.ts";

/** What Windows reads of an executable. */
export interface Pe {
  readonly format: "pe";
  readonly arch: string;
  /** Whether it opens a console, and not a window. */
  readonly console: boolean;
  /** Whether there is a signature in it. */
  readonly signed: boolean;
}

const MACHINES: Readonly<Record<number, string>> = { 0x8664: "x64", 0xaa64: "arm64" };
const CONSOLE = 3;
/** The oldest glibc that is promised: that of CentOS 7. */
const GLIBC = "2.17";

/** Reads the headers of an executable without running it. @throws where it is none of Linux, macOS or Windows */
export function inspect(bytes: Buffer): Elf | Macho | Pe {
  if (bytes.readUInt32BE(0) === 0x7f454c46) return inspectElf(bytes);
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return inspectMacho(bytes);
  if (bytes.toString("latin1", 0, 2) === "MZ") return inspectPe(bytes);
  throw new Error("it is no executable of Linux, macOS or Windows");
}

function inspectPe(bytes: Buffer): Pe {
  const header = bytes.readUInt32LE(0x3c);
  if (bytes.toString("latin1", header, header + 4) !== "PE\0\0") throw new Error("it has no PE header");
  const optional = header + 24;
  return {
    format: "pe",
    arch: MACHINES[bytes.readUInt16LE(header + 4)] ?? "unknown",
    console: bytes.readUInt16LE(optional + 68) === CONSOLE,
    // The fifth directory is the table of certificates.
    signed: bytes.readUInt32LE(optional + 112 + 4 * 8 + 4) > 0,
  };
}

/** What is wrong with an executable for its target; empty: nothing that can be seen without running it. */
export function faultsOf(bytes: Buffer, target: Target): string[] {
  const found = inspect(bytes);
  const faults: string[] = [];
  if (found.format !== target.format || found.arch !== target.arch)
    faults.push(`is ${found.format} for ${found.arch}, not ${target.format} for ${target.arch}`);
  if (found.format === "elf") {
    if (found.interpreter !== target.interpreter)
      faults.push(`is loaded by ${found.interpreter}, not ${target.interpreter}`);
    if (found.glibc !== null && Bun.semver.order(`${found.glibc}.0`, `${GLIBC}.0`) > 0)
      faults.push(`needs glibc ${found.glibc}, newer than ${GLIBC}`);
    const musl = found.needed.some((library) => library.startsWith("libc.musl-"));
    if (musl !== target.name.endsWith("-musl")) faults.push(`needs ${found.needed.join(", ")}`);
  }
  // An Apple processor runs nothing without a signature that holds.
  if (found.format === "macho" && found.arch === "arm64" && found.signature !== "whole")
    faults.push(`has a code signature that is ${found.signature}`);
  if (found.format === "pe" && !found.console) faults.push("opens a window");
  return faults;
}
