import { Turns } from "./turn.ts";

/** Waiting requests that are begun in one turn: what they do then is not over when they have begun. */
const BEGUN = 8;

/**
 * Begins requests as they come, and past the end of a turn in a later one, in order. HTTP lets a peer send thousands
 * without waiting for an answer, and Bun ends a connection on which a second request comes while one waits: so what waits
 * here is at most one request of each connection.
 */
export class HttpIntake {
  readonly #turns: Turns;
  readonly #waiting: (() => void)[] = [];

  /** `monotonic` is a clock in milliseconds. */
  constructor(monotonic: () => number) {
    this.#turns = new Turns(monotonic);
  }

  /** What `begin` comes to. Rejects as it does. */
  async take<T>(begin: () => T | Promise<T>): Promise<T> {
    if (this.#turns.over || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        if (this.#waiting.length === 1) this.#turns.later(() => this.#next());
      });
    }
    return begin();
  }

  #next(): void {
    for (const begin of this.#waiting.splice(0, BEGUN)) begin();
    if (this.#waiting.length > 0) this.#turns.later(() => this.#next());
  }
}
