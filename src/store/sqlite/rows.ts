import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import { isImporter } from "../../core/importing.ts";
import type { RowChange } from "../../core/operation.ts";
import { hasEnded } from "../rules.ts";
import type { Attachments } from "./attachments.ts";
import { createAuditWriter } from "./audit.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";
import { createRecords } from "./records.ts";
import { folded } from "./session-row.ts";
import { createUsageWriter } from "./usage.ts";
import type { WorkingSession, WorkingSessions } from "./working-sessions.ts";

type Change<K extends RowChange["kind"]> = Extract<RowChange, { kind: K }>;

const UNKNOWN: Refused = { ok: false, reason: "unknown" };

export interface RowWriter {
  /** Writes a row of a session's operation, session.create and idempotency excepted; null, or the rule it breaks. */
  write(session: WorkingSession, row: RowChange, first_seq: number): Refused | null;
  /** Writes a row that belongs to no session; null, or the rule it breaks. */
  writeRecord(row: RowChange): Refused | null;
}

export function createRowWriter(
  db: Database,
  limits: Limits,
  sessions: WorkingSessions,
  quotas: Quotas,
  attachments: Attachments,
): RowWriter {
  const messages = createMessageWriter(db, limits, sessions);
  const putRun = createRunWriter(db, sessions);
  const addUsage = createUsageWriter(db, limits);
  const writeRecord = createRecordWriter(db, sessions, attachments);
  const settings = hold(
    db,
    `UPDATE sessions SET title = ?, title_folded = ?, model = ?, system_prompt = ?, metadata = ?, archived = ?
     WHERE session_key = ?`,
  );
  const transfer = createTransfer(db, sessions, quotas, attachments);
  const bury = hold(db, "INSERT INTO tombstones (id, owner, name, epoch, deleted_at) VALUES (?, ?, ?, ?, ?)");
  function close(session: WorkingSession, at: number): null {
    if (session.state === "deleting") return null;
    bury.run(session.id, session.owner, session.name, session.epoch, at);
    quotas.countSession(session.owner, -1);
    sessions.change(session, { state: "deleting", name: null });
    // At once: the next operation may take the name.
    sessions.flush(session);
    return null;
  }

  return {
    write(session, row, first_seq) {
      switch (row.kind) {
        case "session.update": {
          const { title, model, system_prompt, metadata, archived } = row;
          settings.run(
            title,
            folded(title),
            model,
            system_prompt,
            metadata,
            archived ? 1 : 0,
            session.session_key,
          );
          return null;
        }
        case "session.transfer":
          return transfer(session, row.owner, row.name ?? null);
        case "session.close":
          return close(session, row.at);
        case "message.put":
          return messages.put(session, row, first_seq);
        case "message.done":
          return messages.done(session, row);
        case "message.drop":
          return messages.drop(session, row);
        case "run.put":
          return putRun(session, row, first_seq);
        case "usage.add":
          addUsage(row.entry, session.session_key);
          return null;
        case "attachment.use":
          return attachments.use(session, row);
        default:
          return writeRecord(row);
      }
    },
    writeRecord(row) {
      if (row.kind !== "usage.add") return writeRecord(row);
      addUsage(row.entry, null);
      return null;
    },
  };
}

function createTransfer(db: Database, sessions: WorkingSessions, quotas: Quotas, attachments: Attachments) {
  const own = hold(db, "UPDATE sessions SET owner = ? WHERE session_key = ?");
  const ownRuns = hold(db, "UPDATE runs SET owner = ? WHERE session_key = ?");
  const named = hold<{ taken: number }>(db, "SELECT 1 AS taken FROM sessions WHERE owner = ? AND name = ?");
  return (session: WorkingSession, owner: string, name: string | null): Refused | null => {
    if (name !== null && named.get(owner, name) !== null) return { ok: false, reason: "exists" };
    const full = isImporter(session.owner) ? quotas.checkSession(owner) : null;
    if (full !== null) return full;
    // Without its name first: the new owner may have one that is called so.
    sessions.change(session, { name: null });
    sessions.flush(session);
    own.run(owner, session.session_key);
    ownRuns.run(owner, session.session_key);
    quotas.countSession(session.owner, -1);
    quotas.countSession(owner, 1);
    attachments.transfer(session, owner);
    sessions.change(session, { owner, name });
    return null;
  };
}

/** Writes the rows that belong to no session. */
function createRecordWriter(
  db: Database,
  sessions: WorkingSessions,
  attachments: Attachments,
): (row: RowChange) => Refused | null {
  const putAudit = createAuditWriter(db);
  const changeRecord = createRecords(db, sessions);

  return (row) => {
    switch (row.kind) {
      case "upload.piece":
      case "upload.done":
      case "upload.drop":
        return attachments.upload(row);
      case "audit":
        putAudit(row.entry);
        return null;
      case "record.drop":
      case "record.keep":
      case "record.put":
        return changeRecord(row);
      default:
        return null;
    }
  };
}

function createMessageWriter(db: Database, limits: Limits, sessions: WorkingSessions) {
  const insert = hold(
    db,
    `INSERT INTO messages (session_key, message_id, seq, role, status, run_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
  );
  const fill = hold(
    db,
    `UPDATE messages SET status = ?, data = ?, covers = ?
     WHERE session_key = ? AND message_id = ? AND status = 'streaming'`,
  );
  const remove = hold(db, "DELETE FROM messages WHERE session_key = ? AND message_id = ?");

  return {
    put(session: WorkingSession, row: Change<"message.put">, first_seq: number): Refused | null {
      const { message_id, role, status, run_id, data } = row;
      const made = insert.run(
        session.session_key,
        message_id,
        first_seq + row.event,
        role,
        status,
        run_id,
        data,
      );
      if (made.changes === 0) return { ok: false, reason: "exists" };
      const message_count = session.message_count + 1;
      if (message_count > limits.messages_per_session) {
        return { ok: false, reason: "full", what: "messages_per_session" };
      }
      sessions.advance(session, { message_count });
      return null;
    },
    done(session: WorkingSession, row: Change<"message.done">): Refused | null {
      const { status, data, message_id } = row;
      const covers = row.covers === undefined ? null : JSON.stringify(row.covers);
      const { changes } = fill.run(status, data, covers, session.session_key, message_id);
      return changes === 0 ? UNKNOWN : null;
    },
    drop(session: WorkingSession, row: Change<"message.drop">): Refused | null {
      if (remove.run(session.session_key, row.message_id).changes === 0) return UNKNOWN;
      sessions.advance(session, { message_count: session.message_count - 1 });
      return null;
    },
  };
}

function createRunWriter(db: Database, sessions: WorkingSessions) {
  const make = hold(
    db,
    `INSERT INTO runs (run_id, session_key, owner, status, first_seq, created_at, data) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, data = excluded.data
     WHERE session_key = excluded.session_key`,
  );
  const replace = hold(db, "UPDATE runs SET status = ?, data = ? WHERE run_id = ? AND session_key = ?");

  return (session: WorkingSession, row: Change<"run.put">, first_seq: number): Refused | null => {
    const { session_key, owner } = session;
    const { event, run_id, status, created_at, data } = row;
    const written =
      event === undefined
        ? replace.run(status, data, run_id, session_key)
        : make.run(run_id, session_key, owner, status, first_seq + event, created_at, data);
    if (written.changes === 0) return event === undefined ? UNKNOWN : { ok: false, reason: "exists" };
    if (status === "running") sessions.advance(session, { active_run_id: run_id });
    if (hasEnded(status) && session.active_run_id === run_id)
      sessions.advance(session, { active_run_id: null });
    return null;
  };
}
