/** A word of a text as it is looked for, and where it stands (UTF-16 code units). */
interface Word {
  readonly fold: string;
  readonly off: number;
  readonly length: number;
}

/** What a message has to say, every one of them: words that stand behind one another; the last may be begun only. */
export interface SearchTerms {
  readonly phrases: readonly (readonly string[])[];
  /** The last word of the last phrase may go on. */
  readonly isBegun: boolean;
}

/** A piece of a text around what was found in it. */
export interface Snippet {
  readonly snippet: string;
  /** What was found, by where it stands in the snippet (UTF-16 code units), in order. */
  readonly matches: readonly { readonly off: number; readonly length: number }[];
}

const MAX_WORDS = 16;
/** A word that is begun counts only from so many letters on: fewer stand at the beginning of too many words. */
export const BEGUN_LETTERS = 4;
const BEFORE_CHARS = 60;
const SNIPPET_CHARS = 240;
const MAX_MATCHES = 20;
/** How much of a message can be found. */
export const SEARCHED_CHARS = 64 * 1024;
const RUN = /[\p{L}\p{N}\p{M}]+/gu;
/** Scripts that put no space between words: each of their characters is one. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]\p{M}*/u;
const PIECE = new RegExp(`${UNSPACED.source}|(?:(?!${UNSPACED.source}).)+`, "gu");
const PLAIN = /^[A-Za-z0-9]+$/;

/** Its words in order, without case and accents. */
export function wordsOf(text: string): Word[] {
  const words: Word[] = [];
  for (const { 0: run, index } of text.matchAll(RUN)) {
    if (PLAIN.test(run)) words.push({ fold: run.toLowerCase(), off: index, length: run.length });
    else if (!UNSPACED.test(run)) words.push({ fold: fold(run), off: index, length: run.length });
    else {
      for (const piece of run.matchAll(PIECE))
        words.push({ fold: fold(piece[0]), off: index + piece.index, length: piece[0].length });
    }
  }
  return words.filter((word) => word.fold !== "");
}

function fold(word: string): string {
  return word
    .normalize("NFKD")
    .replaceAll(/[^\p{L}\p{N}]/gu, "")
    .toLowerCase();
}

/** What somebody looks for: words, all of them; what is within "…" or not parted by a space stands together. Null: nothing. */
export function termsOf(query: string): SearchTerms | null {
  const phrases: string[][] = [];
  let count = 0;
  for (const [, quoted, plain = ""] of query.matchAll(/"([^"]*)"|(\S+)/g)) {
    const words = wordsOf(quoted ?? plain)
      .map((word) => word.fold)
      .slice(0, MAX_WORDS - count);
    count += words.length;
    if (words.length > 0) phrases.push(words);
  }
  const last = phrases.at(-1)?.at(-1);
  if (last === undefined) return null;
  return { phrases, isBegun: [...last].length >= BEGUN_LETTERS && /[\p{L}\p{N}]$/u.test(query) };
}

/** The first place where everything is found; null: it is not all there. */
export function snippetOf(text: string, { phrases, isBegun }: SearchTerms): Snippet | null {
  const words = wordsOf(text);
  const found: { off: number; end: number }[] = [];
  for (const [index, phrase] of phrases.entries()) {
    const begun = isBegun && index === phrases.length - 1;
    const places = placesOf(words, phrase, begun);
    if (places.length === 0) return null;
    found.push(...places);
  }
  found.sort((a, b) => a.off - b.off);
  const from = boundary(text, Math.max(0, (found[0]?.off ?? 0) - BEFORE_CHARS));
  const to = boundary(text, Math.min(text.length, from + SNIPPET_CHARS));
  const matches: { off: number; length: number }[] = [];
  let last = from;
  for (const { off, end } of found) {
    if (off < last || end > to || matches.length === MAX_MATCHES) continue;
    matches.push({ off: off - from, length: end - off });
    last = end;
  }
  return { snippet: text.slice(from, to), matches };
}

function placesOf(
  words: readonly Word[],
  phrase: readonly string[],
  isBegun: boolean,
): { off: number; end: number }[] {
  const places: { off: number; end: number }[] = [];
  for (let first = 0; first + phrase.length <= words.length; first++) {
    const fits = phrase.every((word, index) => {
      const there = words[first + index]?.fold ?? "";
      return isBegun && index === phrase.length - 1 ? there.startsWith(word) : there === word;
    });
    const begin = words[first];
    const end = words[first + phrase.length - 1];
    if (fits && begin !== undefined && end !== undefined)
      places.push({ off: begin.off, end: end.off + end.length });
  }
  return places;
}

/** Not within a surrogate pair. */
function boundary(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return at > 0 && code >= 0xdc00 && code <= 0xdfff ? at - 1 : at;
}
