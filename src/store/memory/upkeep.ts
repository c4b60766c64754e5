import type {
  CopyItem,
  EraseItem,
  ForgetItem,
  ItemResult,
  LoadItem,
  TrimItem,
} from "../../core/operation.ts";
import type { Limits } from "../../core/limits.ts";
import { APPROVALS, SESSION_RECORDS } from "../../core/tool-events.ts";
import { messageBytes, takeWithin, withinTtl, withoutRun, writesMessage } from "../rules.ts";
import { attachmentIdsOf } from "../../core/attachment.ts";
import { checkCopy, copyFiles, expireUploads, forgetUploads } from "./attachments.ts";
import { expireAudit } from "./audit.ts";
import { checkKey, keyOf } from "./keys.ts";
import type { MemoryCopy, MemorySession, MemoryState } from "./state.ts";
import { countSessions, messagesBySeq, pair, unendedRuns } from "./state.ts";
import { expireUsage, forgetUsage, usageOf } from "./usage.ts";

export function load(state: MemoryState, item: LoadItem): ItemResult {
  const session = state.sessions.get(item.session);
  // One being deleted is still loaded: the end of its run may have to be written.
  if (session === undefined || session.state === "copying") return { ok: false, reason: "unknown" };
  const open = messagesBySeq(session)
    .filter(({ row }) => row.status === "streaming")
    .map(({ row, run_id }) => ({
      row,
      events: session.events.filter(
        (event) => event.seq > row.seq && event.run_id === run_id && writesMessage(event, row.message_id),
      ),
    }));
  const approvals = [...state.records.values()]
    .filter(
      ({ row }) => row.collection === APPROVALS && row.owner === item.session && row.expires_at === null,
    )
    .toSorted((a, b) => a.place - b.place)
    .map(({ row }) => row.data);
  return { ok: true, tail: { session: session.row, open, approvals } };
}

export function trim(state: MemoryState, item: TrimItem): ItemResult {
  const session = state.sessions.get(item.session);
  if (session === undefined || session.state === "copying") return { ok: false, reason: "unknown" };
  if (session.state === "deleting") return { ok: false, reason: "gone" };
  const first = unendedRuns(state, item.session)[0]?.first_seq ?? Infinity;
  const floor =
    session.events.slice(0, item.max_rows).findLast((event) => event.ts < item.before && event.seq < first)
      ?.seq ?? session.row.floor;
  const removed = floor - session.row.floor;
  session.events.splice(0, removed);
  session.row = { ...session.row, floor };
  return { ok: true, floor, removed };
}

export function erase(state: MemoryState, item: EraseItem): ItemResult {
  const session = state.sessions.get(item.session);
  if (session === undefined) return { ok: true, done: true };
  if (session.state === "live") return { ok: false, reason: "exists" };
  session.state = "deleting";
  session.copy = null;
  const events = session.events.splice(0, item.max_rows).length;
  session.row = { ...session.row, floor: session.row.floor + events };
  let left = item.max_rows - events;
  const drop = (ids: Iterable<string>, from: Map<string, unknown>) => {
    for (const id of ids) {
      if (left === 0) return;
      from.delete(id);
      left--;
    }
  };
  drop([...session.messages.keys()], session.messages);
  const runs = [...state.runs].filter(([, { row }]) => row.session === item.session).map(([id]) => id);
  drop(runs, state.runs);
  drop(usageOf(state.usage, item.session), state.usage.sessions);
  drop([...session.files.keys()], session.files);
  const done = left > 0;
  if (done) {
    dropRecordsOf(state, item.session);
    state.sessions.delete(item.session);
  }
  return { ok: true, done };
}

function dropRecordsOf(state: MemoryState, session: string): void {
  for (const [key, { row }] of state.records) {
    if (row.owner === session && SESSION_RECORDS.includes(row.collection)) state.records.delete(key);
  }
}

