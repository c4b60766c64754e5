/** Ids: a prefix that says what it names, 48 bits of time, 80 random bits; sortable by time, opaque to clients. */
export type IdPrefix =
  | "ses"
  | "msg"
  | "imp"
  | "run"
  | "con"
  | "tok"
  | "aus"
  | "apr"
  | "att"
  | "upl"
  | "req"
  | "nod"
  | "call"
  | "hok"
  | "sch"
  | "whk"
  | "del";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** e.g. `ses_01jd3m8x5qk2v9w7r4t6y8z0ab`: 26 base-32 characters after the prefix. */
export function newId(prefix: IdPrefix, now: number): string {
  let time = "";
  for (let rest = now, i = 0; i < 10; i++) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${time}${randomText(16, ALPHABET)}`;
}

const EPOCH_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";

/** A new identity for a session's numbering: `[a-z0-9]{8}`. */
export function newEpoch(): string {
  return randomText(8, EPOCH_ALPHABET);
}

function randomText(length: number, alphabet: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  let text = "";
  for (const byte of bytes) text += alphabet.charAt(byte % alphabet.length);
  return text;
}

/** Whether an id is one only the gateway makes. */
export function isGatewaySessionId(id: string): boolean {
  return id.startsWith("ses_");
}
