import type { Head, Summary, SummaryQuery } from "../../core/cluster.ts";
import type { LoadedTail, MessageRow, RunRow, SessionRow } from "../../core/operation.ts";
import type { SessionRef } from "../../core/session.ts";
import { APPROVALS } from "../../core/tool-events.ts";
import type { StoredEvent } from "../../protocol/frames.ts";
import { writesMessage } from "../rules.ts";
import type { Queries } from "./queries.ts";
import { texts } from "./queries.ts";
import { EVENT_COLUMNS, MESSAGE_COLUMNS, SESSION_COLUMNS, toSessionRow } from "./session-row.ts";

/** What the tail of a session starts from; several statements, which are to see the same. */
export async function readTail(q: Queries, id: string): Promise<LoadedTail | null> {
  const found = await q.one<SessionRow & { session_key: number }>(
    `SELECT ${SESSION_COLUMNS}, s.session_key::float8 AS session_key FROM sessions AS s
     WHERE s.id = $1::text AND s.state <> 'copying'`,
    [id],
  );
  if (found === null) return null;
  const { session_key, ...session } = found;
  const [open, approvals, unended] = await Promise.all([
    q.all<MessageRow & { run_id: string | null }>(
      `SELECT ${MESSAGE_COLUMNS}, run_id FROM messages
       WHERE session_key = $1::bigint AND status = 'streaming' ORDER BY messages.seq`,
      [session_key],
    ),
    q.all<{ data: string }>(
      `SELECT data FROM records WHERE collection = $1::text AND owner = $2::text AND expires_at IS NULL ORDER BY place`,
      [APPROVALS, id],
    ),
    q.all<Omit<RunRow, "session">>(
      `SELECT run_id, status, data FROM runs
       WHERE session_key = $1::bigint AND status IN ('queued', 'running') ORDER BY first_seq, run_id`,
      [session_key],
    ),
  ]);
  const messages = await Promise.all(
    open.map(async ({ run_id, ...row }) => {
      const written = await q.all<StoredEvent>(
        `SELECT ${EVENT_COLUMNS} FROM events
         WHERE session_key = $1::bigint AND seq > $2::bigint AND run_id IS NOT DISTINCT FROM $3::text
           AND (type = 'message.delta' OR starts_with(type, 'tool.')) ORDER BY events.seq`,
        [session_key, row.seq, run_id],
      );
      return { row, events: written.filter((event) => writesMessage(event, row.message_id)) };
    }),
  );
  return {
    session: toSessionRow(session),
    open: messages,
    approvals: approvals.map(({ data }) => data),
    unended: unended.map((run) => ({ ...run, session: id })),
  };
}

export function readHeads(q: Queries, ids: readonly string[]): Promise<Head[]> {
  return q.all<Head>(
    `SELECT id, epoch, floor::float8 AS floor, head::float8 AS head FROM sessions
     WHERE id = ANY($1::text[]) AND state = 'live'`,
    [texts(ids)],
  );
}

export function readRefs(q: Queries, ids: readonly string[]): Promise<SessionRef[]> {
  return q.all<SessionRef>(
    "SELECT id, owner, name FROM sessions WHERE id = ANY($1::text[]) AND state = 'live'",
    [texts(ids)],
  );
}

export function readSummaries(
  q: Queries,
  { ids, since, users, shared, limit }: SummaryQuery,
): Promise<Summary[]> {
  const which =
    ids === null ? "s.recent >= $1::bigint / 60000 AND s.updated_at >= $1::bigint" : "s.id = ANY($1::text[])";
  return q.all<Summary>(
    `SELECT s.id, s.owner, s.name, s.epoch, s.floor::float8 AS floor, s.head::float8 AS head, s.title,
       s.updated_at::float8 AS updated_at, s.active_run_id,
       (SELECT count(*) FROM records AS r
        WHERE r.collection = $5::text AND r.owner = s.id AND r.expires_at IS NULL)::float8 AS approvals
     FROM sessions AS s
     WHERE ${which} AND s.state = 'live' AND (s.owner = ANY($2::text[]) OR s.id = ANY($3::text[]))
     ORDER BY s.updated_at DESC LIMIT $4::bigint`,
    [ids === null ? since : texts(ids), texts(users), texts(shared), limit, APPROVALS],
  );
}
