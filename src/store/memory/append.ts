import { isImporter } from "../../core/importing.ts";
import type { AppendItem, ItemResult, RowChange, SessionRow } from "../../core/operation.ts";
import type { Limits } from "../../core/limits.ts";
import { endsRun, hasEnded, isChanged, needsSession, withinTtl } from "../rules.ts";
import { changeUpload, useUploads } from "./attachments.ts";
import { keepAudit } from "./audit.ts";
import { keepUsage } from "./usage.ts";
import { checkKey, keyOf } from "./keys.ts";
import type { MemorySession, MemoryState, Undo } from "./state.ts";
import { countSessions, pair } from "./state.ts";

type Refused = Extract<ItemResult, { ok: false }>;
type Change<K extends RowChange["kind"]> = Extract<RowChange, { kind: K }>;

interface Operation {
  readonly state: MemoryState;
  readonly limits: Limits;
  readonly item: AppendItem;
  readonly undo: Undo;
}

export function append(state: MemoryState, limits: Limits, item: AppendItem): ItemResult {
  const undo: Undo = [];
  const result = apply({ state, limits, item, undo });
  if (!result.ok) for (const step of undo.toReversed()) step();
  return result;
}

function apply(operation: Operation): ItemResult {
  const { item } = operation;
  for (const row of item.rows) {
    const refused = row.kind === "idempotency" ? checkKey(operation.state, operation.limits, row) : null;
    if (refused !== null) return refused;
  }
  if (item.session === null) return applyRows(operation);
  const session = findSession(operation, item.session);
  if ("ok" in session) return session;
  return applyEvents(operation, session);
}

function applyRows(operation: Operation): ItemResult {
  const { item } = operation;
  if (item.events.length > 0 || item.rows.some(needsSession)) return { ok: false, reason: "unknown" };
  for (const row of item.rows) {
    const refused = changeRecord(operation, row, null, 0);
    if (refused !== null) return refused;
  }
  return { ok: true, first_seq: 0, epoch: "" };
}

function applyEvents(operation: Operation, session: MemorySession): ItemResult {
  const { item, undo } = operation;
  const before = session.row;
  const length = session.events.length;
  undo.push(() => {
    session.row = before;
    session.events.length = length;
  });
  const first_seq = before.head + 1;
  item.events.forEach((event, index) => session.events.push({ seq: first_seq + index, ...event }));
  const last = item.events.at(-1);
  setRow(session, {
    head: before.head + item.events.length,
    updated_at: last?.ts ?? before.updated_at,
  });
  for (const row of item.rows) {
    const refused = changeRow(operation, session, row, first_seq);
    if (refused !== null) return refused;
  }
  return { ok: true, first_seq, epoch: session.row.epoch };
}

function setRow(session: MemorySession, change: Partial<SessionRow>): void {
  session.row = { ...session.row, ...change };
}

function findSession(operation: Operation, id: string): MemorySession | Refused {
  const { state, item } = operation;
  const create = item.rows.find((row) => row.kind === "session.create");
  if (create !== undefined) return createSession(operation, id, create);
  const session = state.sessions.get(id);
  if (session === undefined || session.state === "copying") return { ok: false, reason: "unknown" };
  if (session.state === "deleting" && !endsRun(item)) return { ok: false, reason: "gone" };
  return session;
}

function createSession(
  operation: Operation,
  id: string,
  row: Change<"session.create">,
): MemorySession | Refused {
  const { state, limits, undo } = operation;
  const { kind: _, revive, ...settings } = row;
  const named = (owner: string, name: string | null) =>
    name !== null && name === row.name && owner === row.owner;
  if (state.sessions.has(id)) return { ok: false, reason: "exists" };
  for (const { row: other } of state.sessions.values()) {
    if (named(other.owner, other.name)) return { ok: false, reason: "exists" };
  }
  const dead = [...state.tombstones.values()].some(
    ({ owner, name, deleted_at }) =>
      named(owner, name) && withinTtl(deleted_at, limits.tombstone_ttl_secs, row.created_at),
  );
  if (dead && !revive) return { ok: false, reason: "gone" };
  if (countSessions(state, row.owner) >= limits.sessions_per_user) {
    return { ok: false, reason: "full", what: "sessions_per_user" };
  }
  const session: MemorySession = {
    row: {
      id,
      ...settings,
      floor: 0,
      head: 0,
      updated_at: row.created_at,
      message_count: 0,
      archived: false,
      active_run_id: null,
    },
    state: "live",
    events: [],
    messages: new Map(),
    files: new Map(),
    copy: null,
  };
  state.sessions.set(id, session);
  undo.push(() => state.sessions.delete(id));
  return session;
}

function changeRow(
  operation: Operation,
  session: MemorySession,
  row: RowChange,
  first_seq: number,
): Refused | null {
  switch (row.kind) {
    case "session.create":
      return null;
    case "session.update": {
      const { kind: _, ...settings } = row;
      setRow(session, settings);
      return null;
    }
    case "session.transfer":
      return transfer(operation, session, row);
    case "session.close":
      return closeSession(operation, session, row);
    case "message.put":
      return putMessage(operation, session, row, first_seq);
    case "message.done":
    case "message.drop":
      return changeMessage(operation, session, row);
    case "run.put":
      return putRun(operation, session, row, first_seq);
    case "attachment.use":
      return useUploads(operation.state, operation.limits, session, row, operation.undo);
    default:
      return changeRecord(operation, row, session.row, operation.item.events.length === 0 ? 0 : first_seq);
  }
}

