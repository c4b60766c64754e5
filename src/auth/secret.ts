import { timingSafeEqual } from "node:crypto";

/** What a secret is for, said by its first letters. */
export type SecretPrefix = "agb_" | "ags_" | "agt_";

/** Longest secret that is looked at, UTF-16 code units. */
export const MAX_SECRET_CHARS = 4_096;

/** 256 random bits, base64url, behind a prefix: 47 characters. */
export function newSecret(prefix: SecretPrefix): string {
  return prefix + Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
}

/** SHA-256 of a secret's UTF-8: all that is kept of it. */
export function digestOf(secret: string): Buffer {
  return new Bun.CryptoHasher("sha256").update(secret).digest();
}

/** Whether two digests are the same, in a time that does not tell where they differ. */
export function sameDigest(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A keyed hash that knows texts again in this process, and means nothing outside it. */
export function createMark(): (...texts: readonly string[]) => string {
  const key = crypto.getRandomValues(new Uint8Array(32));
  return (...texts) => new Bun.CryptoHasher("sha256", key).update(JSON.stringify(texts)).digest("base64url");
}
