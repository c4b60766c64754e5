import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { AppendItem, ItemResult, RowChange } from "../../core/operation.ts";
import { endsRun, needsSession } from "../rules.ts";
import type { Attachments } from "./attachments.ts";
import { hold } from "./database.ts";
import type { Quotas, Refused } from "./quotas.ts";
import { createRowWriter } from "./rows.ts";
import { createSessionMaker } from "./session-maker.ts";
import type { WorkingSession, WorkingSessions } from "./working-sessions.ts";

export type Append = (item: AppendItem) => ItemResult;

/** Applies one operation; one that breaks a rule leaves nothing behind. Throws what SQLite throws. */
export function createAppend(
  db: Database,
  limits: Limits,
  sessions: WorkingSessions,
  quotas: Quotas,
  attachments: Attachments,
): Append {
  const savepoint = hold(db, "SAVEPOINT operation");
  const release = hold(db, "RELEASE operation");
  const rollback = hold(db, "ROLLBACK TO operation");
  const operations = new Operations(db, limits, sessions, quotas, attachments);

  return (item) => {
    // Without rows the only rule is checked before anything is written: most operations are such, and a savepoint is dear.
    if (item.rows.length === 0) return operations.apply(item, undefined);
    const session = item.session === null ? null : sessions.find(item.session);
    const before = session === null ? null : { ...session };
    const create = item.rows.find((row) => row.kind === "session.create");
    savepoint.run();
    const result = operations.apply(item, create);
    if (!result.ok) {
      rollback.run();
      if (session !== null && before !== null) sessions.change(session, before);
      const made = session === null && item.session !== null ? sessions.find(item.session) : null;
      if (made !== null) sessions.remove(made);
    }
    release.run();
    return result;
  };
}

/** What an operation writes, rule by rule; undoing it is the caller's. */
class Operations {
  readonly #insert: ReturnType<typeof hold>;
  readonly #maker: ReturnType<typeof createSessionMaker>;
  readonly #rowWriter: ReturnType<typeof createRowWriter>;
  readonly #sessions: WorkingSessions;
  readonly #quotas: Quotas;

  constructor(
    db: Database,
    limits: Limits,
    sessions: WorkingSessions,
    quotas: Quotas,
    attachments: Attachments,
  ) {
    this.#insert = hold(
      db,
      "INSERT INTO events (session_key, seq, ts, type, run_id, payload) VALUES (?, ?, ?, ?, ?, ?)",
    );
    this.#maker = createSessionMaker(db, limits, sessions, quotas);
    this.#rowWriter = createRowWriter(db, limits, sessions, quotas, attachments);
    this.#sessions = sessions;
    this.#quotas = quotas;
  }

  apply(item: AppendItem, create: Extract<RowChange, { kind: "session.create" }> | undefined): ItemResult {
    for (const row of item.rows) {
      const refused = row.kind === "idempotency" ? this.#quotas.checkKey(row) : null;
      if (refused !== null) return refused;
    }
    if (item.session === null) return this.#writeRows(item);
    const session =
      create === undefined ? this.#existing(item, item.session) : this.#maker.make(item.session, create);
    return "ok" in session ? session : this.#appendTo(session, item);
  }

  #existing(item: AppendItem, id: string): WorkingSession | Refused {
    const session = this.#sessions.find(id);
    if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
    if (session.state === "deleting" && !endsRun(item)) return { ok: false, reason: "gone" };
    return session;
  }

  #appendTo(session: WorkingSession, item: AppendItem): ItemResult {
    const first_seq = session.head + 1;
    let seq = session.head;
    for (const { ts, type, run_id, payload } of item.events) {
      this.#insert.run(session.session_key, ++seq, ts, type, run_id, payload);
    }
    if (seq >= first_seq) {
      const updated_at = item.events.at(-1)?.ts ?? session.updated_at;
      this.#sessions.advance(session, { head: seq, updated_at });
    }
    for (const row of item.rows) {
      const refused = this.#rowWriter.write(session, row, first_seq);
      if (refused !== null) return refused;
      if (row.kind === "idempotency")
        this.#quotas.keep(row, session, item.events.length === 0 ? 0 : first_seq);
    }
    return { ok: true, first_seq, epoch: session.epoch };
  }

  #writeRows(item: AppendItem): ItemResult {
    if (item.events.length > 0 || item.rows.some(needsSession)) return { ok: false, reason: "unknown" };
    for (const row of item.rows) {
      if (row.kind === "idempotency") this.#quotas.keep(row, null, 0);
      const refused = this.#rowWriter.writeRecord(row);
      if (refused !== null) return refused;
    }
    return { ok: true, first_seq: 0, epoch: "" };
  }
}
