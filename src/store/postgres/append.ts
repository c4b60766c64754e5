import type { AppendItem, ItemResult, RowChange } from "../../core/operation.ts";
import { endsRun, needsSession } from "../rules.ts";
import type { Refused } from "./quotas.ts";
import { writeRecord, writeRow } from "./rows.ts";
import { makeSession } from "./session-maker.ts";
import type { Work } from "./work.ts";
import { later } from "./work.ts";
import type { WorkingSession } from "./working-sessions.ts";

/** Applies one operation; one that breaks a rule leaves nothing behind. Throws what PostgreSQL throws. */
export async function append(work: Work, item: AppendItem): Promise<ItemResult> {
  const { sessions, quotas, events } = work;
  // Without rows the only rule is checked before anything is written: most operations are such.
  if (item.rows.length === 0) return apply(work, item, undefined);
  const session = item.session === null ? null : sessions.find(item.session);
  const before = session === null ? null : { ...session };
  const create = item.rows.find((row) => row.kind === "session.create");
  const [length, held] = [events.length, quotas.save()];
  later(work, "SAVEPOINT operation");
  const result = await apply(work, item, create);
  if (result.ok) {
    later(work, "RELEASE SAVEPOINT operation");
    return result;
  }
  later(work, "ROLLBACK TO SAVEPOINT operation");
  events.cut(length);
  quotas.restore(held);
  if (session !== null && before !== null) sessions.change(session, before);
  const made = session === null && item.session !== null ? sessions.find(item.session) : null;
  if (made !== null) sessions.remove(made);
  return result;
}

async function apply(
  work: Work,
  item: AppendItem,
  create: Extract<RowChange, { kind: "session.create" }> | undefined,
): Promise<ItemResult> {
  for (const row of item.rows) {
    const refused = row.kind === "idempotency" ? await work.quotas.checkKey(row) : null;
    if (refused !== null) return refused;
  }
  if (item.session === null) return writeRows(work, item);
  const session =
    create === undefined ? existing(work, item, item.session) : await makeSession(work, item.session, create);
  return "ok" in session ? session : appendTo(work, session, item);
}

function existing({ sessions }: Work, item: AppendItem, id: string): WorkingSession | Refused {
  const session = sessions.find(id);
  if (session === null || session.state === "copying") return { ok: false, reason: "unknown" };
  if (session.state === "deleting" && !endsRun(item)) return { ok: false, reason: "gone" };
  return session;
}

async function appendTo(work: Work, session: WorkingSession, item: AppendItem): Promise<ItemResult> {
  const first_seq = session.head + 1;
  let seq = session.head;
  for (const event of item.events) work.events.add(session.session_key, ++seq, event);
  if (seq >= first_seq) {
    const updated_at = item.events.at(-1)?.ts ?? session.updated_at;
    work.sessions.change(session, { head: seq, updated_at });
  }
  const refused = await inOrder(item.rows, (row) =>
    row.kind === "idempotency"
      ? work.quotas.keep(row, session, item.events.length === 0 ? 0 : first_seq)
      : writeRow(work, session, row, first_seq),
  );
  if (refused !== null) return refused;
  return { ok: true, first_seq, epoch: session.epoch };
}

async function writeRows(work: Work, item: AppendItem): Promise<ItemResult> {
  if (item.events.length > 0 || item.rows.some(needsSession)) return { ok: false, reason: "unknown" };
  const refused = await inOrder(item.rows, (row) =>
    row.kind === "idempotency" ? work.quotas.keep(row, null, 0) : writeRecord(work, row),
  );
  if (refused !== null) return refused;
  return { ok: true, first_seq: 0, epoch: "" };
}

/** One statement each, which does not depend on what another one answers. */
const INDEPENDENT: ReadonlySet<RowChange["kind"]> = new Set([
  "session.update",
  "message.put",
  "message.done",
  "message.drop",
  "run.put",
  "idempotency",
  "record.put",
  "record.keep",
  "record.drop",
  "audit",
] as const);

/** Writes rows in their order, as far as may be without waiting for the one before; null, or what the first refused answers. */
async function inOrder(
  rows: readonly RowChange[],
  write: (row: RowChange) => Promise<Refused | null>,
): Promise<Refused | null> {
  let given: Promise<Refused | null>[] = [];
  const settle = async (): Promise<Refused | null> => {
    const answers = await Promise.all(given);
    given = [];
    return answers.find((answer) => answer !== null) ?? null;
  };
  for (const row of rows) {
    const isAlone = !INDEPENDENT.has(row.kind);
    const before = isAlone ? await settle() : null;
    if (before !== null) return before;
    given.push(write(row));
    const refused = isAlone ? await settle() : null;
    if (refused !== null) return refused;
  }
  return settle();
}
