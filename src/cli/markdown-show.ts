import type { Live } from "./live.ts";
import { blocksOf, renderMarkdown } from "./markdown.ts";

/** Of the time that passes, how much drawing may take: a long block is drawn less often. */
const SHARE = 4;
const COLUMNS_MIN = 20;

export interface MarkdownOptions {
  readonly live: Live;
  readonly columns: () => number;
  readonly colors: boolean;
  /** Of every line that is not empty. */
  readonly style?: (line: string) => string;
  /** Milliseconds, never goes back. */
  readonly now: () => number;
  /** Calls the task once, later. */
  readonly after: (ms: number, task: () => void) => void;
}

/** Shows Markdown while it is written: finished blocks stay, the one being written is drawn anew as it grows. */
export class MarkdownShow {
  readonly #options: MarkdownOptions;
  /** What is not settled yet. */
  #text = "";
  /** Something was shown of this text before. */
  #isBegun = false;
  #isWaiting = false;
  #free_at = 0;

  constructor(options: MarkdownOptions) {
    this.#options = options;
  }

  push(text: string): void {
    this.#text += text;
    if (this.#isWaiting) return;
    const { now, after } = this.#options;
    const wait = this.#free_at - now();
    if (wait <= 0) return this.#draw();
    this.#isWaiting = true;
    after(wait, () => {
      if (this.#isWaiting) this.#draw();
    });
    return undefined;
  }

  /** The text is whole. */
  end(): void {
    if (this.#text === "" && !this.#isBegun) return;
    this.#draw();
    this.#text = "";
    this.#isBegun = false;
    this.#free_at = 0;
    this.#options.live.settle();
  }

  #draw(): void {
    const { live, now } = this.#options;
    this.#isWaiting = false;
    const began = now();
    const blocks = blocksOf(this.#text);
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) {
      live.show(this.#lines(block));
      live.settle();
      this.#isBegun = true;
    }
    if (this.#text.trim() !== "") live.show(this.#lines(this.#text));
    const ended = now();
    this.#free_at = ended + (ended - began) * SHARE;
  }

  #lines(text: string): string[] {
    const { columns, colors, style } = this.#options;
    const plain = renderMarkdown(text, { columns: Math.max(COLUMNS_MIN, columns() - 1), colors });
    const lines = style === undefined ? plain : plain.map((line) => (line === "" ? line : style(line)));
    return this.#isBegun ? ["", ...lines] : lines;
  }
}
