import type { EventFrame } from "../protocol/frames.ts";

/** How a device says who it is: by signing what the gateway asks. The private key stays with whoever made this. */
export interface DeviceCredential extends DeviceChoices {
  /** Lowercase hex of the SHA-256 of the public key. */
  readonly device_id: string;
  /** The raw 32 bytes of the Ed25519 public key, base64url without padding. */
  readonly public_key: string;
  /** The Ed25519 signature of the text's UTF-8, base64url without padding. */
  sign(text: string): Promise<string>;
}

export interface DeviceChoices {
  /** Asks for less than what was granted; default: all of it. */
  readonly scopes?: readonly string[];
  /** The Origin header this runtime sends. Default: a page's own, elsewhere none. */
  readonly origin?: string;
  /**
   * A device the gateway does not know is given a code, which somebody who may approves. With this the code is told, again
   * whenever it changes, and the client waits until that is decided; without it an unknown device is refused.
   */
  readonly onPairing?: (pairing: Pairing) => void;
}

/** A request to be let in. */
export interface Pairing {
  /** No secret: shown on both sides, so that the right device is approved. */
  readonly code: string;
  /** By the gateway's clock. */
  readonly expires_at: number;
  /** The same from now on, whatever this machine's clock says. */
  readonly expires_in_ms: number;
}

/** What the gateway asks a device to sign. */
export interface Challenge {
  readonly nonce: string;
  readonly server_id: string;
  /** The gateway's time, milliseconds. */
  readonly ts: number;
}

/** Offered by a client that wants to be asked. */
export const CHALLENGE_SUBPROTOCOL = "agentbus.v1.challenge";

/**
 * A device whose key is WebCrypto's, as `crypto.subtle.generateKey("Ed25519", …)` makes it; a private key that cannot be
 * extracted will do. Keep the pair (a page: in IndexedDB) to be the same device the next time, and one for each gateway: a
 * gateway could pass on the challenge of another, whose device you would be with the same key.
 * @throws TypeError where WebCrypto is missing, as in a page that came over plain HTTP
 * @example
 * const keys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
 * const device = await deviceOf(keys, { onPairing: ({ code }) => console.log(`approve ${code}`) });
 * const client = createClient({ url: "https://bus.example.com", device });
 */
export async function deviceOf(
  keys: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey },
  choices: DeviceChoices = {},
): Promise<DeviceCredential> {
  return (await import("./admission.ts")).ofKeys(keys, choices);
}

/** What the challenge of a frame asks; null: it is not one that could be signed. */
export function readChallenge({ payload }: EventFrame): Challenge | null {
  const { nonce, server_id, ts } = payload;
  if (typeof nonce !== "string" || typeof server_id !== "string" || !Number.isSafeInteger(ts)) return null;
  // The bar separates what is signed: with one inside a field the text could be read in two ways.
  return nonce.includes("|") || server_id.includes("|") ? null : { nonce, server_id, ts: ts as number };
}
