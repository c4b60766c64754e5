import type { Clock } from "../core/ports.ts";

export interface CircuitOptions {
  /** Failures in a row that open it; 0: it never opens. */
  readonly failures: number;
  /** How long it stays open before one call tries whether it may close. Longer each time that fails. */
  readonly open_ms: number;
  readonly clock: Clock;
  /** It opened, or closed again. */
  readonly changed: (change: CircuitChange) => void;
}

export type CircuitChange =
  | { readonly to: "open"; readonly reason: string }
  | { readonly to: "closed"; readonly after_ms: number };

/** How much longer than at first it may stay open. */
const LONGEST = 10;

/** Whether a provider has failed so often in a row that calls had better go elsewhere. */
export class Circuit {
  readonly #options: CircuitOptions;
  #failed = 0;
  #open: { reason: string; readonly since: number; due: number; wait_ms: number } | null = null;
  #isTrying = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  /** Why it is open, and in how many milliseconds a call will try it; null: it is closed. */
  get open(): { readonly reason: string; readonly retry_ms: number } | null {
    if (this.#open === null) return null;
    const { reason, due } = this.#open;
    return { reason, retry_ms: Math.max(0, due - this.#options.clock.monotonic()) };
  }

  /** Whether a call may go through: always while it is closed, one at a time when it was open for long enough. */
  get admits(): boolean {
    if (this.#open === null) return true;
    return !this.#isTrying && this.#options.clock.monotonic() >= this.#open.due;
  }

  /** A call begins; what the answer is called with is how it went, and only the first counts. */
  begin(): (went: "answers" | "done" | "unknown" | { readonly reason: string }) => void {
    const tries = this.#open !== null && this.admits;
    if (tries) this.#isTrying = true;
    let isOver = false;
    return (went) => {
      if (isOver) return;
      // That it begins to answer closes it; that it has answered to the end is what counts while it is closed.
      isOver = went !== "answers";
      if (tries) this.#isTrying = false;
      if (went === "answers") this.#close();
      else if (went === "done") this.#succeed();
      else if (went !== "unknown") this.#fail(went.reason, tries);
    };
  }

  #succeed(): void {
    this.#failed = 0;
    this.#close();
  }

  #close(): void {
    const { clock, changed } = this.#options;
    if (this.#open === null) return;
    const after_ms = clock.monotonic() - this.#open.since;
    this.#open = null;
    this.#failed = 0;
    changed({ to: "closed", after_ms });
  }

  #fail(reason: string, tried: boolean): void {
    const { failures, open_ms, clock, changed } = this.#options;
    const now = clock.monotonic();
    if (this.#open !== null) {
      if (!tried) return;
      this.#open.wait_ms = Math.min(this.#open.wait_ms * 2, open_ms * LONGEST);
      this.#open.due = now + this.#open.wait_ms;
      this.#open.reason = reason;
      return;
    }
    this.#failed++;
    if (failures === 0 || this.#failed < failures) return;
    this.#open = { reason, since: now, due: now + open_ms, wait_ms: open_ms };
    changed({ to: "open", reason });
  }
}
