import { wellFormed } from "./text.ts";

/** Controls, what turns the direction of text around, what nobody sees, and separators of lines. */
const UNSEEN = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
/** What some file system takes for something else. */
const SPECIAL = /[<>:"|?*]/g;
/** Bytes most file systems take. */
const NAME_BYTES = 200;
const UNNAMED = "attachment";

/** A name as it may be shown, and saved under: the last part of a path, of which nothing is left to do harm. */
export function fileName(said: string): string {
  const last = said.split(/[/\\]/).at(-1) ?? "";
  const plain = wellFormed(last.replaceAll(UNSEEN, "").replaceAll(SPECIAL, "_")).trim();
  // Neither hidden, nor the directory above, nor with dots at its end that would go.
  const bare = plain.replace(/^[.\s]+/, "").replace(/[.\s]+$/, "");
  return bare === "" ? UNNAMED : shortened(bare);
}

/** What it ends with says what it is: that stays. */
function shortened(name: string): string {
  if (Buffer.byteLength(name) <= NAME_BYTES) return name;
  const dot = name.lastIndexOf(".");
  const extension = dot > 0 && name.length - dot <= 10 ? name.slice(dot) : "";
  const room = NAME_BYTES - Buffer.byteLength(extension);
  let taken = "";
  let bytes = 0;
  for (const char of name.slice(0, name.length - extension.length)) {
    bytes += Buffer.byteLength(char);
    if (bytes > room) break;
    taken += char;
  }
  return taken + extension;
}
