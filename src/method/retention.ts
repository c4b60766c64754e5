import { entryOf } from "../core/audit.ts";
import { isImporter } from "../core/importing.ts";
import { leads } from "../core/leading.ts";
import type { Owed } from "../core/owed.ts";
import type { Logger } from "../core/ports.ts";
import { isTight } from "../core/room.ts";
import type { SessionRow } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { appendAlone } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { EndDeps } from "./session-end.ts";
import { endSession } from "./session-end.ts";

const EVERY_MS = 60_000;
const DAY_MS = 86_400_000;
/** What one look does at the most: the next one goes on where it was. */
const USERS_A_LOOK = 200;
const SESSIONS_A_LOOK = 200;
const PAGE = 50;
/** Archived ones that go at once where there is no room, before it is looked again how much there is. */
const ARCHIVED_A_LOOK = 20;

/** Whether a session may go, as it is now. */
type IsOver = (row: Readonly<SessionRow>) => boolean;

export interface RetentionDeps extends EndDeps, Pick<MethodDeps, "store" | "stats"> {
  readonly owed: Pick<Owed, "holds">;
  readonly log: Logger;
  /** storage.retention_days, read each time; 0: never. */
  readonly days: () => number;
}

/**
 * Deletes sessions in which nothing has happened for so many days, and archived ones where there is no room, as session.delete
 * does: their followers are told, and the audit trail has it. Not one that has a run, or whose events webhooks still have to get: those wait.
 */
export class Retention {
  readonly #deps: RetentionDeps;
  #cancel: () => void = () => undefined;
  #running: Promise<void> | null = null;
  #closed = false;
  /** Whose sessions were looked at last. */
  #last = "";

  constructor(deps: RetentionDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.every(EVERY_MS, () => void this.run());
  }

  /** One look; one that is under way is shared. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#look().finally(() => (this.#running = null));
    return this.#running;
  }

  /** Stops after the session that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#running;
  }

  async #look(): Promise<void> {
    const { journal, store, log } = this.#deps;
    if (journal.refused !== null || !leads(store)) return;
    try {
      await this.#expire();
      await this.#makeRoom();
    } catch (error) {
      // The next look tries again; what is not deleted only takes space.
      if (!this.#closed) log.warn({ err: error }, "old sessions could not be deleted; it is tried again");
    }
  }

  async #expire(): Promise<void> {
    const { maintenance, stats, log, days } = this.#deps;
    const retention_days = days();
    if (retention_days === 0) return;
    const had = stats.sessions_expired.age;
    try {
      await this.#all((await maintenance.time.now()) - retention_days * DAY_MS);
    } finally {
      const sessions = stats.sessions_expired.age - had;
      if (sessions > 0)
        log.info({ sessions, retention_days }, "sessions in which nothing had happened were deleted");
    }
  }

  /** Where it helped too little to give up events, archived sessions go, the oldest first; others never. */
  async #makeRoom(): Promise<void> {
    const { store, maintenance, log } = this.#deps;
    if (!isTight(await store.room())) return;
    await maintenance.run();
    if (!isTight(await store.room())) return;
    let sessions = 0;
    for (const { id, owner, name } of await store.archived(ARCHIVED_A_LOOK)) {
      if (this.#closed) break;
      if (isImporter(owner)) continue;
      if (await this.#end({ id, owner, name }, (row) => row.archived, "room")) sessions++;
    }
    const room = await store.room();
    if (sessions > 0)
      log.warn(
        { sessions, ...room },
        "the database is nearly as large as it may be: archived sessions were deleted",
      );
  }

  async #all(before: number): Promise<void> {
    const users = (await this.#deps.store.owners()).map(({ user }) => user).toSorted();
    const from = users.findIndex((user) => user > this.#last);
    const inTurn = from < 0 ? users : [...users.slice(from), ...users.slice(0, from)];
    let left = SESSIONS_A_LOOK;
    for (const user of inTurn.slice(0, USERS_A_LOOK)) {
      // What is being imported belongs to nobody yet.
      if (!isImporter(user)) left -= await this.#ofUser(user, before, left);
      if (left <= 0 || this.#closed) return;
      this.#last = user;
    }
  }

  /** The number of sessions that went. */
  async #ofUser(user: string, before: number, most: number): Promise<number> {
    const isOver: IsOver = (row) => row.updated_at < before;
    let count = 0;
    // Behind the newest that is old enough.
    let after = { updated_at: before, id: "" };
    for (;;) {
      const rows = await this.#deps.store.sessions({ user, shared: [], limit: PAGE, after });
      for (const { id, owner, name, updated_at } of rows) {
        if (count >= most || this.#closed) return count;
        if (await this.#end({ id, owner, name }, isOver, "age")) count++;
        after = { updated_at, id };
      }
      if (rows.length < PAGE) return count;
    }
  }

  /** False: it is in use, or another's now. Rejects where storage refuses. */
  async #end(session: SessionRef, isOver: IsOver, why: "age" | "room"): Promise<boolean> {
    const { journal, owed, stats, clock, runs } = this.#deps;
    if (owed.holds(session.id)) return false;
    try {
      await this.#deps.bring?.(session, null);
      await withTail(this.#deps, session, async ({ row }) => {
        const requireOver = (): void => {
          const isIdle = row.active_run_id === null && !journal.tails.isBusy(session.id);
          if (!isIdle || !isOver(row)) throw inUse();
        };
        requireOver();
        if (runs.lanes.has(session.id)) throw inUse();
        const details = JSON.stringify({
          updated_at: row.updated_at,
          reason: why === "age" ? "retention_days" : "max_bytes",
        });
        const facts = { action: "session.expire", user: session.owner, target: session.id, details };
        await endSession(this.#deps, session, "", async (command) => {
          try {
            // Nothing comes between this and the append.
            requireOver();
          } catch (error) {
            command.undo?.();
            throw error;
          }
          const entry = { kind: "audit" as const, entry: entryOf(facts, clock.now()) };
          await appendAlone(journal, { ...command, rows: [...command.rows, entry] });
        });
      });
      stats.sessions_expired[why]++;
      return true;
    } catch (error) {
      if (!(error instanceof GatewayError) || journal.refused !== null) throw error;
      return false;
    }
  }
}

function inUse(): GatewayError {
  return new GatewayError("CONFLICT", "something happens in the session", { details: { kind: "state" } });
}
