import type { Clock } from "./ports.ts";

export interface TrickleOptions {
  readonly clock: Clock;
  /** For each key, by now. */
  readonly per_second: () => number;
}

type Say = () => void;

/** What waits to be said, of all keys: for more of a key its oldest is not said at all. */
const WAITING = 10_000;
/** How late something is said at most: what would be later is not said. */
const LATE_SECS = 60;
const SECOND_MS = 1_000;

/**
 * What may be said so often a second, and not more: the rest waits for the seconds that follow, of each thing the last that was
 * to be said of it, so that in the end whoever listens knows how it is.
 */
export class Trickle {
  readonly #options: TrickleOptions;
  #second = 0;
  /** In this second, by key. */
  readonly #said = new Map<string, number>();
  /** By key, and there by what it is about, oldest first. */
  readonly #waiting = new Map<string, Map<string, Say>>();
  #count = 0;
  #cancel: (() => void) | null = null;
  #closed = false;

  constructor(options: TrickleOptions) {
    this.#options = options;
  }

  /** Says it now or later; not at all where the same is to be said about another way by then. */
  offer(key: string, about: string, say: Say): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined && this.#may(key)) return say();
    if (this.#closed) return undefined;
    const queue = waiting ?? new Map<string, Say>();
    if (!queue.has(about)) {
      const most = LATE_SECS * this.#options.per_second();
      while (queue.size >= most) this.#drop(queue);
      if (this.#count >= WAITING && !this.#drop(queue)) return undefined;
      this.#count++;
    }
    this.#waiting.set(key, queue.set(about, say));
    this.#wait();
    return undefined;
  }

  /** Says what waits, all at once. Idempotent. */
  flush(): void {
    const all = [...this.#waiting.values()].flatMap((waiting) => [...waiting.values()]);
    this.#forget();
    for (const say of all) say();
  }

  /** Nothing waits any more. */
  close(): void {
    this.#closed = true;
    this.#forget();
  }

  /** Makes room for another one of the same key; false: nothing of it waits. */
  #drop(waiting: Map<string, Say>): boolean {
    const [oldest] = waiting.keys();
    if (oldest === undefined || !waiting.delete(oldest)) return false;
    this.#count--;
    return true;
  }

  #forget(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#waiting.clear();
    this.#count = 0;
  }

  #wait(): void {
    const { clock } = this.#options;
    this.#cancel ??= clock.after(SECOND_MS - (clock.monotonic() % SECOND_MS), () => this.#next());
  }

  #next(): void {
    this.#cancel = null;
    for (const [key, waiting] of this.#waiting) {
      for (const [about, say] of waiting) {
        if (!this.#may(key)) break;
        waiting.delete(about);
        this.#count--;
        say();
      }
      if (waiting.size === 0) this.#waiting.delete(key);
    }
    if (this.#waiting.size > 0) this.#wait();
  }

  #may(key: string): boolean {
    const { clock } = this.#options;
    const second = Math.floor(clock.monotonic() / SECOND_MS);
    if (second !== this.#second) {
      this.#second = second;
      this.#said.clear();
    }
    const said = this.#said.get(key) ?? 0;
    if (said >= this.#options.per_second()) return false;
    this.#said.set(key, said + 1);
    return true;
  }
}
