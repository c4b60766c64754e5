import { bigints, texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import type { SessionState } from "./session-row.ts";

/** What changes of a session with every operation. */
export interface WorkingSession {
  readonly session_key: number;
  readonly id: string;
  owner: string;
  name: string | null;
  state: SessionState;
  readonly epoch: string;
  readonly fence: number;
  /** Which node has it; what is only trimmed may be nobody's, or that of one that is gone. */
  readonly owner_boot: string | null;
  /** As the row has it. */
  stored_head: number;
  floor: number;
  head: number;
  message_count: number;
  active_run_id: string | null;
  updated_at: number;
}

/** What another node that lives, or one that lived, has to do with a session. */
export interface Standing {
  /** No other node that lives has it. */
  readonly isFree: boolean;
  /** This node has it. */
  readonly isOurs: boolean;
}

type Row = Omit<WorkingSession, "stored_head"> & Standing;

const NUMBERS = ["session_key", "fence", "floor", "head", "message_count", "updated_at"]
  .map((name) => `s.${name}::float8 AS ${name}`)
  .join(", ");
const COLUMNS = `${NUMBERS}, s.id, s.owner, s.name, s.state, s.epoch, s.owner_boot, s.active_run_id`;

/** Whether no other node that lives has a session `s`: by the clock of the database, the only one they share. */
export const IS_FREE = `(s.owner_boot IS NULL OR s.owner_boot = $1::text OR NOT EXISTS (
  SELECT 1 FROM nodes AS n WHERE n.boot = s.owner_boot AND n.lease_until > clock_timestamp()))`;

/**
 * The sessions of the group being written. Their rows are locked first, in the order of their keys, so that no two groups
 * wait for one another; then they are changed in memory by every operation, and written back once before the commit.
 */
export class WorkingSessions {
  readonly #q: Queries;
  readonly #boot: string;
  readonly #sessions = new Map<string, WorkingSession>();
  readonly #changed = new Set<WorkingSession>();

  constructor(q: Queries, boot: string) {
    this.#q = q;
    this.#boot = boot;
  }

  /** Locks and reads these, and only reads those. What each has to do with this node is answered for the locked ones. */
  async read(locked: readonly string[], looked_at: readonly string[]): Promise<Map<string, Standing>> {
    const standings = new Map<string, Standing>();
    if (locked.length > 0) {
      const rows = await this.#q.all<Row>(
        `SELECT ${COLUMNS}, ${IS_FREE} AS "isFree", s.owner_boot IS NOT DISTINCT FROM $1::text AS "isOurs"
         FROM sessions AS s WHERE s.id = ANY($2::text[]) ORDER BY s.session_key FOR UPDATE OF s`,
        [this.#boot, texts(locked)],
      );
      for (const { isFree, isOurs, ...row } of rows) {
        standings.set(row.id, { isFree, isOurs });
        this.add({ ...row, stored_head: row.head });
      }
    }
    const more = looked_at.filter((id) => !this.#sessions.has(id));
    if (more.length > 0) {
      const rows = await this.#q.all<Omit<Row, keyof Standing>>(
        `SELECT ${COLUMNS} FROM sessions AS s WHERE s.id = ANY($1::text[])`,
        [texts(more)],
      );
      for (const row of rows) this.add({ ...row, stored_head: row.head });
    }
    return standings;
  }

  /** Makes this node the owner of sessions that no other has: whoever had one has another number than it has now. */
  async take(sessions: readonly WorkingSession[]): Promise<void> {
    if (sessions.length === 0) return;
    const rows = await this.#q.all<{ id: string; fence: number }>(
      `UPDATE sessions SET owner_boot = $1::text, fence = fence + 1 WHERE session_key = ANY($2::bigint[])
       RETURNING id, fence::float8 AS fence`,
      [this.#boot, bigints(sessions.map(({ session_key }) => session_key))],
    );
    for (const { id, fence } of rows) {
      const session = this.#sessions.get(id);
      if (session !== undefined) this.#sessions.set(id, { ...session, fence, owner_boot: this.#boot });
    }
  }

  find(id: string): WorkingSession | null {
    return this.#sessions.get(id) ?? null;
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
    this.#changed.add(session);
  }

  /** Writes back one session, or all. Throws where a row is not as it was locked. */
  async flush(only?: WorkingSession): Promise<void> {
    const some = only === undefined ? [...this.#changed] : [only].filter((each) => this.#changed.has(each));
    if (some.length === 0) return;
    for (const session of some) this.#changed.delete(session);
    const ints = (of: (session: WorkingSession) => number) => bigints(some.map(of));
    const strings = (of: (session: WorkingSession) => string | null) => texts(some.map(of));
    const written = this.#q.run(
      `UPDATE sessions AS s SET owner = u.owner, name = u.name, state = u.state, floor = u.floor, head = u.head,
         message_count = u.message_count, active_run_id = u.active_run_id, updated_at = u.updated_at,
         name_folded = CASE WHEN u.name IS NULL THEN NULL ELSE s.name_folded END
       FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
         $9::bigint[], $10::text[], $11::bigint[], $12::text[])
         AS u (session_key, fence, stored_head, owner, name, state, floor, head, message_count, active_run_id, updated_at,
           owner_boot)
       WHERE s.session_key = u.session_key AND s.fence = u.fence AND s.head = u.stored_head
         AND s.owner_boot IS NOT DISTINCT FROM u.owner_boot`,
      [
        ints((each) => each.session_key),
        ints((each) => each.fence),
        ints((each) => each.stored_head),
        strings((each) => each.owner),
        strings((each) => each.name),
        strings((each) => each.state),
        ints((each) => each.floor),
        ints((each) => each.head),
        ints((each) => each.message_count),
        strings((each) => each.active_run_id),
        ints((each) => each.updated_at),
        strings((each) => each.owner_boot),
      ],
    );
    for (const session of some) session.stored_head = session.head;
    if ((await written) !== some.length) throw new Error("a session was changed while its row was locked");
  }
}
