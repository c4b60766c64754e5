import type { Challenge, DeviceChoices, DeviceCredential } from "./device.ts";
import type { ClientError } from "./error.ts";

/** The longest that a person could compare. */
const CODE_CHARS = 64;
const RETRY_MS = 2_000;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 60_000;

/** What a lost connection means for a device that is not in: it asks again, after the usual wait or a given one, or it is over. */
export type Verdict =
  | { readonly kind: "again"; readonly wait_ms: number | null }
  | { readonly kind: "over"; readonly error: ClientError };

/** A device on its way in, over the life of a client. Times are milliseconds of one clock. */
export interface Admission {
  /** What `connect` says of the device. */
  prove(challenge: Challenge): Promise<Record<string, unknown>>;
  /** It is in. */
  admitted(): void;
  /** Null: the loss has nothing to do with pairing. Tells the code where it is a new one. */
  lost(error: ClientError, now: number): Verdict | null;
}

/** `refused` makes an error of the gateway's kind: only devices load this, and it brings nothing along that is there already. */
export function createAdmission(
  device: DeviceCredential,
  client_id: string,
  refused: (late: string, details: Record<string, unknown>) => ClientError,
): Admission {
  /** The gateway's clock when it asked. */
  let asked_at = 0;
  let request: { readonly code: string; readonly until: number } | null = null;

  function ask(error: ClientError, now: number): Verdict {
    const { code, expires_at } = error.details;
    const told = typeof code === "string" && code.length <= CODE_CHARS && typeof expires_at === "number";
    if (device.onPairing === undefined || !told) return { kind: "over", error };
    const known = request?.code === code;
    const expires_in_ms = Math.max(0, expires_at - asked_at);
    request = { code, until: now + expires_in_ms };
    if (!known) device.onPairing({ code, expires_at, expires_in_ms });
    const wait_ms = Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, error.retry_after_ms ?? RETRY_MS));
    return { kind: "again", wait_ms };
  }

  return {
    prove(challenge) {
      asked_at = challenge.ts;
      return prove(device, client_id, challenge);
    },
    admitted() {
      request = null;
    },
    lost(error, now) {
      if (error.code === "UNAUTHORIZED" && error.details["kind"] === "pairing") return ask(error, now);
      if (request === null || !error.retryable) return null;
      // The gateway went away meanwhile: when it is back the request may have been decided.
      if (now < request.until) return { kind: "again", wait_ms: null };
      const late = "the pairing request expired before the gateway could be reached again";
      return { kind: "over", error: refused(late, { kind: "pairing_expired" }) };
    },
  };
}

/** What deviceOf() answers. */
export async function ofKeys(
  keys: { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey },
  choices: DeviceChoices,
): Promise<DeviceCredential> {
  const subtle = globalThis.crypto?.subtle;
  if (subtle === undefined) throw new TypeError("this runtime has no WebCrypto: sign some other way");
  const raw = await subtle.exportKey("raw", keys.publicKey);
  const hash = new Uint8Array(await subtle.digest("SHA-256", raw));
  return {
    ...choices,
    device_id: Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    public_key: toBase64url(raw),
    sign: async (text) =>
      toBase64url(await subtle.sign("Ed25519", keys.privateKey, new TextEncoder().encode(text))),
  };
}

/** The field `device` of `connect`. @throws whatever sign() does */
export async function prove(
  device: DeviceCredential,
  client_id: string,
  { nonce, server_id, ts }: Challenge,
): Promise<Record<string, unknown>> {
  const { device_id, public_key } = device;
  const scopes = [...new Set(device.scopes)].sort();
  // The gateway's own time: a device whose clock is wrong is not locked out.
  const fields = [server_id, device_id, client_id, device.origin ?? ownOrigin(), scopes.join(","), nonce, ts];
  const signature = await device.sign(`agentbus-device-v1|${fields.join("|")}`);
  return {
    device_id,
    public_key,
    signature,
    nonce,
    timestamp: ts,
    ...(scopes.length > 0 && { scopes }),
  };
}

/** What a browser sends as Origin; other runtimes have none and send none. */
function ownOrigin(): string {
  const { origin } = globalThis as { origin?: unknown };
  return typeof origin === "string" ? origin : "";
}

function toBase64url(bytes: ArrayBuffer): string {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
