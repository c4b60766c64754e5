import type { Database } from "bun:sqlite";
import type { Covers, IdempotencyRow, MessageRow, RunRow, SessionRow } from "../../core/operation.ts";
import type { RecordRow } from "../../core/record.ts";
import type { ContextRows, HistoryQuery, HistoryRows, SnapshotRows, StoreTotals } from "../../core/store.ts";
import { messageBytes, takeWithin } from "../rules.ts";
import { createAttachmentReads } from "./attachments.ts";
import { createAuditReads } from "./audit.ts";
import type { Held } from "./database.ts";
import { hold } from "./database.ts";
import { createListReads } from "./list-reads.ts";
import { createSearchReads } from "./search-reads.ts";
import type { SessionColumns } from "./session-row.ts";
import { SESSION_COLUMNS, toSessionRow } from "./session-row.ts";
import { createUsageReads } from "./usage.ts";

/** What the reader answers, each read in a transaction of its own. `now` and `since` come with the request. */
export type Reads = ReturnType<typeof createReads>;

export function createReads(db: Database) {
  const byId = hold<SessionColumns>(
    db,
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.id = ? AND s.state = 'live'`,
  );
  const session = (id: string): SessionRow | null => {
    const found = byId.get(id);
    return found === null ? null : toSessionRow(found);
  };
  return {
    session,
    ...createMessageReads(db, session),
    ...createContextRead(db, session),
    ...createRunRead(db),
    ...createNameReads(db),
    ...createListReads(db),
    ...createSearchReads(db),
    ...createOtherReads(db),
    ...createAuditReads(db),
    ...createUsageReads(db),
    ...createAttachmentReads(db),
  };
}

type FindSession = (id: string) => SessionRow | null;
type MessageColumns = MessageRow & { readonly run_id: string | null };

const KEY = "(SELECT session_key FROM sessions WHERE id = ?)";
const SETTLED = `SELECT message_id, seq, role, status, data, run_id FROM messages
  WHERE session_key = ${KEY} AND status <> 'streaming' AND seq > ? AND seq < ? ORDER BY seq`;

function createMessageReads(db: Database, session: FindSession) {
  const newest = hold<MessageColumns>(db, `${SETTLED} DESC`);
  const oldest = hold<MessageColumns>(db, SETTLED);
  const seqOf = hold<{ seq: number }>(
    db,
    `SELECT seq FROM messages WHERE session_key = ${KEY} AND message_id = ?`,
  );
  const runs = hold<RunRow>(
    db,
    `SELECT run_id, ?1 AS session, status, data FROM (
       SELECT run_id, status, data, first_seq FROM runs
       WHERE session_key = (SELECT session_key FROM sessions WHERE id = ?1) AND status IN ('queued', 'running')
       UNION
       SELECT run_id, status, data, first_seq FROM runs
       WHERE run_id IN (SELECT value FROM json_each(?2))
         AND +session_key = (SELECT session_key FROM sessions WHERE id = ?1)
     ) ORDER BY first_seq, run_id`,
  );

  return {
    snapshot(id: string, max_bytes: number, max_messages: number): SnapshotRows | null {
      const row = session(id);
      if (row === null) return null;
      const { taken, more } = takeWithin(newest.iterate(id, 0, Number.MAX_SAFE_INTEGER), messageBytes, {
        count: max_messages,
        bytes: max_bytes,
      });
      const sent = taken.map(({ run_id }) => run_id);
      return {
        session: row,
        messages: taken.toReversed().map(toMessage),
        runs: runs.all(id, JSON.stringify(sent)),
        has_more: more,
      };
    },
    history(id: string, query: HistoryQuery): HistoryRows | null {
      const row = session(id);
      if (row === null) return null;
      const answer = { session: row, total: row.message_count };
      const after = query.after === undefined ? 0 : seqOf.get(id, query.after)?.seq;
      const before = query.before === undefined ? Number.MAX_SAFE_INTEGER : seqOf.get(id, query.before)?.seq;
      const range = { after: after ?? 0, before: before ?? Number.MAX_SAFE_INTEGER };
      if (after === undefined || before === undefined)
        return { ...answer, messages: [], has_more: false, found: false, range };
      const forwards = query.after !== undefined;
      const rows: Held<MessageColumns> = forwards ? oldest : newest;
      const { taken, more } = takeWithin(rows.iterate(id, after, before), messageBytes, {
        count: query.limit,
        bytes: query.max_bytes,
      });
      const messages = (forwards ? taken : taken.toReversed()).map(toMessage);
      return { ...answer, messages, has_more: more, found: true, range };
    },
  };
}

function createRunRead(db: Database) {
  const ofRun = hold<MessageRow>(
    db,
    `SELECT message_id, seq, role, status, data FROM messages INDEXED BY messages_seq
     WHERE session_key = ${KEY} AND run_id = ? ORDER BY seq`,
  );
  return { runMessages: (session: string, run_id: string): MessageRow[] => ofRun.all(session, run_id) };
}

function createContextRead(db: Database, session: FindSession) {
  const newest = hold<MessageColumns>(db, `${SETTLED} DESC`);
  const summaryOf = hold<MessageRow & { readonly covers: string }>(
    db,
    `SELECT message_id, seq, role, status, data, covers FROM messages INDEXED BY messages_summary
     WHERE session_key = ${KEY} AND covers IS NOT NULL ORDER BY seq DESC LIMIT 1`,
  );
  const firstOf = hold<{ seq: number | null }>(
    db,
    `SELECT MIN(seq) AS seq FROM messages
     WHERE session_key = ${KEY} AND message_id IN (SELECT value FROM json_each(?))`,
  );

  return {
    context(id: string, limit: number, max_bytes: number): ContextRows | null {
      const row = session(id);
      if (row === null) return null;
      const found = summaryOf.get(id);
      const summary = found === null ? null : { ...found, covers: JSON.parse(found.covers) as Covers };
      const ends = summary === null ? [] : [summary.covers.through, ...summary.covers.except];
      const first = firstOf.get(id, JSON.stringify(ends))?.seq ?? 1;
      const rows = newest.iterate(id, first - 1, Number.MAX_SAFE_INTEGER);
      const { taken } = takeWithin(rows, messageBytes, { count: limit, bytes: max_bytes });
      return { session: row, summary, messages: taken.toReversed().map(toMessage) };
    },
  };
}

function toMessage({ message_id, seq, role, status, data }: MessageColumns): MessageRow {
  return { message_id, seq, role, status, data };
}

function createNameReads(db: Database) {
  const byName = hold<SessionColumns>(
    db,
    `SELECT ${SESSION_COLUMNS} FROM sessions AS s WHERE s.owner = ? AND s.name = ? AND s.state = 'live'`,
  );
  const buried = hold<{ found: number }>(
    db,
    "SELECT 1 AS found FROM tombstones WHERE owner = ? AND name = ? AND deleted_at > ? LIMIT 1",
  );
  const deleted = hold<{ found: number }>(
    db,
    "SELECT 1 AS found FROM tombstones WHERE id = ? AND owner = ? AND deleted_at > ?",
  );
  return {
    named(owner: string, name: string, since: number): SessionRow | "gone" | null {
      const found = byName.get(owner, name);
      if (found !== null) return toSessionRow(found);
      return buried.get(owner, name, since) === null ? null : "gone";
    },
    deleted: (id: string, owner: string, since: number): boolean => deleted.get(id, owner, since) !== null,
  };
}

function createOtherReads(db: Database) {
  const key = hold<IdempotencyRow>(
    db,
    "SELECT fingerprint, answer, session, epoch, seq FROM idempotency WHERE user = ? AND key = ? AND created_at > ?",
  );
  const recordsWhere = (which: string) => `SELECT collection, id, owner, data, expires_at FROM records
    WHERE collection = ?1 ${which} AND (expires_at IS NULL OR expires_at > ?2) ORDER BY place`;
  const records = hold<RecordRow>(db, recordsWhere(""));
  const recordsOfOwner = hold<RecordRow>(db, recordsWhere("AND owner = ?3"));
  const oneRecord = hold<RecordRow>(db, recordsWhere("AND id = ?3"));
  const trimmable = hold<{ id: string }>(
    db,
    `SELECT s.id FROM sessions AS s WHERE s.head > s.floor AND s.state = 'live'
       AND (SELECT e.ts FROM events AS e WHERE e.session_key = s.session_key AND e.seq = s.floor + 1) < ?
       AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.session_key = s.session_key
         AND r.status IN ('queued', 'running') AND r.first_seq <= s.floor + 1) LIMIT ?`,
  );
  const totals = hold<StoreTotals>(
    db,
    `SELECT COUNT(*) AS sessions, COALESCE(SUM(message_count), 0) AS messages, COALESCE(SUM(head - floor), 0) AS events
     FROM sessions WHERE state = 'live'`,
  );
  const used = hold<{ bytes: number }>(
    db,
    `SELECT (page_count - freelist_count) * page_size AS bytes
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`,
  );
  return {
    usedBytes: (): number => used.get()?.bytes ?? 0,
    idempotency: (user: string, name: string, since: number): IdempotencyRow | null =>
      key.get(user, name, since),
    records: (collection: string, owner: string | null, now: number): RecordRow[] =>
      owner === null ? records.all(collection, now) : recordsOfOwner.all(collection, now, owner),
    record: (collection: string, id: string, now: number): RecordRow | null =>
      oneRecord.get(collection, now, id),
    trimmable: (before: number, limit: number): string[] => trimmable.all(before, limit).map(({ id }) => id),
    totals: (): StoreTotals => totals.get() ?? { sessions: 0, messages: 0, events: 0 },
  };
}
