import type { RecordRow } from "./record.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Store } from "./store.ts";

/** What is in memory of one collection, or of what is told under its name. */
export interface Mirror {
  readonly collection: string;
  /** These may be others by now. */
  changed(ids: readonly string[]): Promise<void>;
  /** All of them may be. */
  all(): Promise<void>;
}

export interface RecordMirror {
  /** As the store has it; null: it has none. Where memory says the same nothing happens. */
  apply(id: string, row: RecordRow | null): void;
  /** Those in memory. */
  ids(): Iterable<string>;
}

/** The records of a collection, each read anew where it may have changed. */
export function mirrorOf(
  store: Pick<Store, "record" | "records">,
  collection: string,
  to: RecordMirror,
): Mirror {
  const changed = async (ids: readonly string[]): Promise<void> => {
    const rows = await Promise.all(ids.map((id) => store.record(collection, id)));
    for (const [at, id] of ids.entries()) to.apply(id, rows[at] ?? null);
  };
  return {
    collection,
    changed,
    async all() {
      const rows = await store.records(collection);
      const there = new Set(rows.map(({ id }) => id));
      for (const row of rows) to.apply(row.id, row);
      // What came into memory while they were read is in the store by now.
      await changed([...to.ids()].filter((id) => !there.has(id)));
    },
  };
}

export interface MirrorsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

const RETRY_MS = 1_000;
/** More than these are read as a whole. */
const NAMED = 1_000;
/** So long after something was read anew our own changes of it are looked at, too: one may have come in between. */
const RECENT_MS = 10_000;
/** So long somebody waits for what other nodes did. */
const WAIT_MS = 1_000;

/**
 * Has what this node keeps in memory of records follow what other nodes write: it reads anew what it hears of, with the
 * consequences that the change had where it was made. Where no other node shares the store nothing is heard.
 */
export class Mirrors {
  readonly #options: MirrorsOptions;
  readonly #mirrors: Mirror[] = [];
  /** By collection. */
  #pending = new Map<string, Set<string>>();
  #size = 0;
  #isAll = false;
  /** What was read anew lately, by when. */
  readonly #recent = new Map<string, number>();
  #allAt = Number.NEGATIVE_INFINITY;
  #working: Promise<void> | null = null;
  #isOpen = false;
  #unlisten: () => void = () => undefined;

  constructor(options: MirrorsOptions) {
    this.#options = options;
  }

  /** Collections are read in the order in which they were added. */
  add(...mirrors: readonly Mirror[]): void {
    this.#mirrors.push(...mirrors);
  }

  /** Once the store is open, before anything is loaded. */
  listen(): void {
    const { cluster } = this.#options.store;
    if (cluster === undefined) return;
    this.#unlisten = cluster.onRecords((changed, isOwn) => {
      if (changed === null) this.#isAll = true;
      for (const { collection, id } of changed ?? []) this.#hear(collection, id, isOwn);
      this.#work();
    });
  }

  /** Once everything was loaded. */
  start(): void {
    this.#isOpen = true;
    this.#work();
  }

  close(): void {
    this.#isOpen = false;
    this.#unlisten();
  }

  /**
   * Resolves once memory has what was committed before the call, or after a while: asked before something is refused that
   * another node may have let in. However many ask, it is one question to the database at a time.
   */
  async caughtUp(): Promise<void> {
    const { store, clock } = this.#options;
    if (store.cluster === undefined || !this.#isOpen) return;
    let cancel = (): void => undefined;
    const over = new Promise<void>((resolve) => (cancel = clock.after(WAIT_MS, resolve)));
    const heard = store.cluster.heardAll().then(async () => {
      // What was just heard may be for the round after the one that is under way.
      await this.#working;
      await this.#working;
    });
    await Promise.race([heard, over]);
    cancel();
  }

  #hear(collection: string, id: string, isOwn: boolean): void {
    if (!this.#mirrors.some((mirror) => mirror.collection === collection)) return;
    if (isOwn && !this.#wasRead(collection, id)) return;
    const ids = this.#pending.get(collection) ?? new Set();
    if (!ids.has(id)) this.#size++;
    this.#pending.set(collection, ids.add(id));
    if (this.#size > NAMED) this.#isAll = true;
  }

  #wasRead(collection: string, id: string): boolean {
    return this.#allAt > this.#forgetOld() || this.#recent.has(keyOf(collection, id));
  }

  /** What is not recent any more goes; since when the rest is. */
  #forgetOld(): number {
    const since = this.#options.clock.monotonic() - RECENT_MS;
    for (const [key, at] of this.#recent) {
      if (at > since) break;
      this.#recent.delete(key);
    }
    return since;
  }

  #work(): void {
    if (!this.#isOpen || this.#working !== null || (!this.#isAll && this.#size === 0)) return;
    this.#working = this.#round().finally(() => {
      this.#working = null;
      this.#work();
    });
  }

  /** Never rejects. */
  async #round(): Promise<void> {
    const { clock, log } = this.#options;
    const [pending, isAll] = [this.#pending, this.#isAll];
    this.#pending = new Map();
    this.#size = 0;
    this.#isAll = false;
    try {
      if (isAll) this.#allAt = clock.monotonic();
      for (const mirror of this.#mirrors) {
        const ids = [...(pending.get(mirror.collection) ?? [])];
        for (const id of ids) this.#note(mirror.collection, id);
        await (isAll ? mirror.all() : ids.length > 0 && mirror.changed(ids));
      }
    } catch (error) {
      if (!this.#isOpen) return;
      log.warn({ err: error }, "what other nodes changed cannot be read; it is tried again");
      this.#isAll = true;
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  }

  #note(collection: string, id: string): void {
    this.#forgetOld();
    const key = keyOf(collection, id);
    this.#recent.delete(key);
    this.#recent.set(key, this.#options.clock.monotonic());
  }
}

function keyOf(collection: string, id: string): string {
  return `${collection}\n${id}`;
}
