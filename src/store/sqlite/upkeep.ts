import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type {
  EraseItem,
  ForgetItem,
  ItemResult,
  LoadItem,
  MessageRow,
  TrimItem,
} from "../../core/operation.ts";
import { APPROVALS, SESSION_RECORDS } from "../../core/tool-events.ts";
import type { StoredEvent } from "../../protocol/frames.ts";
import type { Attachments } from "./attachments.ts";
import { createAuditExpire } from "./audit.ts";
import { hold } from "./database.ts";
import type { Quotas } from "./quotas.ts";
import type { SearchIndex } from "./search-words.ts";
import type { SessionColumns } from "./session-row.ts";
import { SESSION_COLUMNS, toSessionRow } from "./session-row.ts";
import { createUsageErase, createUsageExpire, createUsageForget } from "./usage.ts";
import type { WorkingSession, WorkingSessions } from "./working-sessions.ts";

export type Load = (item: LoadItem) => ItemResult;

export function createLoad(db: Database, sessions: WorkingSessions): Load {
  const row = hold<SessionColumns>(
    db,
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.session_key = ?`,
  );
  const open = hold<MessageRow & { run_id: string | null }>(
    db,
    `SELECT message_id, seq, role, status, data, run_id FROM messages INDEXED BY messages_open
     WHERE session_key = ? AND status = 'streaming' ORDER BY seq`,
  );
  const written = hold<StoredEvent>(
    db,
    `SELECT seq, ts, type, run_id, payload FROM events
     WHERE session_key = ? AND seq > ? AND run_id IS ? AND (type = 'message.delta' OR type GLOB 'tool.*')
       AND json_extract(payload, '$.message_id') = ? ORDER BY seq`,
  );

  const approvals = hold<{ data: string }>(
    db,
    "SELECT data FROM records WHERE collection = ? AND owner = ? AND expires_at IS NULL ORDER BY place",
  );

  return (item) => {
    const session = sessions.find(item.session);
    // One being deleted is still loaded: the end of its run may have to be written.
    if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
    sessions.flush(session);
    const columns = row.get(session.session_key);
    if (columns === null) return { ok: false, reason: "unknown" };
    const messages = open.all(session.session_key).map(({ run_id, ...message }) => ({
      row: message,
      events: written.all(session.session_key, message.seq, run_id, message.message_id),
    }));
    const waiting = approvals.all(APPROVALS, item.session).map(({ data }) => data);
    return { ok: true, tail: { session: toSessionRow(columns), open: messages, approvals: waiting } };
  };
}

export type Trim = (item: TrimItem) => ItemResult;

export function createTrim(db: Database, sessions: WorkingSessions): Trim {
  const unended = hold<{ first: number | null }>(
    db,
    "SELECT MIN(first_seq) AS first FROM runs WHERE session_key = ? AND status IN ('queued', 'running')",
  );
  const oldest = hold<{ last: number | null }>(
    db,
    "SELECT MAX(seq) AS last FROM events WHERE session_key = ? AND seq > ? AND seq <= ? AND +ts < ?",
  );
  const remove = hold(db, "DELETE FROM events WHERE session_key = ? AND seq <= ?");

  return ({ session: id, before, max_rows }) => {
    const session = sessions.find(id);
    if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
    if (session.state === "deleting") return { ok: false, reason: "gone" };
    const { session_key } = session;
    const first = unended.get(session_key)?.first ?? Infinity;
    const reach = Math.min(session.floor + max_rows, session.head, first - 1);
    const floor = oldest.get(session_key, session.floor, reach, before)?.last ?? session.floor;
    const removed = floor - session.floor;
    if (removed === 0) return { ok: true, floor, removed };
    remove.run(session_key, floor);
    sessions.advance(session, { floor });
    return { ok: true, floor, removed };
  };
}

/** Messages that are erased together: their words have to be found in the index again. */
const MESSAGES_A_GROUP = 250;

export type Erase = (item: EraseItem) => ItemResult;

/** Erases events, then messages, then runs, then what was used, then files, then the row. */
export function createErase(
  db: Database,
  sessions: WorkingSessions,
  { quotas, attachments, search }: { quotas: Quotas; attachments: Attachments; search: SearchIndex },
): Erase {
  const events = hold(db, "DELETE FROM events WHERE session_key = ? AND seq <= ?");
  const messages = hold(
    db,
    "DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages WHERE session_key = ? ORDER BY rowid LIMIT ?)",
  );
  const eraseMessages = (session_key: number, left: number): number => {
    const { count, isLast } = search.forget(session_key, Math.min(left, MESSAGES_A_GROUP));
    messages.run(session_key, count);
    return isLast ? count : left;
  };
  const runs = hold(
    db,
    "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs WHERE session_key = ? LIMIT ?)",
  );
  const usage = createUsageErase(db);
  const copy = hold(db, "DELETE FROM copies WHERE session_key = ?");
  const row = hold(db, "DELETE FROM sessions WHERE session_key = ?");
  const records = hold(db, "DELETE FROM records WHERE collection = ? AND owner = ?");

  function abandonCopy(session: WorkingSession): void {
    copy.run(session.session_key);
    quotas.countSession(session.owner, -1);
    sessions.change(session, { state: "deleting" });
  }

  return ({ session: id, max_rows }) => {
    const session = sessions.find(id);
    if (session === null) return { ok: true, done: true };
    if (session.state === "live") return { ok: false, reason: "exists" };
    if (session.state === "copying") abandonCopy(session);
    const { session_key } = session;
    const floor = Math.min(session.floor + max_rows, session.head);
    let left = max_rows - (floor - session.floor);
    if (floor > session.floor) {
      events.run(session_key, floor);
      sessions.advance(session, { floor });
    }
    if (left > 0) left -= eraseMessages(session_key, left);
    if (left > 0) left -= runs.run(session_key, left).changes;
    if (left > 0) left -= usage(session_key, left);
    if (left > 0) left -= attachments.erase(session, left);
    if (left <= 0) return { ok: true, done: false };
    for (const collection of SESSION_RECORDS) records.run(collection, id);
    search.forgetSession(session_key);
    row.run(session_key);
    sessions.remove(session);
    return { ok: true, done: true };
  };
}

/** Erases uploads, keys and usage of a user. */
export function createForget(
  db: Database,
  quotas: Quotas,
  attachments: Attachments,
): (item: ForgetItem) => ItemResult {
  const usage = createUsageForget(db);
  return ({ user, max_rows }) => {
    const uploads = attachments.forget(user, max_rows);
    const keys = quotas.forget(user, max_rows);
    return { ok: true, done: uploads < max_rows && keys + usage(user, max_rows - keys) < max_rows };
  };
}

export type Expire = (now: number, max_rows: number) => number;

export function createExpire(db: Database, limits: Limits, quotas: Quotas, attachments: Attachments): Expire {
  const tombstones = hold(
    db,
    `DELETE FROM tombstones WHERE id IN
       (SELECT id FROM tombstones WHERE deleted_at <= ? ORDER BY deleted_at LIMIT ?)`,
  );
  const records = hold(
    db,
    `DELETE FROM records WHERE place IN
       (SELECT place FROM records WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
  );
  const audit = createAuditExpire(db, limits);
  const usage = createUsageExpire(db, limits);
  return (now, max_rows) =>
    audit(now, max_rows) +
    usage(now, max_rows) +
    attachments.expire(now, max_rows) +
    quotas.expireKeys(now - limits.key_ttl_secs * 1000, max_rows) +
    tombstones.run(now - limits.tombstone_ttl_secs * 1000, max_rows).changes +
    records.run(now, max_rows).changes;
}
