import type { Database } from "bun:sqlite";
import { hold } from "./database.ts";
import type { SessionState } from "./session-row.ts";

/** What changes of a session with every operation. */
export interface WorkingSession {
  readonly session_key: number;
  readonly id: string;
  owner: string;
  name: string | null;
  state: SessionState;
  readonly epoch: string;
  floor: number;
  head: number;
  message_count: number;
  active_run_id: string | null;
  updated_at: number;
}

/** Sessions that are remembered from one group to the next. */
const REMEMBERED = 4_096;

/** What changes all the time: no index is over it but that of the newest sessions. */
type Progress = Pick<WorkingSession, "floor" | "head" | "message_count" | "active_run_id" | "updated_at">;

/**
 * The sessions of the group being written: each is read once, changed in memory by every operation of it, and written
 * back once before the commit. There is no other writer, so what was committed is still true for the next group.
 */
export class WorkingSessions {
  readonly #sessions = new Map<string, WorkingSession>();
  /** Those to write back: true where more than their progress changed. */
  readonly #changed = new Map<WorkingSession, boolean>();
  readonly #select;
  readonly #update;
  readonly #advance;

  constructor(db: Database) {
    this.#select = hold<WorkingSession>(
      db,
      `SELECT session_key, id, owner, name, state, epoch, floor, head, message_count, active_run_id, updated_at
       FROM sessions WHERE id = ?`,
    );
    this.#update = hold(
      db,
      `UPDATE sessions SET name = ?, state = ?, floor = ?, head = ?, message_count = ?, active_run_id = ?, updated_at = ?
       WHERE session_key = ?`,
    );
    this.#advance = hold(
      db,
      `UPDATE sessions SET floor = ?, head = ?, message_count = ?, active_run_id = ?, updated_at = ?
       WHERE session_key = ?`,
    );
  }

  find(id: string): WorkingSession | null {
    const known = this.#sessions.get(id);
    if (known !== undefined) return known;
    const found = this.#select.get(id);
    if (found !== null) this.#sessions.set(id, found);
    return found;
  }

  /** One whose row was just made. */
  add(session: WorkingSession): WorkingSession {
    this.#sessions.set(session.id, session);
    return session;
  }

  /** One whose row is gone, by a deletion or because its making was taken back. */
  remove(session: WorkingSession): void {
    this.#sessions.delete(session.id);
    this.#changed.delete(session);
  }

  change(session: WorkingSession, change: Partial<WorkingSession>): void {
    Object.assign(session, change);
    this.#changed.set(session, true);
  }

  /** As change, and cheaper to write back. */
  advance(session: WorkingSession, change: Partial<Progress>): void {
    Object.assign(session, change);
    if (!this.#changed.has(session)) this.#changed.set(session, false);
  }

  /** Writes back one session, or all. */
  flush(only?: WorkingSession): void {
    for (const session of only === undefined ? this.#changed.keys() : [only]) {
      const isMore = this.#changed.get(session);
      if (isMore === undefined) continue;
      this.#changed.delete(session);
      const { name, state, floor, head, message_count, active_run_id, updated_at, session_key } = session;
      if (isMore)
        this.#update.run(name, state, floor, head, message_count, active_run_id, updated_at, session_key);
      else this.#advance.run(floor, head, message_count, active_run_id, updated_at, session_key);
    }
  }

  /** The group is committed. */
  committed(): void {
    if (this.#sessions.size > REMEMBERED) this.#sessions.clear();
  }

  /** Forgets everything: the group is taken back, or nobody knows. */
  clear(): void {
    this.#sessions.clear();
    this.#changed.clear();
  }
}
