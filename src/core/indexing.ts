import type { Clock, Logger } from "./ports.ts";
import type { Store } from "./store.ts";

/** Messages that are made findable together: the writer does nothing else meanwhile. */
const MESSAGES_A_STEP = 50;
/** After something was said; what is said meanwhile is taken along. */
const DELAY_MS = 500;
const AGAIN_MS = 5_000;

/** Makes what was said findable, a little later, a little at a time. */
export class Indexing {
  readonly #options: { readonly store: Store; readonly clock: Clock; readonly log: Logger };
  #cancel: (() => void) | null = null;
  #working: Promise<void> | null = null;
  #isAsked = false;
  #closed = false;

  constructor(options: { store: Store; clock: Clock; log: Logger }) {
    this.#options = options;
  }

  /** There may be something to do. */
  touch(): void {
    this.#isAsked = true;
    if (this.#cancel === null && this.#working === null) this.#wait(DELAY_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#working;
  }

  #wait(ms: number): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#cancel = null;
      this.#working = this.#round();
    });
  }

  async #round(): Promise<void> {
    const next = await this.#work();
    this.#working = null;
    // Something may have been said since it answered.
    if (next !== null || this.#isAsked) this.#wait(next ?? DELAY_MS);
  }

  /** Answers when to go on; null: there is nothing more. Never rejects. */
  async #work(): Promise<number | null> {
    const { store, log } = this.#options;
    this.#isAsked = false;
    try {
      while (!this.#closed && (await store.index(MESSAGES_A_STEP)) > 0);
      return null;
    } catch (error) {
      if (!this.#closed) log.warn({ err: error }, "what was said cannot be made findable; it is tried again");
      return AGAIN_MS;
    }
  }
}
