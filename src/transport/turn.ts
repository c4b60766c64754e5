/** How long things are begun in one turn of the event loop before everything else has its own. */
const TURN_MS = 8;
/** Those that go on in one turn: what they do then is not over when they have begun. */
const GO_ON = 8;

/**
 * The turns of the event loop, as far as one may be used up. Whoever finds this one over puts off what is left: then no
 * peer, however much it sends or asks for at once, keeps the others waiting for long.
 */
export class Turns {
  readonly #monotonic: () => number;
  readonly #later: (() => void)[] = [];
  readonly #inLine: (() => void)[] = [];
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

  /** Runs a task at the beginning of the next turn. It must not throw. */
  later(task: () => void): void {
    this.#begin();
    this.#later.push(task);
  }

  /** Resolves in a later turn, a few in each and in the order asked. */
  another(): Promise<void> {
    return new Promise((resolve) => {
      this.#inLine.push(resolve);
      this.#begin();
    });
  }

  /** Whether somebody waits for another turn. */
  get crowded(): boolean {
    return this.#inLine.length > 0;
  }

  #begin(): void {
    if (!Number.isNaN(this.#began)) return;
    this.#began = this.#monotonic();
    setImmediate(() => this.#next());
  }

  #next(): void {
    this.#began = Number.NaN;
    for (const task of this.#later.splice(0)) task();
    for (const go of this.#inLine.splice(0, GO_ON)) go();
    if (this.crowded) this.#begin();
  }
}
