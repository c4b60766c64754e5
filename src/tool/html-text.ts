import { Parser } from "htmlparser2";
import { setImmediate } from "node:timers/promises";

export interface PageText {
  readonly title: string;
  readonly text: string;
}

/** Nothing of these is read by a reader of the page. */
const HIDDEN = new Set(
  "script style noscript template svg math iframe object canvas select textarea".split(" "),
);
/** What stands before the content of an element; another line after it. */
const BLOCKS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    "div section article header footer main nav aside ul ol dl dt dd table tr figure form hr"
      .split(" ")
      .map((name) => [name, "\n"]),
  ),
  h1: "\n# ",
  h2: "\n## ",
  h3: "\n### ",
  h4: "\n#### ",
  h5: "\n##### ",
  h6: "\n###### ",
  p: "\n\n",
  pre: "\n\n",
  blockquote: "\n\n",
};
/** What stands before the content of an element and ends no line. */
const LEADS: Readonly<Record<string, string>> = { br: "\n", li: "\n- ", td: " | ", th: " | " };

const LINK_CHARS = 500;
const TITLE_CHARS = 500;
/** So much is read before others have their turn: who wrote the page does not decide for how long nobody else is answered. */
const SLICE_CHARS = 16 * 1024;
/** The parser looks through what is open at every end of an element. */
const DEPTH = 512;

/** A page as a reader sees it: its words in their order, with headings, lists, code and where its links lead. Stops past `max_chars`. */
export async function textOfPage(html: string, base: URL, max_chars: number): Promise<PageText> {
  const page = new PageReader(base);
  const parser = new Parser(page.handler);
  for (let at = 0; at < html.length && page.length <= max_chars && page.depth <= DEPTH; at += SLICE_CHARS) {
    parser.write(html.slice(at, at + SLICE_CHARS));
    await setImmediate();
  }
  return { title: page.title.replaceAll(/\s+/g, " ").trim(), text: tidied(page.text) };
}

class PageReader {
  readonly #base: URL;
  readonly #parts: string[] = [];
  /** Where each open link leads; null: it is shown as its text. */
  readonly #links: (string | null)[] = [];
  /** How many elements are open of those that hide, of titles, and of those that keep their blanks. */
  readonly #open = { hidden: 0, title: 0, pre: 0 };
  title = "";
  length = 0;
  depth = 0;

  constructor(base: URL) {
    this.#base = base;
  }

  get text(): string {
    return this.#parts.join("");
  }

  readonly handler = {
    onopentag: (name: string, attributes: Readonly<Record<string, string>>): void => {
      this.depth++;
      this.#count(name, 1);
      if (this.#open.hidden > 0) return;
      this.#say(BLOCKS[name] ?? LEADS[name] ?? "");
      if (name === "a") this.#beginLink(attributes["href"]);
      const alt = name === "img" ? (attributes["alt"] ?? "").trim() : "";
      if (alt !== "") this.#say(` (image: ${alt}) `);
    },
    onclosetag: (name: string): void => {
      this.depth--;
      this.#count(name, -1);
      if (this.#open.hidden > 0) return;
      if (name === "a") this.#endLink();
      if (name in BLOCKS) this.#say("\n");
    },
    ontext: (text: string): void => {
      if (this.#open.hidden > 0) return;
      if (this.#open.title > 0) this.title = (this.title + text).slice(0, TITLE_CHARS);
      else this.#say(this.#open.pre > 0 ? text : text.replaceAll(/\s+/g, " "));
    },
  };

  #count(name: string, by: 1 | -1): void {
    if (HIDDEN.has(name)) this.#open.hidden += by;
    if (name === "title" || name === "pre") this.#open[name] += by;
  }

  #beginLink(href: string | undefined): void {
    const url = href === undefined || href.length > LINK_CHARS ? null : URL.parse(href, this.#base);
    const isLink = url !== null && /^https?:$/.test(url.protocol) && url.href.length <= LINK_CHARS;
    this.#links.push(isLink ? url.href : null);
    if (isLink) this.#say("[");
  }

  #endLink(): void {
    const href = this.#links.pop() ?? null;
    if (href !== null) this.#say(`](${href})`);
  }

  #say(text: string): void {
    if (text === "") return;
    this.#parts.push(text);
    this.length += text.length;
  }
}

/** Lines without blanks at their ends, and never two empty ones. */
function tidied(text: string): string {
  const lines = text.split("\n").map((line) => line.trimEnd());
  return lines
    .filter((line, at) => line !== "" || lines[at - 1] !== "")
    .join("\n")
    .trim();
}
