/** A bound on how much goes on at once; those over it wait in order. */
export class Slots {
  readonly #limit: number;
  #used = 0;
  #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }
  get waiting(): number {
    return this.#waiting.length;
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#used >= this.#limit) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#used++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // A waiter takes the place over; the number in use stays.
      if (next === undefined) this.#used--;
      else next();
    }
  }
}
