import type { IdempotencyRow, SessionRow } from "../../core/operation.ts";
import type { RecordRow } from "../../core/record.ts";
import type { Limits } from "../../core/limits.ts";
import type { Page, StoreTotals } from "../../core/store.ts";
import type { StoredEvent } from "../../protocol/frames.ts";
import { eventBytes, takeWithin } from "../rules.ts";
import type { Queries } from "./queries.ts";
import { texts } from "./queries.ts";
import type { SessionState } from "./session-row.ts";
import { EVENT_COLUMNS, SESSION_COLUMNS, toSessionRow } from "./session-row.ts";
import { IS_FREE } from "./working-sessions.ts";

/** Epoch, floor, head and events as one statement saw them, of a session in one of `states`. */
export async function readPage(
  q: Queries,
  limits: Limits,
  id: string,
  { after, upto }: { readonly after: number; readonly upto: number },
  states: readonly SessionState[] = ["live"],
): Promise<Page | null> {
  const rows = await q.all<Omit<Page, "events"> & { [K in keyof StoredEvent]: StoredEvent[K] | null }>(
    `SELECT s.epoch, s.floor::float8 AS floor, s.head::float8 AS head, e.seq, e.ts, e.type, e.run_id, e.payload
     FROM sessions AS s LEFT JOIN LATERAL (
       SELECT ${EVENT_COLUMNS} FROM (
         SELECT *, sum(octet_length(payload)) OVER (ORDER BY seq) - octet_length(payload) AS until FROM (
           SELECT * FROM events WHERE session_key = s.session_key AND seq > $2::bigint AND seq <= $3::bigint
           ORDER BY seq LIMIT $4::bigint
         ) AS first_ones
       ) AS summed WHERE until <= $5::bigint
     ) AS e ON $2::bigint >= s.floor WHERE s.id = $1::text AND s.state = ANY($6::text[]) ORDER BY e.seq`,
    [id, after, upto, limits.page_events, limits.page_bytes, texts(states)],
  );
  const [first] = rows;
  if (first === undefined) return null;
  const { epoch, floor, head } = first;
  const events = rows.flatMap(({ seq, ts, type, run_id, payload }) =>
    seq === null || ts === null || type === null || payload === null
      ? []
      : [{ seq, ts, type, run_id, payload }],
  );
  const bounds = { count: limits.page_events, bytes: limits.page_bytes };
  return { epoch, floor, head, events: takeWithin(events, eventBytes, bounds).taken };
}

export async function readNamed(
  q: Queries,
  owner: string,
  name: string,
  since: number,
): Promise<SessionRow | "gone" | null> {
  const found = await q.one<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.owner = $1::text AND s.name = $2::text AND s.state = 'live'`,
    [owner, name],
  );
  if (found !== null) return toSessionRow(found);
  const buried = await q.one(
    "SELECT 1 AS found FROM tombstones WHERE owner = $1::text AND name = $2::text AND deleted_at > $3::bigint LIMIT 1",
    [owner, name, since],
  );
  return buried === null ? null : "gone";
}

export async function readDeleted(q: Queries, id: string, owner: string, since: number): Promise<boolean> {
  const found = await q.one(
    "SELECT 1 AS found FROM tombstones WHERE id = $1::text AND owner = $2::text AND deleted_at > $3::bigint",
    [id, owner, since],
  );
  return found !== null;
}

export function readIdempotency(
  q: Queries,
  user: string,
  key: string,
  since: number,
): Promise<IdempotencyRow | null> {
  return q.one<IdempotencyRow>(
    `SELECT fingerprint, answer, session, epoch, seq::float8 AS seq FROM idempotency
     WHERE username = $1::text AND key = $2::text AND created_at > $3::bigint`,
    [user, key, since],
  );
}

const recordsWhere = (
  which: string,
) => `SELECT collection, id, owner, data, expires_at::float8 AS expires_at FROM records
  WHERE collection = $1::text ${which} AND (expires_at IS NULL OR expires_at > $2::bigint) ORDER BY place`;

export function readRecords(
  q: Queries,
  collection: string,
  owner: string | undefined,
  now: number,
): Promise<RecordRow[]> {
  return owner === undefined
    ? q.all<RecordRow>(recordsWhere(""), [collection, now])
    : q.all<RecordRow>(recordsWhere("AND owner = $3::text"), [collection, now, owner]);
}

export function readRecord(
  q: Queries,
  collection: string,
  id: string,
  now: number,
): Promise<RecordRow | null> {
  return q.one<RecordRow>(recordsWhere("AND id = $3::text"), [collection, now, id]);
}

/** Of sessions that no other node has. */
export async function readTrimmable(
  q: Queries,
  boot: string,
  before: number,
  limit: number,
): Promise<string[]> {
  const rows = await q.all<{ id: string }>(
    `SELECT s.id FROM sessions AS s WHERE s.has_log AND s.state = 'live' AND ${IS_FREE}
       AND (SELECT e.ts FROM events AS e WHERE e.session_key = s.session_key AND e.seq = s.floor + 1) < $2::bigint
       AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.session_key = s.session_key
         AND r.status IN ('queued', 'running') AND r.first_seq <= s.floor + 1) LIMIT $3::bigint`,
    [boot, before, limit],
  );
  return rows.map(({ id }) => id);
}

export async function readTotals(q: Queries): Promise<StoreTotals> {
  const found = await q.one<StoreTotals>(
    `SELECT count(*)::float8 AS sessions, coalesce(sum(message_count), 0)::float8 AS messages,
       coalesce(sum(head - floor), 0)::float8 AS events FROM sessions WHERE state = 'live'`,
  );
  return found ?? { sessions: 0, messages: 0, events: 0 };
}
