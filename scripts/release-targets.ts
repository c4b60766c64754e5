/** How much is known of an executable before it is published; the notes of a release say so. */
export type Proof = "suite" | "emulated" | "parsed";

export interface Target {
  /** What its archive is called after. */
  readonly name: string;
  readonly bun: string;
  /** The package with the Bun that goes in; bun.lock has its checksum. */
  readonly runtime: string;
  readonly format: "elf" | "macho" | "pe";
  readonly arch: "x64" | "arm64";
  /** The program that loads it, for ELF. */
  readonly interpreter?: string;
  /** Of a Debian package. */
  readonly debian?: "amd64" | "arm64";
  readonly proof: Proof;
}

export const TARGETS: readonly Target[] = [
  {
    name: "linux-x64",
    bun: "bun-linux-x64",
    runtime: "@oven/bun-linux-x64",
    format: "elf",
    arch: "x64",
    interpreter: "/lib64/ld-linux-x86-64.so.2",
    debian: "amd64",
    proof: "suite",
  },
  {
    name: "linux-arm64",
    bun: "bun-linux-arm64",
    runtime: "@oven/bun-linux-aarch64",
    format: "elf",
    arch: "arm64",
    interpreter: "/lib/ld-linux-aarch64.so.1",
    debian: "arm64",
    proof: "emulated",
  },
  {
    name: "linux-x64-musl",
    bun: "bun-linux-x64-musl",
    runtime: "@oven/bun-linux-x64-musl",
    format: "elf",
    arch: "x64",
    interpreter: "/lib/ld-musl-x86_64.so.1",
    proof: "parsed",
  },
  {
    name: "linux-arm64-musl",
    bun: "bun-linux-arm64-musl",
    runtime: "@oven/bun-linux-aarch64-musl",
    format: "elf",
    arch: "arm64",
    interpreter: "/lib/ld-musl-aarch64.so.1",
    proof: "parsed",
  },
  {
    name: "darwin-x64",
    bun: "bun-darwin-x64",
    runtime: "@oven/bun-darwin-x64",
    format: "macho",
    arch: "x64",
    proof: "parsed",
  },
  {
    name: "darwin-arm64",
    bun: "bun-darwin-arm64",
    runtime: "@oven/bun-darwin-aarch64",
    format: "macho",
    arch: "arm64",
    proof: "parsed",
  },
  {
    name: "windows-x64",
    bun: "bun-windows-x64",
    runtime: "@oven/bun-windows-x64",
    format: "pe",
    arch: "x64",
    proof: "parsed",
  },
  {
    name: "windows-arm64",
    bun: "bun-windows-arm64",
    runtime: "@oven/bun-windows-aarch64",
    format: "pe",
    arch: "arm64",
    proof: "parsed",
  },
];
