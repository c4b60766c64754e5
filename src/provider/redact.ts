import { wellFormed } from "../core/text.ts";

/** How much of what an upstream says of its failure a client gets to read. */
export const MAX_REASON_CHARS = 300;

/** Looks like a credential, whole or as the upstream masked it itself. */
const CREDENTIAL = /\b(?:sk|rk|pk|gsk|xai|hf)[-_][\w*.-]{6,}|\bBearer\s+\S+/gi;

/** Makes someone else's text fit to show: no secret of ours, one line, at most MAX_REASON_CHARS. */
export type Redact = (text: string) => string;

export function createRedact(secrets: readonly string[]): Redact {
  const longest = secrets.filter((secret) => secret.length >= 4).toSorted((a, b) => b.length - a.length);
  return (text) => {
    let shown = text;
    for (const secret of longest) shown = shown.replaceAll(secret, "[redacted]");
    return clip(shown.replace(CREDENTIAL, "[redacted]"));
  };
}

/** One line of at most `max` UTF-16 units, control characters taken out. */
export function clip(text: string, max = MAX_REASON_CHARS): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, " ").trim();
  return wellFormed(line.length <= max ? line : `${line.slice(0, max - 1)}…`);
}
