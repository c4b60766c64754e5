import type { Journal } from "../core/journal.ts";
import type { RecordRow } from "../core/record.ts";
import type { Clock } from "../core/ports.ts";

/** How often the last use of a credential is written, at most. */
const EVERY_MS = 60_000;

/** When a credential was used, in memory and in the store. */
export interface LastUse {
  /** Milliseconds since 1970; null: never. */
  last_used_at: number | null;
  /** What the store knows of last_used_at. */
  stored_used_at: number | null;
  /** The data of its record in the store, so that nothing is written over what another node made of it; null: none yet. */
  stored: string | null;
  /** When that was written, by the monotonic clock. */
  stored_at: number;
  /** A change of the credential is on its way to the store: nothing else of it may be written, or one would undo the other. */
  changing: boolean;
}

export function lastUse(last_used_at: number | null, stored: string | null = null): LastUse {
  return {
    last_used_at,
    stored_used_at: last_used_at,
    stored,
    stored_at: Number.NEGATIVE_INFINITY,
    changing: false,
  };
}

/** Keeps the last uses of credentials of one kind in memory and writes them now and then. */
export class LastUses<E extends LastUse> {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #recordOf: (entry: E) => RecordRow;

  constructor(deps: { readonly journal: Journal; readonly clock: Clock }, recordOf: (entry: E) => RecordRow) {
    this.#journal = deps.journal;
    this.#clock = deps.clock;
    this.#recordOf = recordOf;
  }

  /** A request came in with it. */
  used(entry: E): void {
    entry.last_used_at = this.#clock.now();
    if (!entry.changing && this.#clock.monotonic() - entry.stored_at >= EVERY_MS) this.#write(entry);
  }

  /** Queues every last use that was not written yet. */
  flush(entries: readonly E[]): void {
    for (const entry of entries) {
      if (entry.last_used_at !== entry.stored_used_at && !entry.changing) this.#write(entry);
    }
  }

  #write(entry: E): void {
    entry.stored_at = this.#clock.monotonic();
    entry.stored_used_at = entry.last_used_at;
    const record = this.#recordOf(entry);
    const before = entry.stored;
    // It may have been revoked by another node meanwhile, and must not come back.
    const rows = [{ kind: "record.put", record, over: before }] as const;
    entry.stored = record.data;
    const settle = ({ ok }: { readonly ok: boolean }): void => {
      // Then the store's answer is older than the truth until the next use.
      if (!ok && entry.stored === record.data) entry.stored = before;
    };
    this.#journal.append({ session: null, run: null, ack: false, events: [], rows, settle });
  }
}
