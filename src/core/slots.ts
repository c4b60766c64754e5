import type { Clock } from "./ports.ts";

/** A bound on how much goes on at once, which may be another one each time; those over it wait in order. */
export class Slots {
  readonly #limit: () => number;
  readonly #pass: (next: () => void) => void;
  #used = 0;
  #waiting: (() => void)[] = [];

  /** `pass` lets the next one go on that waits; at once, unless it puts that off. */
  constructor(limit: number | (() => number), pass: (next: () => void) => void = (next) => next()) {
    this.#limit = typeof limit === "number" ? () => limit : limit;
    this.#pass = pass;
  }

  get used(): number {
    return this.#used;
  }
  get waiting(): number {
    return this.#waiting.length;
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || this.#used >= this.#limit())
      await new Promise<void>((go) => this.#waiting.push(go));
    else this.#used++;
    try {
      return await work();
    } finally {
      this.#used--;
      this.#letIn();
    }
  }

  /** A place is taken by who waits before they go on: nobody comes in between. */
  #letIn(): void {
    while (this.#used < this.#limit()) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#used++;
      this.#pass(next);
    }
  }
}

/** A bound for each of many; what nobody uses is not kept. */
export class SlotsEach {
  readonly #limit: number;
  readonly #all = new Map<string, Slots>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Those of which something goes on. */
  get size(): number {
    return this.#all.size;
  }

  async use<T>(key: string, work: () => Promise<T>): Promise<T> {
    const slots = this.#all.get(key) ?? new Slots(this.#limit);
    this.#all.set(key, slots);
    try {
      return await slots.use(work);
    } finally {
      if (slots.used === 0 && this.#all.get(key) === slots) this.#all.delete(key);
    }
  }
}

/** Lets those that wait go on a few in each turn of the event loop, in order, so that others are heard in between. */
export function inTurns(clock: Pick<Clock, "after">, few: number): (next: () => void) => void {
  const line: (() => void)[] = [];
  const turn = (): void => {
    for (const next of line.splice(0, few)) next();
    if (line.length > 0) clock.after(0, turn);
  };
  return (next) => {
    if (line.push(next) === 1) clock.after(0, turn);
  };
}
