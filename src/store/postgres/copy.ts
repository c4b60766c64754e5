import { attachmentIdsOf } from "../../core/attachment.ts";
import type { CopyItem, ItemResult } from "../../core/operation.ts";
import { messageBytes, takeWithin, withoutRun } from "../rules.ts";
import type { Refused } from "./quotas.ts";
import { texts, bigints } from "./queries.ts";
import { bytesUntil } from "./session-row.ts";
import { makeCopy } from "./session-maker.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

/** How far a copy has come: messages of `source` in (copied_seq, last_seq], without those in `skip`. */
interface Progress {
  readonly source: string;
  readonly copied_seq: number;
  readonly last_seq: number;
  /** Ids of the messages that were open when the copy began. */
  readonly skip: readonly string[];
}

interface CopiedMessage {
  readonly message_id: string;
  readonly seq: number;
  readonly role: string;
  readonly status: string;
  readonly data: string;
  readonly covers: string | null;
}

export async function copy(work: Work, item: CopyItem): Promise<ItemResult> {
  const { sessions, quotas, q } = work;
  const from = sessions.find(item.from);
  if (from === null || from.state === "copying") return { ok: false, reason: "unknown" };
  if (from.state === "deleting") return { ok: false, reason: "gone" };
  const refused = item.remember === null ? null : await quotas.checkKey(item.remember);
  if (refused !== null) return refused;
  const into = sessions.find(item.into) ?? (await begin(work, item, from));
  if ("ok" in into) return into;
  const progress = into.state === "copying" ? await progressOf(work, into) : null;
  if (progress === null || progress.source !== item.from) return { ok: false, reason: "exists" };
  const { taken, more } = await nextOf(work, item, from, progress);
  await write(work, from, into, taken);
  const copied_seq = taken.at(-1)?.seq ?? progress.copied_seq;
  if (more) {
    await q.run("UPDATE copies SET copied_seq = $1::bigint WHERE session_key = $2::bigint", [
      copied_seq,
      into.session_key,
    ]);
    return { ok: true, done: false };
  }
  await q.run("DELETE FROM copies WHERE session_key = $1::bigint", [into.session_key]);
  sessions.change(into, { state: "live" });
  if (item.remember !== null) await quotas.keep(item.remember, into, 0);
  return { ok: true, done: true };
}

function progressOf({ q }: Work, { session_key }: WorkingSession): Promise<Progress | null> {
  return q.one(
    `SELECT source, copied_seq::float8 AS copied_seq, last_seq::float8 AS last_seq, skip FROM copies
     WHERE session_key = $1::bigint`,
    [session_key],
  );
}

async function nextOf(
  { q, limits }: Work,
  item: CopyItem,
  from: WorkingSession,
  { copied_seq, last_seq, skip }: Progress,
): Promise<{ taken: CopiedMessage[]; more: boolean }> {
  const rows = await q.all<CopiedMessage>(
    `SELECT message_id, seq::float8 AS seq, role, status, data, covers FROM (
       SELECT *, ${bytesUntil("ASC")} AS until FROM messages
       WHERE session_key = $1::bigint AND seq > $2::bigint AND seq <= $3::bigint AND status <> 'streaming'
         AND message_id <> ALL($4::text[]) ORDER BY seq LIMIT $5::bigint
     ) AS m WHERE until <= $6::bigint ORDER BY m.seq`,
    [from.session_key, copied_seq, last_seq, texts(skip), item.max_rows + 1, limits.group_bytes],
  );
  return takeWithin(rows, messageBytes, { count: item.max_rows, bytes: limits.group_bytes });
}

async function write(
  { q, sessions, attachments }: Work,
  from: WorkingSession,
  into: WorkingSession,
  taken: readonly CopiedMessage[],
): Promise<void> {
  const first = into.head + 1;
  const copied = taken.map(({ data }) => withoutRun(data));
  await q.run(
    `WITH written AS (
       INSERT INTO messages (session_key, message_id, seq, role, status, data, covers)
       SELECT $1::bigint, u.* FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) AS u
       RETURNING session_key, message_id, role
     ) INSERT INTO search_queue (session_key, message_id)
       SELECT session_key, message_id FROM written WHERE role IN ('user', 'assistant') ON CONFLICT DO NOTHING`,
    [
      into.session_key,
      texts(taken.map(({ message_id }) => message_id)),
      bigints(taken.map((_, index) => first + index)),
      texts(taken.map(({ role }) => role)),
      texts(taken.map(({ status }) => status)),
      texts(copied.map((data) => JSON.stringify(data))),
      texts(taken.map(({ covers }) => covers)),
    ],
  );
  for (const data of copied) await attachments.copy(from, into, attachmentIdsOf(data));
  const seq = into.head + taken.length;
  sessions.change(into, { floor: seq, head: seq, message_count: seq });
}

/** Makes the session that is copied into, with the settings of its source. */
async function begin(work: Work, item: CopyItem, from: WorkingSession): Promise<WorkingSession | Refused> {
  const { q, attachments } = work;
  const { message_id, into: id, owner, epoch, title, created_at } = item;
  const { session_key } = from;
  const [kept, last] = await Promise.all([
    q.one<{ model: string | null; system_prompt: string | null; metadata: string }>(
      "SELECT model, system_prompt, metadata FROM sessions WHERE session_key = $1::bigint",
      [session_key],
    ),
    message_id === null
      ? { seq: from.head }
      : q.one<{ seq: number }>(
          "SELECT seq::float8 AS seq FROM messages WHERE session_key = $1::bigint AND message_id = $2::text",
          [session_key, message_id],
        ),
  ]);
  if (last === null || kept === null) return { ok: false, reason: "unknown" };
  const full = await attachments.checkCopy(from, owner);
  if (full !== null) return full;
  const into = await makeCopy(work, id, { owner, name: null, epoch, title, created_at, ...kept });
  if ("ok" in into) return into;
  await q.run(
    `INSERT INTO copies (session_key, source, copied_seq, last_seq, skip) VALUES ($1::bigint, $2::text, 0, $3::bigint,
       ARRAY(SELECT message_id FROM messages WHERE session_key = $4::bigint AND status = 'streaming'))`,
    [into.session_key, item.from, last.seq, session_key],
  );
  return into;
}
