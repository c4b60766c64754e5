import type { Database } from "bun:sqlite";
import type { RunRow, SessionRow } from "../../core/operation.ts";
import type { RunQuery, SessionQuery } from "../../core/store.ts";
import { hold } from "./database.ts";
import type { SessionColumns } from "./session-row.ts";
import { folded, SESSION_COLUMNS, toSessionRow } from "./session-row.ts";

/** Later than any row: where a list begins. */
const BEGINNING = { at: Number.MAX_SAFE_INTEGER, id: "" };

/** Sessions and runs a user may read: what the user owns, by index, and the few that are shared, by id. */
export function createListReads(db: Database) {
  return { ...createSessionList(db), ...createRunList(db) };
}

function createSessionList(db: Database) {
  const part = (which: string) => `
    SELECT ${SESSION_COLUMNS} FROM sessions AS s
    WHERE ${which} AND s.state = 'live' AND (s.updated_at, s.id) < (?2, ?3) AND s.updated_at > ?4
      AND (?5 IS NULL OR s.archived = ?5)
      AND (?6 = '' OR instr(s.title_folded, ?6) > 0 OR (s.owner = ?1 AND instr(lower(s.name), ?6) > 0))
    ORDER BY s.updated_at DESC, s.id DESC LIMIT ?7`;
  const list = hold<SessionColumns>(
    db,
    `SELECT * FROM (${part("s.owner = ?1")})
     UNION ALL SELECT * FROM (${part("s.owner <> ?1 AND s.id IN (SELECT value FROM json_each(?8))")})
     ORDER BY updated_at DESC, id DESC LIMIT ?7`,
  );
  const owners = hold<{ user: string; sessions: number }>(
    db,
    "SELECT user, session_count AS sessions FROM quotas WHERE session_count > 0 ORDER BY user",
  );
  // Without an index: it is asked where there is no room, and then once a minute.
  const archived = hold<SessionColumns>(
    db,
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.archived = 1 AND s.state = 'live'
     ORDER BY s.updated_at, s.id LIMIT ?`,
  );
  return {
    archived: (limit: number): SessionRow[] => archived.all(limit).map(toSessionRow),
    owners: (): { user: string; sessions: number }[] => owners.all(),
    sessions({ user, shared, limit, after, query, archived, updated_after }: SessionQuery): SessionRow[] {
      const at = after?.updated_at ?? BEGINNING.at;
      const filters = [
        updated_after ?? -1,
        archived === undefined ? null : Number(archived),
        folded(query ?? ""),
      ];
      const rows = list.all(user, at, after?.id ?? BEGINNING.id, ...filters, limit, JSON.stringify(shared));
      return rows.map(toSessionRow);
    },
  };
}

function createRunList(db: Database) {
  const one = hold<RunRow>(
    db,
    `SELECT r.run_id, s.id AS session, r.status, r.data FROM runs AS r JOIN sessions AS s USING (session_key)
     WHERE r.run_id = ? AND s.state = 'live'`,
  );
  const part = (which: string) => `
    SELECT r.run_id, s.id AS session, r.status, r.data, r.created_at
    FROM runs AS r JOIN sessions AS s USING (session_key)
    WHERE ${which} AND s.state = 'live' AND (r.created_at, r.run_id) < (?2, ?3) AND (?4 IS NULL OR r.status = ?4)
    ORDER BY r.created_at DESC, r.run_id DESC LIMIT ?5`;
  const shared = "s.owner <> ?1 AND s.id IN (SELECT value FROM json_each(?6))";
  const all = hold<RunRow>(
    db,
    `SELECT run_id, session, status, data FROM (
       SELECT * FROM (${part("r.owner = ?1")}) UNION ALL SELECT * FROM (${part(shared)})
     ) ORDER BY created_at DESC, run_id DESC LIMIT ?5`,
  );
  const ofSession = hold<RunRow>(
    db,
    `SELECT run_id, session, status, data FROM (${part(
      `r.session_key = (SELECT session_key FROM sessions WHERE id = ?7) AND (s.owner = ?1 OR (${shared}))`,
    )})`,
  );
  return {
    run: (run_id: string): RunRow | null => one.get(run_id),
    runs({ user, shared: readable, session, status, limit, after }: RunQuery): RunRow[] {
      const at = [after?.created_at ?? BEGINNING.at, after?.id ?? BEGINNING.id];
      const values = [user, ...at, status ?? null, limit, JSON.stringify(readable)];
      return session === undefined ? all.all(...values) : ofSession.all(...values, session);
    },
  };
}
