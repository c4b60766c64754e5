import type { Audit } from "./audit.ts";
import type { Journal } from "./journal.ts";
import { KnownTime } from "./known-time.ts";
import { leads } from "./leading.ts";
import type { Limits } from "./limits.ts";
import type { Owed } from "./owed.ts";
import type { Clock, Logger } from "./ports.ts";
import { isTight, RoomWatch } from "./room.ts";
import type { Stats } from "./stats.ts";
import type { Store } from "./store.ts";

export interface MaintenanceOptions {
  readonly journal: Journal;
  readonly store: Store;
  readonly owed: Pick<Owed, "holds" | "size">;
  readonly audit: Pick<Audit, "record">;
  readonly stats: Pick<Stats, "events_trimmed_early">;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** How long events of ended runs can be replayed; read each time. */
  readonly settings: { readonly event_grace_ms: number };
  /** A session was erased. */
  readonly erased: () => void;
}

const EVERY_MS = 30_000;
/** So long what was deleted is there for other nodes to read. */
const READ_MS = 2_000;
const SESSIONS_A_ROUND = 200;
/** Which parts of the time events can be replayed are given up, one after the other, where there is no room. */
const GRACE_LEFT = [0.5, 0.1, 0];

/** What the store needs now and then: trims logs, erases what has expired and what was deleted, in small groups. */
export class Maintenance {
  readonly #options: MaintenanceOptions;
  /** How full the store was when it was last looked. */
  readonly room: RoomWatch;
  /** What is deleted for good by its age goes by it. */
  readonly time: KnownTime;
  readonly #cancel: () => void;
  #running: Promise<void> | null = null;
  /** By session; also those that are going to be. */
  readonly #erasing = new Map<string, Promise<void>>();
  #closed = false;
  /** Something was erased that may still be in the store's files. */
  #isErased = false;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
    this.room = new RoomWatch(options);
    this.time = new KnownTime(options);
    this.#cancel = options.clock.every(EVERY_MS, () => void this.run());
  }

  /** One round; a round that is under way is shared. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#round().finally(() => (this.#running = null));
    return this.#running;
  }

  /** Erases a session that is marked deleting. What is left of it at a stop is erased at the next start. Never rejects. */
  erase(session: string): void {
    if (this.#erasing.has(session)) return;
    this.#erasing.set(
      session,
      this.#erase(session).finally(() => this.#erasing.delete(session)),
    );
  }

  /** As erase, of one that was deleted just now: who follows it at another node reads its end first. */
  eraseRead(session: string): void {
    const { store, clock } = this.#options;
    if (store.cluster === undefined) return this.erase(session);
    this.#erasing.set(session, Promise.resolve());
    clock.after(READ_MS, () => {
      this.#erasing.delete(session);
      if (!this.#closed) this.erase(session);
    });
    return undefined;
  }

  /** Something was erased: the next rounds see to it that the store's files do not have it any more. */
  scrub(): void {
    this.#isErased = true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#running;
    await Promise.all(this.#erasing.values());
  }

  async #erase(session: string): Promise<void> {
    const { journal, limits, log } = this.#options;
    const item = { kind: "erase" as const, session, max_rows: limits.maintenance_rows };
    try {
      while (!this.#closed) {
        const result = await journal.run(item);
        if (!result.ok || ("done" in result && result.done)) break;
      }
    } catch (error) {
      log.info({ session, err: error }, "a deleted session is erased at the next start");
    }
    journal.tails.forget(session);
    this.scrub();
    this.#options.erased();
  }

  async #round(): Promise<void> {
    const { store, journal, limits, log, settings } = this.#options;
    try {
      const room = await this.room.look();
      // At its bound a database still takes what makes it smaller.
      const isFull = isTight(room) && journal.refused?.reason === "full";
      if (journal.refused !== null && !isFull) return;
      if (!isFull) await this.#trimAll(settings.event_grace_ms);
      if (isTight(room)) await this.#relieve();
      if (journal.refused !== null) return;
      const now = await this.time.now();
      const { maintenance_rows: rows } = limits;
      while (!this.#closed && leads(store) && (await store.expire(now, rows)) >= rows);
      if (this.#isErased && this.#erasing.size === 0 && !this.#closed)
        this.#isErased = !(await store.scrub());
    } catch (error) {
      // The next round tries again; what is not trimmed or erased only takes space.
      if (!this.#closed) log.warn({ err: error }, "maintenance of the store failed; it is tried again");
    }
  }

  /** Trims events that are older than so long, of some sessions. The number that went. */
  async #trimAll(grace_ms: number): Promise<number> {
    const { store, clock, owed } = this.#options;
    const before = clock.now() - grace_ms;
    let removed = 0;
    // The log of one that webhooks are owed something of is their queue.
    for (const session of await store.trimmable(before, SESSIONS_A_ROUND + owed.size)) {
      if (this.#closed) break;
      if (!owed.holds(session)) removed += await this.#trim(session, before);
    }
    return removed;
  }

  /** Gives up events of ended runs before their time, the oldest first: what they said stays, as messages. */
  async #relieve(): Promise<void> {
    const { log, settings, audit, stats } = this.#options;
    let events = 0;
    for (const part of GRACE_LEFT) {
      if (!isTight(await this.room.look()) || this.#closed) break;
      events += await this.#trimAll(settings.event_grace_ms * part);
    }
    if (events === 0) return;
    stats.events_trimmed_early += events;
    const facts = { events, ...(await this.room.look()) };
    log.warn(facts, "the database is nearly as large as it may be: events were given up before their time");
    audit.record({ action: "event.trim", details: JSON.stringify({ ...facts, reason: "max_bytes" }) });
  }

  /** The number of events that went. */
  async #trim(session: string, before: number): Promise<number> {
    const { journal, limits } = this.#options;
    const item = { kind: "trim" as const, session, before, max_rows: limits.maintenance_rows };
    for (let removed = 0; ;) {
      const result = await journal.run(item);
      if (!result.ok || !("removed" in result)) return removed;
      removed += result.removed;
      if (this.#closed || result.removed < limits.maintenance_rows) return removed;
    }
  }
}
