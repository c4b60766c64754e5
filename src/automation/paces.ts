import type { Clock } from "../core/ports.ts";

const MINUTE_MS = 60_000;

/** How often something may happen, by what it is: so many at once, earned back within a minute. */
export class Paces {
  readonly #clock: Clock;
  /** May be another one each time. */
  readonly #per_minute: () => number;
  /** What is left, and when that was, the oldest first. Those that are full are not kept. */
  readonly #left = new Map<string, { readonly left: number; readonly at: number }>();

  constructor(clock: Clock, per_minute: () => number) {
    this.#clock = clock;
    this.#per_minute = per_minute;
  }

  /** Milliseconds to wait; 0: one more was taken. */
  take(key: string): number {
    const now = this.#clock.monotonic();
    const most = this.#per_minute();
    const known = this.#left.get(key) ?? { left: most, at: now };
    const earned = ((now - known.at) * most) / MINUTE_MS;
    const left = Math.min(most, known.left + earned);
    if (left < 1) return Math.ceil(((1 - left) * MINUTE_MS) / most);
    this.#left.delete(key);
    this.#left.set(key, { left: left - 1, at: now });
    for (const [oldest, { at }] of this.#left) {
      if (now - at < MINUTE_MS) break;
      this.#left.delete(oldest);
    }
    return 0;
  }

  get size(): number {
    return this.#left.size;
  }
}
