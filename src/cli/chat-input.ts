import { clearScreenDown, createInterface, cursorTo, moveCursor } from "node:readline";
import type { Interface } from "node:readline";
import { rowsOf } from "./rows.ts";

/** A question that comes between the lines of a conversation. */
export interface Question {
  readonly prompt: string;
  /** Called before it is asked: says what it is about. */
  readonly introduce: () => void;
  /** A line that was typed; false: it is no answer, and the question is asked again. */
  readonly take: (line: string) => boolean;
}

const PROMPT = "> ";
const TO_END = { ctrl: true, name: "e" };
const COLUMNS = 80;
const ERASE = { ctrl: true, name: "u" };

/** Lines that come within this are one: they were pasted, nobody types so fast. */
const PASTE_MS = 15;

export interface TypedOptions {
  /** Shows a line that was sent, where it belongs: it is taken away from the prompt. */
  readonly echo: (line: string) => void;
  /** Every line, at once; then the prompt stays at the end of the screen. */
  readonly onLine?: (line: string) => void;
  /** What a line that was begun may become. */
  readonly complete?: (line: string) => string[];
}

/** What is typed at the terminal: lines, and the answers to questions, one question at a time. */
export class TypedInput {
  readonly terminal: Interface;
  readonly #echo: (line: string) => void;
  readonly #onLine: ((line: string) => void) | null;
  readonly #pasted: string[] = [];
  readonly #questions: Question[] = [];
  /** The question that is on the screen. */
  #asked: Question | null = null;
  /** What was being typed when it came. */
  #begun = "";
  #isClosed = false;

  constructor({ echo, onLine, complete }: TypedOptions) {
    this.#echo = echo;
    this.#onLine = onLine ?? null;
    this.terminal = createInterface({
      input: process.stdin,
      output: process.stdout,
      prompt: PROMPT,
      ...(complete !== undefined && { completer: (line: string) => [complete(line), line] }),
    });
    this.terminal.on("line", (line) => this.#line(line));
    this.terminal.on("close", () => (this.#isClosed = true));
    this.#prompt();
  }

  /** Asks as soon as no other question is open. The answer takes it back. */
  ask(question: Question): () => void {
    this.#questions.push(question);
    this.#show();
    return () => this.#drop(question);
  }

  /** Writes whole lines while a prompt may be on the screen. */
  beside(write: () => void): void {
    if (!this.#isPrompting) return write();
    this.#clear();
    write();
    this.terminal.prompt(true);
    return undefined;
  }

  get #isPrompting(): boolean {
    return !this.#isClosed && (this.#asked !== null || this.#onLine !== null);
  }

  #line(line: string): void {
    const question = this.#asked;
    this.#takeBack(`${question?.prompt ?? PROMPT}${line}`);
    if (question === null) return this.#typed(line);
    this.#echo(`${question.prompt}${line}`);
    if (question.take(line)) return this.#drop(question);
    // It may have gone by what was done with the line.
    if (this.#asked === question) this.terminal.prompt();
    return undefined;
  }

  #typed(line: string): void {
    this.#prompt();
    if (this.#pasted.push(line) > 1) return;
    setTimeout(() => {
      const text = this.#pasted.splice(0).join("\n");
      for (const each of text.split("\n")) this.#echo(`${PROMPT}${each}`);
      this.#onLine?.(text);
    }, PASTE_MS);
  }

  /** What was sent stands on the rows above: what is shown there may be redrawn, and must not be torn apart. */
  #takeBack(sent: string): void {
    moveCursor(process.stdout, 0, -rowsOf(sent, process.stdout.columns || COLUMNS));
    clearScreenDown(process.stdout);
  }

  #show(): void {
    const [question] = this.#questions;
    if (this.#isClosed || this.#asked !== null || question === undefined) return;
    question.introduce();
    // A line that was begun is no answer to this: it comes back afterwards.
    this.#begun += this.#takeLine();
    if (this.#isPrompting) this.#clear();
    this.#asked = question;
    this.terminal.setPrompt(question.prompt);
    this.terminal.prompt();
  }

  #drop(question: Question): void {
    const index = this.#questions.indexOf(question);
    if (index === -1) return;
    this.#questions.splice(index, 1);
    if (this.#asked !== question || this.#isClosed) return;
    // Half an answer to a question that has gone is not the beginning of a message.
    this.#takeLine();
    this.#clear();
    this.#asked = null;
    this.terminal.setPrompt(PROMPT);
    if (this.#questions.length > 0) return this.#show();
    return this.#prompt();
  }

  #prompt(): void {
    if (!this.#isPrompting) return;
    this.terminal.prompt();
    if (this.#asked !== null || this.#begun === "") return;
    this.terminal.write(this.#begun);
    this.#begun = "";
  }

  /** Takes away what was typed and not sent. */
  #takeLine(): string {
    const { line } = this.terminal;
    if (line === "") return "";
    this.terminal.write(null, TO_END);
    this.terminal.write(null, ERASE);
    return line;
  }

  /** The prompt, and what is typed after it, may be longer than a row. */
  #clear(): void {
    moveCursor(process.stdout, 0, -this.terminal.getCursorPos().rows);
    cursorTo(process.stdout, 0);
    clearScreenDown(process.stdout);
  }
}
