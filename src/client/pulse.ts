/** Quiet for so long while something is expected, and the other side is asked whether it is still there. */
const EXPECTING_MS = 3_000;
/** It has so long to say anything. */
const ANSWER_MS = 4_000;
const LOOK_MS = 1_000;

export interface PulseDeps {
  /** How long a link may be quiet while nothing is expected. */
  readonly quiet_ms: number;
  /** A run is active, or a request was not answered. */
  readonly expecting: () => boolean;
  /** Asks for a sign of life. */
  readonly ask: () => void;
  /** There was none. Called once. */
  readonly dead: () => void;
  readonly now?: () => number;
}

/**
 * A peer that vanished without a word leaves an open link. Whoever waits for tokens knows within 10 s; one whose machine slept
 * knows at the first look.
 */
export class Pulse {
  readonly #deps: PulseDeps;
  readonly #now: () => number;
  readonly #timer: ReturnType<typeof setInterval>;
  #heard_at: number;
  #asked_at: number | null = null;

  constructor(deps: PulseDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? (() => performance.now());
    this.#heard_at = this.#now();
    this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** Something came. */
  heard(): void {
    this.#heard_at = this.#now();
    this.#asked_at = null;
  }

  look(): void {
    const now = this.#now();
    if (this.#asked_at !== null) {
      if (now - this.#asked_at < ANSWER_MS) return;
      this.stop();
      return this.#deps.dead();
    }
    const quiet_ms = this.#deps.expecting()
      ? Math.min(EXPECTING_MS, this.#deps.quiet_ms)
      : this.#deps.quiet_ms;
    if (now - this.#heard_at >= quiet_ms) this.check();
  }

  /** Asks at once. */
  check(): void {
    if (this.#asked_at !== null) return;
    this.#asked_at = this.#now();
    this.#deps.ask();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
