import type { Covers, MessageRow, RunRow, SessionRow } from "../../core/operation.ts";
import type { ContextRows, HistoryQuery, HistoryRows, SnapshotRows } from "../../core/store.ts";
import { messageBytes, takeWithin } from "../rules.ts";
import { texts } from "./queries.ts";
import type { Queries } from "./queries.ts";
import { bytesUntil, MESSAGE_COLUMNS, SESSION_COLUMNS, toSessionRow } from "./session-row.ts";

type MessageColumns = MessageRow & { readonly run_id: string | null };

const KEY = "(SELECT session_key FROM sessions WHERE id = $1::text)";

interface Range {
  readonly after: number;
  readonly before: number;
}
const EVERYTHING: Range = { after: 0, before: Number.MAX_SAFE_INTEGER };

export async function readSession(q: Queries, id: string): Promise<SessionRow | null> {
  const found = await q.one<SessionRow>(
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.id = $1::text AND s.state = 'live'`,
    [id],
  );
  return found === null ? null : toSessionRow(found);
}

/** As many as fit, and whether there are more. */
async function settled(
  q: Queries,
  id: string,
  { after, before }: Range,
  direction: "ASC" | "DESC",
  bounds: { readonly count: number; readonly bytes: number },
): Promise<{ taken: MessageColumns[]; more: boolean }> {
  const rows = await q.all<MessageColumns>(
    `SELECT ${MESSAGE_COLUMNS}, run_id FROM (
       SELECT *, ${bytesUntil(direction)} AS until FROM messages
       WHERE session_key = ${KEY} AND status <> 'streaming' AND seq > $2::bigint AND seq < $3::bigint
       ORDER BY seq ${direction} LIMIT $4::bigint
     ) AS m WHERE until <= $5::bigint ORDER BY m.seq ${direction}`,
    [id, after, before, bounds.count + 1, bounds.bytes],
  );
  return takeWithin(rows, messageBytes, bounds);
}

export async function readSnapshot(
  q: Queries,
  id: string,
  bytes: number,
  count: number,
): Promise<SnapshotRows | null> {
  const session = await readSession(q, id);
  if (session === null) return null;
  const { taken, more } = await settled(q, id, EVERYTHING, "DESC", { count, bytes });
  const sent = taken.map(({ run_id }) => run_id);
  const runs = await q.all<RunRow>(
    `SELECT run_id, $1::text AS session, status, data FROM runs
     WHERE session_key = ${KEY} AND (status IN ('queued', 'running') OR run_id = ANY($2::text[]))
     ORDER BY first_seq, run_id`,
    [id, texts(sent)],
  );
  return { session, messages: taken.toReversed().map(toMessage), runs, has_more: more };
}

export async function readHistory(q: Queries, id: string, query: HistoryQuery): Promise<HistoryRows | null> {
  const session = await readSession(q, id);
  if (session === null) return null;
  const answer = { session, total: session.message_count };
  const [after, before] = await Promise.all([
    query.after === undefined ? EVERYTHING.after : seqOf(q, id, query.after),
    query.before === undefined ? EVERYTHING.before : seqOf(q, id, query.before),
  ]);
  const range = { after: after ?? EVERYTHING.after, before: before ?? EVERYTHING.before };
  if (after === null || before === null)
    return { ...answer, messages: [], has_more: false, found: false, range };
  const forwards = query.after !== undefined;
  const bounds = { count: query.limit, bytes: query.max_bytes };
  const { taken, more } = await settled(q, id, range, forwards ? "ASC" : "DESC", bounds);
  const messages = (forwards ? taken : taken.toReversed()).map(toMessage);
  return { ...answer, messages, has_more: more, found: true, range };
}

async function seqOf(q: Queries, id: string, message_id: string): Promise<number | null> {
  const found = await q.one<{ seq: number }>(
    `SELECT seq::float8 AS seq FROM messages WHERE session_key = ${KEY} AND message_id = $2::text`,
    [id, message_id],
  );
  return found?.seq ?? null;
}

export async function readContext(
  q: Queries,
  id: string,
  count: number,
  bytes: number,
): Promise<ContextRows | null> {
  const session = await readSession(q, id);
  if (session === null) return null;
  const found = await q.one<MessageRow & { readonly covers: string }>(
    `SELECT ${MESSAGE_COLUMNS}, covers FROM messages
     WHERE session_key = ${KEY} AND covers IS NOT NULL ORDER BY messages.seq DESC LIMIT 1`,
    [id],
  );
  const summary = found === null ? null : { ...found, covers: JSON.parse(found.covers) as Covers };
  const ends = summary === null ? [] : [summary.covers.through, ...summary.covers.except];
  const first = await q.one<{ seq: number | null }>(
    `SELECT min(seq)::float8 AS seq FROM messages WHERE session_key = ${KEY} AND message_id = ANY($2::text[])`,
    [id, texts(ends)],
  );
  const range = { ...EVERYTHING, after: (first?.seq ?? 1) - 1 };
  const { taken } = await settled(q, id, range, "DESC", { count, bytes });
  return { session, summary, messages: taken.toReversed().map(toMessage) };
}

export function readRunMessages(q: Queries, session: string, run_id: string): Promise<MessageRow[]> {
  return q.all<MessageRow>(
    `SELECT ${MESSAGE_COLUMNS} FROM messages WHERE session_key = ${KEY} AND run_id = $2::text ORDER BY messages.seq`,
    [session, run_id],
  );
}

function toMessage({ message_id, seq, role, status, data }: MessageColumns): MessageRow {
  return { message_id, seq, role, status, data };
}
