import { isImporter } from "../../core/importing.ts";
import type { RowChange } from "../../core/operation.ts";
import { SESSIONS } from "../../core/cluster.ts";
import { hasEnded } from "../rules.ts";
import { putAudit } from "./audit.ts";
import { dropMessage, fillMessage, putMessage } from "./messages.ts";
import type { Refused } from "./quotas.ts";
import { dropRecord, keepRecord, putRecord } from "./records.ts";
import { folded } from "./session-row.ts";
import { addUsage } from "./usage.ts";
import type { Work } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

type Change<K extends RowChange["kind"]> = Extract<RowChange, { kind: K }>;

/** Writes a row of a session's operation, session.create and idempotency excepted; null, or the rule it breaks. */
export async function writeRow(
  work: Work,
  session: WorkingSession,
  row: RowChange,
  first_seq: number,
): Promise<Refused | null> {
  switch (row.kind) {
    case "session.update":
      return updateSettings(work, session, row);
    case "session.transfer":
      return transfer(work, session, row.owner, row.name ?? null);
    case "session.close":
      return close(work, session, row.at);
    case "message.put":
      return putMessage(work, session, row, first_seq);
    case "message.done":
      return fillMessage(work, session, row);
    case "message.drop":
      return dropMessage(work, session, row);
    case "run.put":
      return putRun(work, session, row, first_seq);
    case "usage.add":
      await addUsage(work, row.entry, session.session_key);
      return null;
    case "attachment.use":
      return work.attachments.use(session, row);
    default:
      return writeRecord(work, row);
  }
}

/** Writes a row that belongs to no session; null, or the rule it breaks. */
export async function writeRecord(work: Work, row: RowChange): Promise<Refused | null> {
  const { q, attachments } = work;
  switch (row.kind) {
    case "upload.piece":
    case "upload.done":
    case "upload.drop":
      return attachments.upload(row);
    case "audit":
      await putAudit(q, row.entry);
      return null;
    case "usage.add":
      await addUsage(work, row.entry, null);
      return null;
    case "record.drop":
      return dropRecord(work, row);
    case "record.keep":
      return keepRecord(work, row);
    case "record.put":
      return putRecord(work, row);
    default:
      return null;
  }
}

async function updateSettings(
  { q }: Work,
  { session_key }: WorkingSession,
  { title, model, system_prompt, metadata, archived }: Change<"session.update">,
): Promise<null> {
  await q.run(
    `UPDATE sessions SET title = $1::text, title_folded = $2::text, model = $3::text, system_prompt = $4::text,
       metadata = $5::text, archived = $6::boolean WHERE session_key = $7::bigint`,
    [title, folded(title), model, system_prompt, metadata, archived, session_key],
  );
  return null;
}

async function close(
  { q, sessions, quotas, changed }: Work,
  session: WorkingSession,
  at: number,
): Promise<null> {
  if (session.state === "deleting") return null;
  changed.add(SESSIONS, session.id);
  const { id, owner, name, epoch } = session;
  const buried = q.run(
    `INSERT INTO tombstones (id, owner, name, epoch, deleted_at) VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint)`,
    [id, owner, name, epoch, at],
  );
  quotas.countSession(owner, -1);
  sessions.change(session, { state: "deleting", name: null });
  // At once: the next operation may take the name.
  await Promise.all([buried, sessions.flush(session)]);
  return null;
}

async function transfer(
  { q, sessions, quotas, attachments, changed }: Work,
  session: WorkingSession,
  to: string,
  name: string | null,
): Promise<Refused | null> {
  const { owner, session_key } = session;
  const taken =
    name !== null &&
    (await q.one("SELECT 1 FROM sessions WHERE owner = $1::text AND name = $2::text", [to, name])) !== null;
  if (taken) return { ok: false, reason: "exists" };
  const full = isImporter(owner) ? quotas.checkSession(to) : null;
  if (full !== null) return full;
  changed.add(SESSIONS, session.id);
  // Without its name: the new owner may have one that is called so.
  sessions.change(session, { name, owner: to });
  await Promise.all([
    sessions.flush(session),
    q.run("UPDATE runs SET owner = $1::text WHERE session_key = $2::bigint", [to, session_key]),
    owner !== to &&
      q.run("INSERT INTO search_moved (session_key) VALUES ($1::bigint) ON CONFLICT DO NOTHING", [
        session_key,
      ]),
  ]);
  if (name !== null) {
    await q.run("UPDATE sessions SET name_folded = $1::text WHERE session_key = $2::bigint", [
      folded(name),
      session_key,
    ]);
  }
  quotas.countSession(owner, -1);
  quotas.countSession(to, 1);
  await attachments.transfer(session_key, owner, to);
  return null;
}

async function putRun(
  { q, sessions }: Work,
  session: WorkingSession,
  { event, run_id, status, created_at, data }: Change<"run.put">,
  first_seq: number,
): Promise<Refused | null> {
  const { session_key, owner } = session;
  const written =
    event === undefined
      ? await q.run(
          "UPDATE runs SET status = $1::text, data = $2::text WHERE run_id = $3::text AND session_key = $4::bigint",
          [status, data, run_id, session_key],
        )
      : await q.run(
          `INSERT INTO runs AS r (run_id, session_key, owner, status, first_seq, created_at, data)
           VALUES ($1::text, $2::bigint, $3::text, $4::text, $5::bigint, $6::bigint, $7::text)
           ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, data = excluded.data
           WHERE r.session_key = excluded.session_key`,
          [run_id, session_key, owner, status, first_seq + event, created_at, data],
        );
  if (written === 0) return { ok: false, reason: event === undefined ? "unknown" : "exists" };
  if (status === "running") sessions.change(session, { active_run_id: run_id });
  if (hasEnded(status) && session.active_run_id === run_id) sessions.change(session, { active_run_id: null });
  return null;
}
