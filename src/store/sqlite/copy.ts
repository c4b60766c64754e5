import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { CopyItem, ItemResult } from "../../core/operation.ts";
import { messageBytes, takeWithin, withoutRun } from "../rules.ts";
import { attachmentIdsOf } from "../../core/attachment.ts";
import type { Attachments } from "./attachments.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";
import type { SessionMaker } from "./session-maker.ts";
import type { WorkingSession, WorkingSessions } from "./working-sessions.ts";

/** How far a copy has come: messages of `source` in (copied_seq, last_seq], without those in `skip`. */
interface Progress {
  readonly source: string;
  readonly copied_seq: number;
  readonly last_seq: number;
  /** JSON text: ids of the messages that were open when the copy began. */
  readonly skip: string;
}

interface CopiedMessage {
  readonly message_id: string;
  readonly seq: number;
  readonly role: string;
  readonly status: string;
  readonly data: string;
  readonly covers: string | null;
}

export type Copy = (item: CopyItem) => ItemResult;

export function createCopy(
  db: Database,
  limits: Limits,
  sessions: WorkingSessions,
  quotas: Quotas,
  maker: SessionMaker,
  attachments: Attachments,
): Copy {
  const start = createStart(db, maker, attachments);
  const find = hold<Progress>(
    db,
    "SELECT source, copied_seq, last_seq, skip FROM copies WHERE session_key = ?",
  );
  const advance = hold(db, "UPDATE copies SET copied_seq = ? WHERE session_key = ?");
  const finish = hold(db, "DELETE FROM copies WHERE session_key = ?");
  const next = hold<CopiedMessage>(
    db,
    `SELECT message_id, seq, role, status, data, covers FROM messages
     WHERE session_key = ? AND seq > ? AND seq <= ? AND status <> 'streaming'
       AND message_id NOT IN (SELECT value FROM json_each(?)) ORDER BY seq`,
  );
  const insert = hold(
    db,
    `INSERT INTO messages (session_key, message_id, seq, role, status, run_id, data, covers)
     VALUES (?, ?, ?, ?, ?, NULL, ?, ?)`,
  );

  return (item) => {
    const from = sessions.find(item.from);
    if (from === null || from.state === "copying") return { ok: false, reason: "unknown" };
    if (from.state === "deleting") return { ok: false, reason: "gone" };
    const refused = item.remember === null ? null : quotas.checkKey(item.remember);
    if (refused !== null) return refused;
    const into = sessions.find(item.into) ?? start(item, from);
    if ("ok" in into) return into;
    const progress = into.state === "copying" ? find.get(into.session_key) : null;
    if (progress === null || progress.source !== item.from) return { ok: false, reason: "exists" };
    const { copied_seq, last_seq, skip } = progress;
    const rows = next.iterate(from.session_key, copied_seq, last_seq, skip);
    const { taken, more } = takeWithin(rows, messageBytes, {
      count: item.max_rows,
      bytes: limits.group_bytes,
    });
    let seq = into.head;
    for (const { message_id, role, status, data, covers } of taken) {
      const copied = withoutRun(data);
      insert.run(into.session_key, message_id, ++seq, role, status, JSON.stringify(copied), covers);
      attachments.copy(from, into, attachmentIdsOf(copied));
    }
    sessions.advance(into, { floor: seq, head: seq, message_count: seq });
    advance.run(taken.at(-1)?.seq ?? copied_seq, into.session_key);
    if (more) return { ok: true, done: false };
    finish.run(into.session_key);
    sessions.change(into, { state: "live" });
    if (item.remember !== null) quotas.keep(item.remember, into, 0);
    return { ok: true, done: true };
  };
}

/** Makes the session that is copied into, with the settings of its source. */
function createStart(
  db: Database,
  maker: SessionMaker,
  attachments: Attachments,
): (item: CopyItem, from: WorkingSession) => WorkingSession | Refused {
  const last = hold<{ seq: number }>(db, "SELECT seq FROM messages WHERE session_key = ? AND message_id = ?");
  const open = hold<{ skip: string }>(
    db,
    "SELECT json_group_array(message_id) AS skip FROM messages WHERE session_key = ? AND status = 'streaming'",
  );
  const settings = hold<{ model: string | null; system_prompt: string | null; metadata: string }>(
    db,
    "SELECT model, system_prompt, metadata FROM sessions WHERE session_key = ?",
  );
  const insert = hold(
    db,
    "INSERT INTO copies (session_key, source, copied_seq, last_seq, skip) VALUES (?, ?, 0, ?, ?)",
  );
  return (item, from) => {
    const { message_id, into: id, owner, epoch, title, created_at } = item;
    const last_seq = message_id === null ? from.head : last.get(from.session_key, message_id)?.seq;
    const kept = settings.get(from.session_key);
    if (last_seq === undefined || kept === null) return { ok: false, reason: "unknown" };
    const full = attachments.checkCopy(from, owner);
    if (full !== null) return full;
    const into = maker.makeCopy(id, { owner, name: null, epoch, title, created_at, ...kept });
    if ("ok" in into) return into;
    insert.run(into.session_key, item.from, last_seq, open.get(from.session_key)?.skip ?? "[]");
    return into;
  };
}
