import { createInterface, clearLine, cursorTo } from "node:readline";
import type { Interface } from "node:readline";

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
const ERASE = { ctrl: true, name: "u" };

/** What is typed at the terminal: lines, and the answers to questions, one question at a time. */
export class TypedInput {
  readonly terminal: Interface;
  readonly #lines: string[] = [];
  readonly #questions: Question[] = [];
  /** The question that is on the screen. */
  #asked: Question | null = null;
  /** What was being typed when it came. */
  #begun = "";
  /** Somebody waits for a line. */
  #isIdle = false;
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor() {
    this.terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: PROMPT });
    this.terminal.on("line", (line) => this.#line(line));
    this.terminal.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
  }

  /** The next line that was typed; null: there are no more. */
  async next(): Promise<string | null> {
    while (this.#lines.length === 0 && !this.#isClosed) {
      this.#isIdle = true;
      this.#prompt();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    this.#isIdle = false;
    return this.#isClosed ? null : (this.#lines.shift() ?? null);
  }

  /** Asks as soon as no other question is open. The answer takes it back. */
  ask(question: Question): () => void {
    this.#questions.push(question);
    this.#show();
    return () => this.#drop(question);
  }

  /** Writes whole lines while a prompt may be on the screen. */
  beside(write: () => void): void {
    if (this.#isClosed || (this.#asked === null && !this.#isIdle)) return write();
    this.#clear();
    write();
    this.terminal.prompt(true);
    return undefined;
  }

  #line(line: string): void {
    const question = this.#asked;
    if (question === null) {
      this.#lines.push(line);
      this.#isIdle = false;
      return this.#wake();
    }
    if (question.take(line)) return this.#drop(question);
    // It may have gone by what was done with the line.
    if (this.#asked === question) this.terminal.prompt();
    return undefined;
  }

  #show(): void {
    const [question] = this.#questions;
    if (this.#isClosed || this.#asked !== null || question === undefined) return;
    question.introduce();
    // A line that was begun is no answer to this: it comes back afterwards.
    this.#begun += this.#takeLine();
    if (this.#isIdle) this.#clear();
    this.#asked = question;
    this.terminal.setPrompt(question.prompt);
    this.terminal.prompt();
  }

  #drop(question: Question): void {
    const index = this.#questions.indexOf(question);
    if (index === -1) return;
    this.#questions.splice(index, 1);
    if (this.#asked !== question || this.#isClosed) return;
    this.#asked = null;
    // Half an answer to a question that has gone is not the beginning of a message.
    this.#takeLine();
    this.#clear();
    this.terminal.setPrompt(PROMPT);
    if (this.#questions.length > 0) return this.#show();
    if (this.#isIdle) this.#prompt();
    return undefined;
  }

  #prompt(): void {
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

  #clear(): void {
    cursorTo(process.stdout, 0);
    clearLine(process.stdout, 0);
  }
}
