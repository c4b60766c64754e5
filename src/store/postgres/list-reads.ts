import type { RunRow, SessionRow } from "../../core/operation.ts";
import type { RunQuery, SessionQuery } from "../../core/store.ts";
import { texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import { folded, SESSION_COLUMNS, toSessionRow } from "./session-row.ts";

/** Later than any row: where a list begins. */
const BEGINNING = { at: Number.MAX_SAFE_INTEGER, id: "" };
/** `recent` is `updated_at` in these, and the one with an index. */
const RECENT_MS = 60_000;

const sessionsWhere = (which: string) => `
  SELECT ${SESSION_COLUMNS}, s.recent FROM sessions AS s
  WHERE ${which} AND s.state = 'live' AND s.recent <= $8::bigint AND (s.updated_at, s.id) < ($2::bigint, $3::text)
    AND s.updated_at > $4::bigint AND ($5::boolean IS NULL OR s.archived = $5::boolean)
    AND ($6::text = '' OR strpos(s.title_folded, $6::text) > 0 OR (s.owner = $1::text AND strpos(s.name_folded, $6::text) > 0))
  ORDER BY s.recent DESC, s.updated_at DESC, s.id DESC LIMIT $7::bigint`;
const SESSIONS = `SELECT * FROM (
    (${sessionsWhere("s.owner = $1::text")})
    UNION ALL (${sessionsWhere("s.owner <> $1::text AND s.id = ANY($9::text[])")})
  ) AS both_kinds ORDER BY updated_at DESC, id DESC LIMIT $7::bigint`;

/** What the user owns, by index, and the few that are shared, by id. */
export async function readSessions(q: Queries, query: SessionQuery): Promise<SessionRow[]> {
  const { user, shared, limit, after, archived, updated_after } = query;
  const at = after?.updated_at ?? BEGINNING.at;
  const rows = await q.all<SessionRow & { recent: string }>(SESSIONS, [
    user,
    at,
    after?.id ?? BEGINNING.id,
    updated_after ?? -1,
    archived ?? null,
    folded(query.query ?? ""),
    limit,
    Math.floor(at / RECENT_MS),
    texts(shared),
  ]);
  return rows.map(({ recent: _, ...row }) => toSessionRow(row));
}

export async function readArchived(q: Queries, limit: number): Promise<SessionRow[]> {
  const rows = await q.all<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.archived AND s.state = 'live'
     ORDER BY s.updated_at, s.id LIMIT $1::bigint`,
    [limit],
  );
  return rows.map(toSessionRow);
}

export function readOwners(q: Queries): Promise<{ user: string; sessions: number }[]> {
  return q.all(
    `SELECT username AS "user", session_count::float8 AS sessions FROM quotas WHERE session_count > 0 ORDER BY username`,
  );
}

export function readRun(q: Queries, run_id: string): Promise<RunRow | null> {
  return q.one<RunRow>(
    `SELECT r.run_id, s.id AS session, r.status, r.data FROM runs AS r JOIN sessions AS s USING (session_key)
     WHERE r.run_id = $1::text AND s.state = 'live'`,
    [run_id],
  );
}

const runsWhere = (which: string) => `
  SELECT r.run_id, s.id AS session, r.status, r.data, r.created_at FROM runs AS r JOIN sessions AS s USING (session_key)
  WHERE ${which} AND s.state = 'live' AND (r.created_at, r.run_id) < ($2::bigint, $3::text)
    AND ($4::text IS NULL OR r.status = $4::text)
  ORDER BY r.created_at DESC, r.run_id DESC LIMIT $5::bigint`;
const SHARED = "s.owner <> $1::text AND s.id = ANY($6::text[])";
const RUNS = `SELECT run_id, session, status, data FROM (
    (${runsWhere("r.owner = $1::text")}) UNION ALL (${runsWhere(SHARED)})
  ) AS both_kinds ORDER BY created_at DESC, run_id DESC LIMIT $5::bigint`;
const RUNS_OF_SESSION = `SELECT run_id, session, status, data FROM (${runsWhere(
  `r.session_key = (SELECT session_key FROM sessions WHERE id = $7::text) AND (s.owner = $1::text OR (${SHARED}))`,
)}) AS of_session`;

export function readRuns(
  q: Queries,
  { user, shared, session, status, limit, after }: RunQuery,
): Promise<RunRow[]> {
  const at = [after?.created_at ?? BEGINNING.at, after?.id ?? BEGINNING.id];
  const values = [user, ...at, status ?? null, limit, texts(shared)];
  return session === undefined
    ? q.all<RunRow>(RUNS, values)
    : q.all<RunRow>(RUNS_OF_SESSION, [...values, session]);
}
