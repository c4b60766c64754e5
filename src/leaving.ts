import type { Config } from "./config.ts";
import type { Clock } from "./core/ports.ts";

/** What comes before a stop: `/ready` says that this node takes nothing new, and everything is served as before. */
export class Leaving {
  readonly #clock: Clock;
  readonly #over = Promise.withResolvers<void>();
  #begun = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** Resolves after so long, or at `end`. */
  async begin(delay_ms: number): Promise<void> {
    this.#begun = true;
    if (delay_ms === 0) return;
    const cancel = this.#clock.after(delay_ms, () => this.end());
    await this.#over.promise;
    cancel();
  }

  /** It takes no longer. Idempotent. */
  end(): void {
    this.#over.resolve();
  }
}

/** How long a stop takes its time, milliseconds; who says how long answers get wants no delay. */
export function timesOf({ shutdown_delay_secs, shutdown_grace_secs }: Config["server"], grace_ms?: number) {
  if (grace_ms !== undefined) return { grace: grace_ms, delay: 0 };
  return { grace: shutdown_grace_secs * 1_000, delay: shutdown_delay_secs * 1_000 };
}
