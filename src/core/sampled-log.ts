import type { Clock, Logger } from "./ports.ts";

/** The same thing is said this seldom. */
const EVERY_MS = 10_000;

/** Warnings that strangers can cause as often as they like: one line in a while, with the number of those left unsaid. */
export class SampledLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #said = new Map<string, { last: number; unsaid: number }>();

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** `key`: what counts as the same thing, one of few. */
  warn(key: string, fields: Readonly<Record<string, unknown>>, message: string): void {
    const now = this.#clock.monotonic();
    const said = this.#said.get(key);
    if (said !== undefined && now - said.last < EVERY_MS) {
      said.unsaid++;
      return;
    }
    const unsaid = said?.unsaid ?? 0;
    this.#said.set(key, { last: now, unsaid: 0 });
    this.#log.warn({ ...fields, ...(unsaid > 0 && { unsaid }) }, message);
  }
}
