import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** How far the clocks of two machines may be apart, for what is signed with a time. */
const TOLERANCE_SECS = 300;
/** What a secret of Standard Webhooks begins with; the rest is the key, base64. */
const STANDARD_PREFIX = "whsec_";
const SIGNATURES = 16;

export type Verify = "token" | "hmac" | "standard";

/** A secret with 256 random bits, in the form its use asks for. */
export function newSigningSecret(verify: Verify): string {
  const bytes = randomBytes(32);
  return verify === "standard"
    ? `${STANDARD_PREFIX}${bytes.toString("base64")}`
    : `agh_${bytes.toString("base64url")}`;
}

/** What is wrong with a secret that somebody brings; null: nothing. */
export function secretFault(verify: Verify, secret: string): string | null {
  if (verify !== "standard") return null;
  const [, key = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  const { length } = Buffer.from(key, "base64");
  return length >= 24 && length <= 64 ? null : "of Standard Webhooks is whsec_ and 24 to 64 bytes in base64";
}

/** The value of webhook-signature, one for each secret. @param at seconds since 1970 */
export function signStandard(
  secrets: readonly string[],
  id: string,
  at: number,
  body: string | Uint8Array,
): string {
  return secrets.map((secret) => `v1,${standardMac(secret, id, at, body).toString("base64")}`).join(" ");
}

export interface Proof {
  readonly verify: Verify;
  /** The header it stands in, in lower case. */
  readonly header: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** Seconds since 1970. */
  readonly now: number;
}

/** Whether a delivery was made by who has the secret. Takes as long for a wrong one as for a right one. */
export function proves(secret: string, { verify, header, headers, body, now }: Proof): boolean {
  const said = headers.get(header) ?? "";
  if (verify === "token") {
    return same(header === "authorization" ? said.replace(/^bearer +/i, "") : said, secret);
  }
  if (verify === "hmac") {
    const mac = createHmac("sha256", secret).update(body).digest();
    const bare = said.replace(/^sha256=/, "");
    // Some write it in hex, some in base64.
    return [same(bare.toLowerCase(), mac.toString("hex")), same(bare, mac.toString("base64"))].includes(true);
  }
  const id = headers.get("webhook-id") ?? "";
  const time = headers.get("webhook-timestamp") ?? "";
  const at = /^\d{1,12}$/.test(time) ? Number(time) : 0;
  const mac = standardMac(secret, id, at, body).toString("base64");
  const signed = said.split(" ").slice(0, SIGNATURES);
  const known = signed.map((each) => each.startsWith("v1,") && same(each.slice(3), mac)).includes(true);
  return known && id !== "" && Math.abs(now - at) <= TOLERANCE_SECS;
}

function standardMac(secret: string, id: string, at: number, body: string | Uint8Array): Buffer {
  const key = Buffer.from(secret.slice(STANDARD_PREFIX.length), "base64");
  return createHmac("sha256", key).update(`${id}.${at}.`).update(body).digest();
}

/** In a time that tells neither where they differ nor how long the right one is. */
function same(a: string, b: string): boolean {
  return timingSafeEqual(digest(a), digest(b));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