export function copy(state: MemoryState, limits: Limits, item: CopyItem): ItemResult {
  const from = state.sessions.get(item.from);
  if (from === undefined || from.state === "copying") return { ok: false, reason: "unknown" };
  if (from.state === "deleting") return { ok: false, reason: "gone" };
  const refused = item.remember === null ? null : checkKey(state, limits, item.remember);
  if (refused !== null) return refused;
  const into = state.sessions.get(item.into) ?? startCopy(state, limits, item, from);
  if ("ok" in into) return into;
  const progress = into.copy;
  if (progress === null || progress.from !== item.from) return { ok: false, reason: "exists" };
  const { taken: copied, more } = takeWithin(messagesToCopy(from, progress), ({ row }) => messageBytes(row), {
    count: item.max_rows,
    bytes: limits.group_bytes,
  });
  for (const { row, covers } of copied) {
    const seq = into.messages.size + 1;
    const made = withoutRun(row.data);
    copyFiles(from, into, attachmentIdsOf(made));
    into.messages.set(row.message_id, {
      row: { ...row, seq, data: JSON.stringify(made) },
      run_id: null,
      ...(covers !== undefined && { covers }),
    });
  }
  const count = into.messages.size;
  into.row = { ...into.row, floor: count, head: count, message_count: count };
  into.copy = more ? { ...progress, after: copied.at(-1)?.row.seq ?? progress.after } : null;
  if (more) return { ok: true, done: false };
  into.state = "live";
  if (item.remember !== null) {
    state.keys.set(pair(item.remember.user, item.remember.key), keyOf(item.remember, into.row, 0));
  }
  return { ok: true, done: true };
}

function messagesToCopy(from: MemorySession, { after, upto, skip }: MemoryCopy) {
  return messagesBySeq(from).filter(
    ({ row }) =>
      row.seq > after && row.seq <= upto && row.status !== "streaming" && !skip.has(row.message_id),
  );
}

function startCopy(
  state: MemoryState,
  limits: Limits,
  item: CopyItem,
  from: MemorySession,
): MemorySession | Extract<ItemResult, { ok: false }> {
  const last = item.message_id === null ? null : from.messages.get(item.message_id);
  if (last === undefined) return { ok: false, reason: "unknown" };
  if (countSessions(state, item.owner) >= limits.sessions_per_user) {
    return { ok: false, reason: "full", what: "sessions_per_user" };
  }
  const full = checkCopy(state, limits, from, item.owner);
  if (full !== null) return full;
  const open = [...from.messages.values()].filter(({ row }) => row.status === "streaming");
  const session: MemorySession = {
    row: {
      ...from.row,
      id: item.into,
      owner: item.owner,
      name: null,
      epoch: item.epoch,
      floor: 0,
      head: 0,
      title: item.title,
      created_at: item.created_at,
      updated_at: item.created_at,
      message_count: 0,
      archived: false,
      active_run_id: null,
    },
    state: "copying",
    events: [],
    messages: new Map(),
    files: new Map(),
    copy: {
      from: item.from,
      upto: last?.row.seq ?? from.row.head,
      after: 0,
      skip: new Set(open.map(({ row }) => row.message_id)),
    },
  };
  state.sessions.set(item.into, session);
  return session;
}

export function forget(state: MemoryState, { user, max_rows }: ForgetItem): ItemResult {
  const keys = [...state.keys].filter(([, key]) => key.user === user).slice(0, max_rows);
  for (const [id] of keys) state.keys.delete(id);
  const days = forgetUsage(state.usage, user, max_rows - keys.length);
  forgetUploads(state, user);
  return { ok: true, done: keys.length + days < max_rows };
}

export function expire(state: MemoryState, limits: Limits, now: number, max_rows: number): number {
  const drop = <T>(map: Map<string, T>, expired: (value: T) => boolean) => {
    const ids = [...map].filter(([, value]) => expired(value)).slice(0, max_rows);
    for (const [id] of ids) map.delete(id);
    return ids.length;
  };
  return (
    expireAudit(state.audit, limits, now, max_rows) +
    expireUsage(state.usage, limits, now, max_rows) +
    expireUploads(state, now) +
    drop(state.keys, ({ created_at }) => !withinTtl(created_at, limits.key_ttl_secs, now)) +
    drop(state.tombstones, ({ deleted_at }) => !withinTtl(deleted_at, limits.tombstone_ttl_secs, now)) +
    drop(state.records, ({ row }) => row.expires_at !== null && row.expires_at <= now)
  );
}
