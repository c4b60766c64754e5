const REPLACEMENT = "\uFFFD";

/**
 * Text as the log may hold it: every lone surrogate and U+0000 replaced by U+FFFD. Keeps the number of UTF-16 units.
 */
export function wellFormed(text: string): string {
  const sound = text.isWellFormed() ? text : text.toWellFormed();
  return sound.includes("\0") ? sound.replaceAll("\0", REPLACEMENT) : sound;
}

/** Every escape in JSON text; an escaped backslash is one, so that what follows it is none. */
const ESCAPES = /\\(?:u[0-9a-f]{4}|[^u])/g;
/** What `JSON.stringify` writes for U+0000 and for a lone surrogate. */
const UNSOUND = /^\\u(?:0000|d[89a-f][0-9a-f]{2})$/;

/** JSON text as `JSON.stringify` makes it, with every string and key in it `wellFormed`. */
export function wellFormedJson(json: string): string {
  return json.replace(ESCAPES, (escape) => (UNSOUND.test(escape) ? REPLACEMENT : escape));
}

/** One text that arrives in chunks; the pieces it hands out joined are `wellFormed` of the chunks joined. */
export interface WellFormedText {
  /** What may be shown of the text so far and was not shown before; "" while half a surrogate pair is all there is. */
  push(chunk: string): string;
  /** What was held back: "" or U+FFFD. The next push begins another text. */
  end(): string;
}

/** A trailing high surrogate waits for its other half in the next chunk, so that no piece splits a pair. */
export function createWellFormed(): WellFormedText {
  let held = "";
  return {
    push(chunk) {
      if (chunk === "") return "";
      const text = held + chunk;
      const last = text.charCodeAt(text.length - 1);
      const splits = last >= 0xd800 && last <= 0xdbff;
      held = splits ? text.slice(-1) : "";
      return wellFormed(splits ? text.slice(0, -1) : text);
    },
    end() {
      const rest = held === "" ? "" : REPLACEMENT;
      held = "";
      return rest;
    },
  };
}

/** Bytes of the text in UTF-8; a lone surrogate counts as the U+FFFD it becomes. */
export function lengthUtf8(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

/** The beginning of a text that is well-formed, at most so many bytes of UTF-8. */
export function cutUtf8(text: string, max_bytes: number): string {
  if (lengthUtf8(text) <= max_bytes) return text;
  const head = new TextDecoder().decode(new TextEncoder().encode(text).subarray(0, max_bytes));
  // The last character may have been cut through.
  return head.replace(/\uFFFD$/, "");
}
