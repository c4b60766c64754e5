/** How long things are begun in one turn of the event loop before everything else has its own. */
const TURN_MS = 8;

/**
 * The turns of the event loop, as far as one may be used up. Whoever finds this one over puts off what is left with
 * `later`: then no peer, however much it sends at once, keeps the others waiting for long.
 */
export class Turns {
  readonly #monotonic: () => number;
  readonly #later: (() => void)[] = [];
  /** When the first thing was begun in this turn; NaN: nothing was. */
  #began = Number.NaN;

  /** `monotonic` is a clock in milliseconds. */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** Whether enough was done in this turn, which begins with the first question. */
  get over(): boolean {
    this.#begin();
    return this.#monotonic() - this.#began >= TURN_MS;
  }

  /** Runs a task in the next turn. It must not throw. */
  later(task: () => void): void {
    this.#begin();
    this.#later.push(task);
  }

  #begin(): void {
    if (!Number.isNaN(this.#began)) return;
    this.#began = this.#monotonic();
    setImmediate(() => this.#next());
  }

  #next(): void {
    this.#began = Number.NaN;
    for (const task of this.#later.splice(0)) task();
  }
}
