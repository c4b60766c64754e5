import type { KeyObject } from "node:crypto";
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { publicKeysIn } from "../src/cli/release-file.ts";

/** What a release is signed with, and what its executables trust. */
export interface ReleaseKeys {
  /** Null: this release is not signed. */
  readonly secret: KeyObject | null;
  /** PEM, one of each key. */
  readonly trusted: readonly string[];
}

interface Wanted {
  /** A file with the secret key; else AGENTBUS_RELEASE_KEY, the PEM itself. */
  readonly key?: string | undefined;
  /** A file with the public keys; else that of the secret one alone. */
  readonly public_key?: string | undefined;
  readonly unsigned: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** @throws one line that says what to do */
export function releaseKeys({ key, public_key, unsigned, env }: Wanted): ReleaseKeys {
  const trusted = public_key === undefined ? null : publicKeysIn(readFileSync(public_key, "utf8"));
  if (unsigned) return { secret: null, trusted: trusted ?? [] };
  const pem = key === undefined ? env["AGENTBUS_RELEASE_KEY"] : readFileSync(key, "utf8");
  if (pem === undefined || pem === "") {
    throw new Error(
      "a release is signed: give the key with --key FILE or AGENTBUS_RELEASE_KEY (docs/releases.md says how one is made), or say --unsigned",
    );
  }
  const passphrase = env["AGENTBUS_RELEASE_KEY_PASSPHRASE"];
  let secret: KeyObject;
  try {
    secret = createPrivateKey({ key: pem, format: "pem", ...(passphrase !== undefined && { passphrase }) });
  } catch {
    throw new Error(
      "the release key cannot be read: it is an Ed25519 key as PEM, with its passphrase in AGENTBUS_RELEASE_KEY_PASSPHRASE",
    );
  }
  if (secret.asymmetricKeyType !== "ed25519")
    throw new Error(`the release key is ${secret.asymmetricKeyType}, not ed25519`);
  const own = createPublicKey(secret).export({ type: "spki", format: "pem" }).toString().trim();
  if (trusted !== null && !trusted.includes(own))
    throw new Error(`${public_key} does not hold the public half of the release key: nobody would trust it`);
  return { secret, trusted: trusted ?? [own] };
}

export function signatureOf(bytes: Uint8Array, secret: KeyObject | string): Uint8Array {
  return sign(null, bytes, secret);
}
