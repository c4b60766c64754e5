/** So many calls at once; those over it wait in the order they came. */
export class Places {
  readonly #limit: number;
  readonly #most_waiting: number;
  #used = 0;
  #waiting: (() => void)[] = [];

  /** @param limit 0: no bound */
  constructor(limit: number, most_waiting: number) {
    this.#limit = limit;
    this.#most_waiting = most_waiting;
  }

  get used(): number {
    return this.#used;
  }
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Resolves with what gives the place back (idempotent); null once `signal` is aborted; "full": too many wait already. */
  take(signal: AbortSignal): Promise<(() => void) | "full" | null> {
    if (signal.aborted) return Promise.resolve(null);
    if (this.#limit === 0 || this.#used < this.#limit) {
      this.#used++;
      return Promise.resolve(this.#leaving());
    }
    if (this.#waiting.length >= this.#most_waiting) return Promise.resolve("full");
    return new Promise((resolve) => {
      const go = (): void => {
        signal.removeEventListener("abort", leave);
        resolve(this.#leaving());
      };
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((each) => each !== go);
        resolve(null);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(go);
    });
  }

  #leaving(): () => void {
    let isLeft = false;
    return () => {
      if (isLeft) return;
      isLeft = true;
      const next = this.#waiting.shift();
      // Who waits takes the place over; the number in use stays.
      if (next === undefined) this.#used--;
      else next();
    };
  }
}
