const REPLACEMENT = "\uFFFD";

/**
 * Text as the log may hold it: every lone surrogate and U+0000 replaced by U+FFFD. Keeps the number of UTF-16 units.
 */
export function wellFormed(text: string): string {
  const sound = text.isWellFormed() ? text : text.toWellFormed();
  return sound.includes("\0") ? sound.replaceAll("\0", REPLACEMENT) : sound;
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
