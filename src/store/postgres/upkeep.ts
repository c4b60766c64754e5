import type { RecordKey } from "../../core/cluster.ts";
import type { EraseItem, ForgetItem, ItemResult, LoadItem, TrimItem } from "../../core/operation.ts";
import { SESSION_RECORDS } from "../../core/tool-events.ts";
import { expireAudit } from "./audit.ts";
import { expireCalls } from "./calls.ts";
import { expireParcels } from "./post.ts";
import { texts } from "./queries.ts";
import { readTail } from "./tail-reads.ts";
import { eraseUsage, expireUsage, forgetUsage } from "./usage.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

export async function load({ q, sessions, events }: Work, item: LoadItem): Promise<ItemResult> {
  const session = sessions.find(item.session);
  // One being deleted is still loaded: the end of its run may have to be written.
  if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
  await Promise.all([events.flush(), sessions.flush(session)]);
  const tail = await readTail(q, item.session);
  return tail === null ? { ok: false, reason: "unknown" } : { ok: true, tail };
}

export async function trim(
  { q, sessions, events }: Work,
  { session: id, before, max_rows }: TrimItem,
): Promise<ItemResult> {
  const session = sessions.find(id);
  if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
  if (session.state === "deleting") return { ok: false, reason: "gone" };
  const { session_key, floor: old } = session;
  await events.flush();
  const found = await q.one<{ floor: number }>(
    `SELECT max(seq)::float8 AS floor FROM events WHERE session_key = $1::bigint AND seq > $2::bigint AND ts < $4::bigint
       AND seq <= LEAST($3::bigint, (SELECT min(first_seq) - 1 FROM runs
         WHERE session_key = $1::bigint AND status IN ('queued', 'running')))`,
    [session_key, old, Math.min(old + max_rows, session.head), before],
  );
  const floor = found?.floor ?? old;
  if (floor === old) return { ok: true, floor, removed: 0 };
  await eraseEvents(q, session_key, floor);
  sessions.change(session, { floor });
  return { ok: true, floor, removed: floor - old };
}

function eraseEvents(q: Work["q"], session_key: number, upto: number): Promise<number> {
  return q.run("DELETE FROM events WHERE session_key = $1::bigint AND seq <= $2::bigint", [
    session_key,
    upto,
  ]);
}

/** Erases events, then messages with their words, then runs, then what was used, then files, then the row. */
export async function erase(work: Work, { session: id, max_rows }: EraseItem): Promise<ItemResult> {
  const { q, sessions, events, attachments, changed } = work;
  const session = sessions.find(id);
  if (session === null) return { ok: true, done: true };
  if (session.state === "live") return { ok: false, reason: "exists" };
  if (session.state === "copying") await abandonCopy(work, session);
  const { session_key } = session;
  const floor = Math.min(session.floor + max_rows, session.head);
  let left = max_rows - (floor - session.floor);
  if (floor > session.floor) {
    await events.flush();
    await eraseEvents(q, session_key, floor);
    sessions.change(session, { floor });
  }
  if (left > 0) left -= await eraseMessages(q, session_key, left);
  if (left > 0) {
    left -= await q.run(
      `DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE session_key = $1::bigint LIMIT $2::bigint)`,
      [session_key, left],
    );
  }
  if (left > 0) left -= await eraseUsage(q, session_key, left);
  if (left > 0) left -= await attachments.erase(session, left);
  if (left <= 0) return { ok: true, done: false };
  const [records] = await Promise.all([
    q.all<RecordKey>(
      "DELETE FROM records WHERE collection = ANY($1::text[]) AND owner = $2::text RETURNING collection, id",
      [texts([...SESSION_RECORDS]), id],
    ),
    q.run("DELETE FROM search_queue WHERE session_key = $1::bigint", [session_key]),
    q.run("DELETE FROM search_moved WHERE session_key = $1::bigint", [session_key]),
    q.run("DELETE FROM sessions WHERE session_key = $1::bigint", [session_key]),
  ]);
  for (const record of records) changed.add(record.collection, record.id);
  sessions.remove(session);
  return { ok: true, done: true };
}

function eraseMessages(q: Work["q"], session_key: number, max_rows: number): Promise<number> {
  return q.run(
    `WITH erased AS (
       DELETE FROM messages WHERE session_key = $1::bigint AND message_id IN
         (SELECT message_id FROM messages WHERE session_key = $1::bigint LIMIT $2::bigint) RETURNING message_id
     ), words AS (
       DELETE FROM search_words WHERE session_key = $1::bigint AND message_id IN (SELECT message_id FROM erased)
     ) SELECT message_id FROM erased`,
    [session_key, max_rows],
  );
}

async function abandonCopy({ q, sessions, quotas }: Work, session: WorkingSession): Promise<void> {
  await q.run("DELETE FROM copies WHERE session_key = $1::bigint", [session.session_key]);
  quotas.countSession(session.owner, -1);
  sessions.change(session, { state: "deleting" });
}

/** Erases uploads, keys and usage of a user. */
export async function forget(
  { q, quotas, attachments }: Work,
  { user, max_rows }: ForgetItem,
): Promise<ItemResult> {
  const uploads = await attachments.forget(user, max_rows);
  const keys = await quotas.forget(user, max_rows);
  const days = await forgetUsage(q, user, max_rows - keys);
  return { ok: true, done: uploads < max_rows && keys + days < max_rows };
}

export async function expire(work: Work, now: number, max_rows: number): Promise<number> {
  const { q, limits, quotas, attachments, changed } = work;
  const audit = await expireAudit(q, limits, now, max_rows);
  const usage = await expireUsage(q, limits, now, max_rows);
  const files = await attachments.expire(now, max_rows);
  const keys = await quotas.expireKeys(now - limits.key_ttl_secs * 1000, max_rows);
  const tombstones = await q.run(
    `DELETE FROM tombstones WHERE id IN
       (SELECT id FROM tombstones WHERE deleted_at <= $1::bigint ORDER BY deleted_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED)`,
    [now - limits.tombstone_ttl_secs * 1000, max_rows],
  );
  const records = await q.all<RecordKey>(
    `DELETE FROM records WHERE (collection, id) IN (SELECT collection, id FROM records
       WHERE expires_at <= $1::bigint ORDER BY expires_at LIMIT $2::bigint FOR UPDATE SKIP LOCKED)
     RETURNING collection, id`,
    [now, max_rows],
  );
  for (const { collection, id } of records) changed.add(collection, id);
  const calls = await expireCalls(q, max_rows);
  const parcels = await expireParcels(q, max_rows);
  return audit + usage + files + keys + tombstones + records.length + calls + parcels;
}