function transfer(
  { state, limits }: Operation,
  session: MemorySession,
  { owner, name: given }: Change<"session.transfer">,
): Refused | null {
  const name = given ?? null;
  const isTaken = [...state.sessions.values()].some(({ row }) => row.owner === owner && row.name === name);
  if (name !== null && isTaken) return { ok: false, reason: "exists" };
  if (isImporter(session.row.owner) && countSessions(state, owner) >= limits.sessions_per_user) {
    return { ok: false, reason: "full", what: "sessions_per_user" };
  }
  setRow(session, { owner, name });
  return null;
}

function closeSession(
  { state, undo }: Operation,
  session: MemorySession,
  row: Change<"session.close">,
): null {
  const { id, owner, name, epoch } = session.row;
  if (session.state === "deleting") return null;
  session.state = "deleting";
  setRow(session, { name: null });
  state.tombstones.set(id, { owner, name, epoch, deleted_at: row.at });
  undo.push(() => {
    session.state = "live";
    state.tombstones.delete(id);
  });
  return null;
}

function putMessage(
  { limits, undo }: Operation,
  session: MemorySession,
  row: Change<"message.put">,
  first_seq: number,
): Refused | null {
  const { message_id, role, status, data } = row;
  if (session.messages.has(message_id)) return { ok: false, reason: "exists" };
  const { message_count } = session.row;
  if (message_count >= limits.messages_per_session) {
    return { ok: false, reason: "full", what: "messages_per_session" };
  }
  const made = { message_id, seq: first_seq + row.event, role, status, data };
  session.messages.set(message_id, { row: made, run_id: row.run_id });
  undo.push(() => session.messages.delete(message_id));
  setRow(session, { message_count: message_count + 1 });
  return null;
}

function changeMessage(
  { undo }: Operation,
  session: MemorySession,
  row: Change<"message.done"> | Change<"message.drop">,
): Refused | null {
  const before = session.messages.get(row.message_id);
  if (before === undefined) return { ok: false, reason: "unknown" };
  if (row.kind === "message.done") {
    if (before.row.status !== "streaming") return { ok: false, reason: "unknown" };
    const after = { ...before.row, status: row.status, data: row.data };
    const covers = row.covers === undefined ? {} : { covers: row.covers };
    session.messages.set(row.message_id, { ...before, row: after, ...covers });
  } else {
    session.messages.delete(row.message_id);
    setRow(session, { message_count: session.row.message_count - 1 });
  }
  undo.push(() => session.messages.set(row.message_id, before));
  return null;
}

function putRun(
  { state, undo }: Operation,
  session: MemorySession,
  row: Change<"run.put">,
  first_seq: number,
): Refused | null {
  const { run_id, status, data } = row;
  const before = state.runs.get(run_id);
  if (before === undefined && row.event === undefined) return { ok: false, reason: "unknown" };
  if (before !== undefined && before.row.session !== session.row.id) {
    return { ok: false, reason: row.event === undefined ? "unknown" : "exists" };
  }
  state.runs.set(run_id, {
    row: { run_id, session: session.row.id, status, data },
    created_at: before?.created_at ?? row.created_at,
    first_seq: before?.first_seq ?? first_seq + (row.event ?? 0),
  });
  undo.push(() => {
    if (before === undefined) state.runs.delete(run_id);
    else state.runs.set(run_id, before);
  });
  if (status === "running") setRow(session, { active_run_id: run_id });
  if (hasEnded(status) && session.row.active_run_id === run_id) setRow(session, { active_run_id: null });
  return null;
}

/** Rows that belong to no session, or only remember one. */
function changeRecord(
  { state, limits, undo }: Operation,
  row: RowChange,
  session: SessionRow | null,
  seq: number,
): Refused | null {
  const put = <T>(map: Map<string, T>, key: string, value: T | null) => {
    const before = map.get(key);
    undo.push(() => {
      if (before === undefined) map.delete(key);
      else map.set(key, before);
    });
    if (value === null) map.delete(key);
    else map.set(key, value);
  };
  if (row.kind === "usage.add") undo.push(keepUsage(state.usage, limits, row.entry, session?.id ?? null));
  if (row.kind === "audit") undo.push(keepAudit(state.audit, row.entry));
  if (row.kind === "record.drop" || row.kind === "record.put" || row.kind === "record.keep") {
    const { collection, id: name } = row.kind === "record.drop" ? row : row.record;
    const id = pair(collection, name);
    const there = state.records.get(id);
    const at = row.kind === "record.drop" ? row.at : undefined;
    const head = at === undefined ? null : (state.sessions.get(at.session)?.row.head ?? null);
    if (isChanged(row, there?.row.data ?? null, head)) return { ok: false, reason: "changed" };
    if (row.kind === "record.drop") put(state.records, id, null);
    else if (row.kind === "record.put" || there === undefined) {
      put(state.records, id, { row: row.record, place: there?.place ?? nextPlace(state) });
    }
  }
  if (row.kind === "idempotency") put(state.keys, pair(row.user, row.key), keyOf(row, session, seq));
  if (row.kind === "upload.piece" || row.kind === "upload.done" || row.kind === "upload.drop") {
    return changeUpload(state, limits, row, undo);
  }
  return null;
}

function nextPlace(state: MemoryState): number {
  let last = 0;
  for (const { place } of state.records.values()) last = Math.max(last, place);
  return last + 1;
}
