import type { Journal } from "./journal.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Store } from "./store.ts";

const DAY_MS = 86_400_000;
/** A clock that is so far ahead of where it was last seen is not believed at once. */
const LEAP_MS = 3 * DAY_MS;
/** It is, when it has been right with itself for so long. */
const BELIEVED_AFTER_MS = 3 * DAY_MS;
const WRITE_MS = 3_600_000;

const COLLECTION = "clock";
const ID = "known";

/** As stored. */
interface Known {
  /** What the clock said last. Milliseconds since 1970. */
  readonly seen: number;
  /** How far it is ahead of what is believed. */
  readonly ahead: number;
  /** When it was last found to have leapt, by itself. */
  readonly leapt_at: number;
}

export interface KnownTimeOptions {
  readonly store: Pick<Store, "record" | "audit">;
  readonly journal: Pick<Journal, "append" | "refused">;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The time that deletions for good go by. A clock that is set years ahead (a flat battery, a wrong time server, a restored machine)
 * would have everything be old at once, so that a leap counts only after days in which it was not taken back. What the clock
 * said is in the store: it is compared over restarts, too.
 */
export class KnownTime {
  readonly #options: KnownTimeOptions;
  #known: Known | null = null;
  #written_at = Number.NEGATIVE_INFINITY;
  #looking: Promise<number> | null = null;

  constructor(options: KnownTimeOptions) {
    this.#options = options;
  }

  /** Looks at the clock; milliseconds since 1970, never ahead of it. Rejects where the store does. */
  now(): Promise<number> {
    this.#looking ??= this.#look().finally(() => (this.#looking = null));
    return this.#looking;
  }

  async #look(): Promise<number> {
    const now = this.#options.clock.now();
    const before = this.#known ?? (await this.#load()) ?? { seen: now, ahead: 0, leapt_at: now };
    const next = this.#next(before, now);
    this.#known = next;
    if (next.ahead !== before.ahead || Math.abs(now - this.#written_at) >= WRITE_MS) this.#write(next);
    return now - next.ahead;
  }

  #next({ seen, ahead, leapt_at }: Known, now: number): Known {
    const { log } = this.#options;
    const step = now - seen;
    if (step > LEAP_MS) {
      const days = Math.floor(step / DAY_MS);
      log.warn(
        { days, now, last: seen },
        "the clock is days ahead of where it was last seen: what is deleted by its age goes by the time before, for three days; set the clock right if it is wrong",
      );
      return { seen: now, ahead: ahead + step, leapt_at: now };
    }
    if (ahead === 0) return { seen: now, ahead, leapt_at };
    // Set back, it is so much less ahead.
    const left = Math.max(0, ahead + Math.min(0, step));
    if (left > 0 && now - leapt_at < BELIEVED_AFTER_MS)
      return { seen: now, ahead: left, leapt_at: Math.min(leapt_at, now) };
    log.info({ now }, "the clock is believed again: deletions go by it");
    return { seen: now, ahead: 0, leapt_at };
  }

  /** Null: nothing was ever written. Before this was kept, the audit trail tells when something last happened. */
  async #load(): Promise<Known | null> {
    const { store } = this.#options;
    const record = await store.record(COLLECTION, ID);
    if (record !== null) return JSON.parse(record.data) as Known;
    const [last] = await store.audit({ limit: 1 });
    return last === undefined ? null : { seen: last.ts, ahead: 0, leapt_at: last.ts };
  }

  /** What cannot be written is written at the next look. */
  #write(known: Known): void {
    const { journal } = this.#options;
    if (journal.refused !== null) return;
    this.#written_at = known.seen;
    const data = JSON.stringify(known);
    const record = { collection: COLLECTION, id: ID, owner: "", data, expires_at: null };
    const settle = ({ ok }: { readonly ok: boolean }): void => {
      if (!ok) this.#written_at = Number.NEGATIVE_INFINITY;
    };
    const rows = [{ kind: "record.put" as const, record }];
    journal.append({ session: null, run: null, ack: false, events: [], rows, settle });
  }
}
