import { createPublicKey, verify } from "node:crypto";
import { CommandError } from "./exit.ts";

/** The files a release is known by, beside its archives. */
export const SUMS = "SHA256SUMS";
export const SIGNATURE = "SHA256SUMS.sig";
const SIGNATURE_BYTES = 64;

/** What the archive of a target is called, such as agentbus-0.1.0-linux-x64.tar.gz. */
export function archiveName(version: string, target: string): string {
  return `agentbus-${version}-${target}.${target.startsWith("windows-") ? "zip" : "tar.gz"}`;
}

export function executableName(target: string): string {
  return target.startsWith("windows-") ? "agentbus.exe" : "agentbus";
}

/** Every Ed25519 public key of a PEM text, written the same way. @throws CommandError where there is none, or another kind */
export function publicKeysIn(text: string): string[] {
  const blocks = text.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? [];
  if (blocks.length === 0) throw new CommandError("there is no public key: it is PEM, BEGIN PUBLIC KEY");
  return blocks.map((block) => {
    const key = createPublicKey(block);
    if (key.asymmetricKeyType !== "ed25519")
      throw new CommandError(`a public key is ${key.asymmetricKeyType}, not ed25519`);
    return key.export({ type: "spki", format: "pem" }).toString().trim();
  });
}

/** Whether one of the keys signed these bytes. */
export function isSigned(bytes: Uint8Array, signature: Uint8Array, keys: readonly string[]): boolean {
  return (
    signature.length === SIGNATURE_BYTES &&
    keys.some((key) => verify(null, bytes, createPublicKey(key), signature))
  );
}

/** SHA-256 in hex by file name, of a text as sha256sum writes it. What is no such line is left out. */
export function readSums(text: string): ReadonlyMap<string, string> {
  const lines = text.split("\n").flatMap((line) => {
    const [, sum, name] = /^([0-9a-f]{64}) [ *]([^/\\\s]+)$/.exec(line) ?? [];
    return sum === undefined || name === undefined ? [] : [[name, sum] as const];
  });
  return new Map(lines);
}

/** The version of the archive for a target; null: there is none, or more than one. */
export function versionIn(sums: ReadonlyMap<string, string>, target: string): string | null {
  const [start = "", end = ""] = archiveName("@", target).split("@");
  const versions = [...sums.keys()]
    .filter((name) => name.startsWith(start) && name.endsWith(end))
    .map((name) => name.slice(start.length, -end.length))
    .filter(isVersion);
  return versions.length === 1 ? (versions[0] ?? null) : null;
}

/** As of Semantic Versioning, without build metadata. */
export function isVersion(text: string): boolean {
  return /^\d{1,6}\.\d{1,6}\.\d{1,6}(?:-[0-9A-Za-z.-]{1,40})?$/.test(text);
}
