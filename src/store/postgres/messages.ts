import type { RowChange } from "../../core/operation.ts";
import type { Refused } from "./quotas.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

type Change<K extends RowChange["kind"]> = Extract<RowChange, { kind: K }>;

const UNKNOWN: Refused = { ok: false, reason: "unknown" };
/** What was said waits to be made findable. */
const QUEUE = `queued AS (INSERT INTO search_queue (session_key, message_id) SELECT session_key, message_id FROM written
  WHERE status <> 'streaming' AND role IN ('user', 'assistant') ON CONFLICT DO NOTHING)`;

export async function putMessage(
  { q, sessions, limits }: Work,
  session: WorkingSession,
  row: Change<"message.put">,
  first_seq: number,
): Promise<Refused | null> {
  const { message_id, role, status, run_id, data, event } = row;
  const made = await q.one(
    `WITH written AS (
       INSERT INTO messages (session_key, message_id, seq, role, status, run_id, data)
       VALUES ($1::bigint, $2::text, $3::bigint, $4::text, $5::text, $6::text, $7::text)
       ON CONFLICT DO NOTHING RETURNING session_key, message_id, status, role
     ), ${QUEUE} SELECT 1 AS made FROM written`,
    [session.session_key, message_id, first_seq + event, role, status, run_id, data],
  );
  if (made === null) return { ok: false, reason: "exists" };
  const message_count = session.message_count + 1;
  if (message_count > limits.messages_per_session)
    return { ok: false, reason: "full", what: "messages_per_session" };
  sessions.change(session, { message_count });
  return null;
}

export async function fillMessage(
  { q }: Work,
  { session_key }: WorkingSession,
  { status, data, message_id, covers }: Change<"message.done">,
): Promise<Refused | null> {
  const filled = await q.one(
    `WITH written AS (
       UPDATE messages SET status = $1::text, data = $2::text, covers = $3::text
       WHERE session_key = $4::bigint AND message_id = $5::text AND status = 'streaming'
       RETURNING session_key, message_id, status, role
     ), ${QUEUE} SELECT 1 AS filled FROM written`,
    [status, data, covers === undefined ? null : JSON.stringify(covers), session_key, message_id],
  );
  return filled === null ? UNKNOWN : null;
}

export async function dropMessage(
  { q, sessions }: Work,
  session: WorkingSession,
  { message_id }: Change<"message.drop">,
): Promise<Refused | null> {
  const { session_key } = session;
  const dropped = await q.run(
    "DELETE FROM messages WHERE session_key = $1::bigint AND message_id = $2::text",
    [session_key, message_id],
  );
  if (dropped === 0) return UNKNOWN;
  sessions.change(session, { message_count: session.message_count - 1 });
  return null;
}
