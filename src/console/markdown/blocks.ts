import type { Token } from "marked";
import { getDefaults, Lexer, Tokenizer } from "marked";
import remend from "remend";

/** More than this is shown as it is: nobody reads a document of that size here, and a browser must not stall on it. */
const MOST_CHARS = 200_000;
/** How much of the end of a text that still grows may become something else with what comes. */
const UNSETTLED_BLOCKS = 2;
/** What follows takes a time that grows with the square of the length: longer pieces are no prose, and stay as written. */
const HEAL_CHARS = 2_000;
const INLINE_CHARS = 4_000;
const LINE_CHARS = 20_000;
/** Twenty quotes or lists inside each other at the beginning of a line. */
const DEEP = /^[ \t]*(?:>[ \t]?|[-*+][ \t]+|\d{1,9}[.)][ \t]+){20}/m;
/** For the words of one text; what is left after that stays as written. */
const INLINE_MS = 150;

/**
 * The blocks of a text that grows at its end. What was said long ago is not read again with every word: blocks before
 * the last two stay as they are. A definition of a link that comes after its use counts once the text is complete.
 */
export class Blocks {
  #text = "";
  #complete = false;
  #tokens: readonly Token[] = [];

  /** Each with the same identity as before as long as it says the same. */
  of(given: string, complete: boolean): readonly Token[] {
    if (given === this.#text && complete === this.#complete) return this.#tokens;
    const text = given.replaceAll(/\r\n?/g, "\n");
    const grows = !complete && !this.#complete && text.startsWith(this.#text);
    // What is complete is read once more as a whole: what came later can change what an earlier block says.
    this.#tokens = complete ? read(text) : this.#reuse(grows ? this.#grown(text) : read(text));
    this.#text = text;
    this.#complete = complete;
    return this.#tokens;
  }

  #grown(text: string): readonly Token[] {
    const settled = this.#tokens.slice(0, settledOf(this.#tokens));
    const length = settled.reduce((sum, { raw }) => sum + raw.length, 0);
    // Where the blocks do not add up to the text (tabs are rewritten) it is read from its beginning.
    if (settled.map(({ raw }) => raw).join("") !== text.slice(0, length)) return read(text);
    return [...settled, ...read(text.slice(length))];
  }

  #reuse(tokens: readonly Token[]): readonly Token[] {
    const before = this.#tokens;
    // A definition changes what other blocks say.
    if (tokens.some(({ type }) => type === "def")) return tokens;
    return tokens.map((token, at) => {
      const known = before[at];
      return known?.raw === token.raw && known.type === token.type ? known : token;
    });
  }
}

function settledOf(tokens: readonly Token[]): number {
  let left = UNSETTLED_BLOCKS;
  for (let at = tokens.length - 1; at >= 0; at--) {
    if (tokens[at]?.type !== "space" && --left === 0) return at;
  }
  return 0;
}

function read(text: string): Token[] {
  if (text.length > MOST_CHARS || longestLine(text) > LINE_CHARS || DEEP.test(text)) return [plain(text)];
  try {
    return readBlocks(text);
  } catch {
    // Nested so deep that it cannot be read: no prose.
    return [plain(text)];
  }
}

function longestLine(text: string): number {
  let longest = 0;
  for (let from = 0; from <= text.length;) {
    const end = text.indexOf("\n", from);
    const to = end < 0 ? text.length : end;
    longest = Math.max(longest, to - from);
    from = to + 1;
  }
  return longest;
}

/** Looks for an underlined heading only where a line underlines: in a long paragraph the search alone takes long. */
class QuickTokenizer extends Tokenizer {
  override lheading(src: string): ReturnType<Tokenizer["lheading"]> {
    const end = src.indexOf("\n\n");
    const paragraph = end < 0 ? src : src.slice(0, end + 1);
    return /\n {0,3}(?:=+|-+)[ \t]*(?:\n|$)/.test(paragraph) ? super.lheading(src) : undefined;
  }
}

/** As marked's own lex(), with bounds on what is looked for inside of the blocks. */
function readBlocks(text: string): Token[] {
  const lexer = new Lexer({ ...getDefaults(), tokenizer: new QuickTokenizer() });
  lexer.blockTokens(text, lexer.tokens);
  const until = performance.now() + INLINE_MS;
  for (const { src, tokens } of lexer.inlineQueue) {
    const is_prose = src.length <= INLINE_CHARS && performance.now() < until;
    if (is_prose) lexer.inlineTokens(src, tokens);
    else tokens.push({ type: "text", raw: src, text: src });
  }
  return [...lexer.tokens];
}

/** The last block of an unfinished text, as if it ended well: an open **bold or `code is closed. */
export function healed(token: Token): readonly Token[] {
  if (token.type === "code" || token.raw.length > HEAL_CHARS) return [token];
  const whole = remend(token.raw, { linkMode: "text-only" });
  return whole === token.raw ? [token] : read(whole);
}

function plain(text: string): Token {
  return { type: "plain", raw: text, text };
}
