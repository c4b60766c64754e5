import type { Clock } from "../core/ports.ts";

/** Those who wait for a time to come, by what they wait for; they may be told to go on sooner. */
export class Waits {
  readonly #clock: Clock;
  readonly #open = new Map<string, Set<() => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves then (monotonic ms), with goOn, or with the signal. */
  async until(key: string, at: number, signal: AbortSignal): Promise<void> {
    const ms = at - this.#clock.monotonic();
    if (ms <= 0 || signal.aborted) return;
    const over = Promise.withResolvers<void>();
    const stop = (): void => over.resolve();
    const cancel = this.#clock.after(ms, stop);
    signal.addEventListener("abort", stop);
    const those = this.#open.get(key) ?? new Set();
    this.#open.set(key, those.add(stop));
    await over.promise;
    cancel();
    signal.removeEventListener("abort", stop);
    those.delete(stop);
    if (those.size === 0 && this.#open.get(key) === those) this.#open.delete(key);
  }

  goOn(key: string): void {
    for (const stop of this.#open.get(key) ?? []) stop();
  }
}
