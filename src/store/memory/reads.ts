import type { MessageRow, RunRow, SessionRow } from "../../core/operation.ts";
import type {
  ContextRows,
  HistoryQuery,
  HistoryRows,
  Page,
  RunQuery,
  SessionQuery,
  SnapshotRows,
  StoreTotals,
} from "../../core/store.ts";
import type { Limits } from "../../core/limits.ts";
import { eventBytes, hasEnded, messageBytes, takeWithin, withinTtl } from "../rules.ts";
import type { MemoryRun, MemoryState } from "./state.ts";
import { countSessions, liveSession, messagesBySeq, oldestRunFirst, unendedRuns } from "./state.ts";

export function page(
  state: MemoryState,
  limits: Limits,
  id: string,
  after: number,
  upto: number,
): Page | null {
  const session = liveSession(state, id);
  if (session === null) return null;
  const { epoch, floor, head } = session.row;
  const range = after < floor ? [] : session.events.slice(after - floor, Math.max(0, upto - floor));
  const { taken } = takeWithin(range, eventBytes, {
    count: limits.page_events,
    bytes: limits.page_bytes,
  });
  return { epoch, floor, head, events: taken };
}

export function snapshot(
  state: MemoryState,
  id: string,
  max_bytes: number,
  max_messages: number,
): SnapshotRows | null {
  const session = liveSession(state, id);
  if (session === null) return null;
  const settled = messagesBySeq(session).filter(({ row }) => row.status !== "streaming");
  const { taken, more } = takeWithin(settled.toReversed(), ({ row }) => messageBytes(row), {
    count: max_messages,
    bytes: max_bytes,
  });
  const sent = new Set(taken.map(({ run_id }) => run_id));
  const runs = [...state.runs.values()]
    .filter(({ row }) => row.session === id && (!hasEnded(row.status) || sent.has(row.run_id)))
    .toSorted(oldestRunFirst);
  return {
    session: session.row,
    messages: taken.map(({ row }) => row).toReversed(),
    runs: runs.map(({ row }) => row),
    has_more: more,
  };
}

export function history(state: MemoryState, id: string, query: HistoryQuery): HistoryRows | null {
  const session = liveSession(state, id);
  if (session === null) return null;
  const seqOf = (message: string | undefined) =>
    message === undefined ? null : session.messages.get(message)?.row.seq;
  const before = seqOf(query.before);
  const after = seqOf(query.after);
  const answer = { session: session.row, total: session.row.message_count };
  const range = { after: after ?? 0, before: before ?? Number.MAX_SAFE_INTEGER };
  if (before === undefined || after === undefined)
    return { ...answer, messages: [], has_more: false, found: false, range };
  const asked = messagesBySeq(session)
    .map(({ row }) => row)
    .filter(({ seq, status }) => status !== "streaming" && seq > range.after && seq < range.before);
  const { taken, more } = takeWithin(after === null ? asked.toReversed() : asked, messageBytes, {
    count: query.limit,
    bytes: query.max_bytes,
  });
  const messages = after === null ? taken.toReversed() : taken;
  return { ...answer, messages, has_more: more, found: true, range };
}

export function context(
  state: MemoryState,
  id: string,
  limit: number,
  max_bytes: number,
): ContextRows | null {
  const session = liveSession(state, id);
  if (session === null) return null;
  const all = messagesBySeq(session);
  const found = all.findLast(({ covers }) => covers !== undefined);
  const uncovered = found?.covers === undefined ? [] : [found.covers.through, ...found.covers.except];
  const seqs = uncovered.flatMap((message) => session.messages.get(message)?.row.seq ?? []);
  const first = seqs.length === 0 ? 0 : Math.min(...seqs);
  const asked = all.map(({ row }) => row).filter(({ seq, status }) => status !== "streaming" && seq >= first);
  const { taken } = takeWithin(asked.toReversed(), messageBytes, { count: limit, bytes: max_bytes });
  const summary = found?.covers === undefined ? null : { ...found.row, covers: found.covers };
  return { session: session.row, summary, messages: taken.toReversed() };
}

export function runMessages(state: MemoryState, id: string, run_id: string): MessageRow[] {
  const session = state.sessions.get(id);
  if (session === undefined) return [];
  return messagesBySeq(session)
    .filter((message) => message.run_id === run_id)
    .map(({ row }) => row);
}

export function named(
  state: MemoryState,
  limits: Limits,
  now: number,
  owner: string,
  name: string,
): SessionRow | "gone" | null {
  for (const { row, state: condition } of state.sessions.values()) {
    if (condition === "live" && row.owner === owner && row.name === name) return row;
  }
  const dead = [...state.tombstones.values()].some(
    (tombstone) =>
      tombstone.owner === owner &&
      tombstone.name === name &&
      withinTtl(tombstone.deleted_at, limits.tombstone_ttl_secs, now),
  );
  return dead ? "gone" : null;
}

export function sessions(state: MemoryState, query: SessionQuery): SessionRow[] {
  const wanted = query.query?.toLowerCase() ?? "";
  const matches = (row: SessionRow) =>
    row.title.toLowerCase().includes(wanted) ||
    (row.owner === query.user && (row.name ?? "").toLowerCase().includes(wanted));
  return [...state.sessions.values()]
    .filter(({ state: condition }) => condition === "live")
    .map(({ row }) => row)
    .filter((row) => row.owner === query.user || query.shared.includes(row.id))
    .filter((row) => matches(row) && (query.archived === undefined || row.archived === query.archived))
    .filter((row) => row.updated_at > (query.updated_after ?? -1))
    .filter(
      (row) =>
        query.after === undefined ||
        newestFirst(row.updated_at, row.id, query.after.updated_at, query.after.id) > 0,
    )
    .toSorted((a, b) => newestFirst(a.updated_at, a.id, b.updated_at, b.id))
    .slice(0, query.limit);
}

export function archived(state: MemoryState, limit: number): SessionRow[] {
  return [...state.sessions.values()]
    .filter((session) => session.state === "live" && session.row.archived)
    .map(({ row }) => row)
    .toSorted((a, b) => newestFirst(b.updated_at, b.id, a.updated_at, a.id))
    .slice(0, limit);
}

export function owners(state: MemoryState): { user: string; sessions: number }[] {
  const users = new Set([...state.sessions.values()].map(({ row }) => row.owner));
  return [...users]
    .toSorted()
    .map((user) => ({ user, sessions: countSessions(state, user) }))
    .filter(({ sessions }) => sessions > 0);
}

export function run(state: MemoryState, run_id: string): RunRow | null {
  const found = state.runs.get(run_id);
  return found !== undefined && liveSession(state, found.row.session) !== null ? found.row : null;
}

export function runs(state: MemoryState, query: RunQuery): RunRow[] {
  const { after } = query;
  const readable = ({ row }: MemoryRun) => {
    const session = liveSession(state, row.session)?.row;
    return session !== undefined && (session.owner === query.user || query.shared.includes(session.id));
  };
  return [...state.runs.values()]
    .filter(readable)
    .filter(({ row }) => query.session === undefined || row.session === query.session)
    .filter(({ row }) => query.status === undefined || row.status === query.status)
    .filter(
      (one) =>
        after === undefined || newestFirst(one.created_at, one.row.run_id, after.created_at, after.id) > 0,
    )
    .toSorted((a, b) => newestFirst(a.created_at, a.row.run_id, b.created_at, b.row.run_id))
    .slice(0, query.limit)
    .map(({ row }) => row);
}

/** Order of two rows, newest first, then by id downwards. */
function newestFirst(a_at: number, a_id: string, b_at: number, b_id: string): number {
  if (a_at !== b_at) return b_at - a_at;
  if (a_id === b_id) return 0;
  return a_id < b_id ? 1 : -1;
}

export function trimmable(state: MemoryState, before: number, limit: number): string[] {
  return [...state.sessions.values()]
    .filter((session) => {
      const first = session.events[0];
      if (session.state !== "live" || first === undefined || first.ts >= before) return false;
      return (unendedRuns(state, session.row.id)[0]?.first_seq ?? Infinity) > first.seq;
    })
    .slice(0, limit)
    .map(({ row }) => row.id);
}

export function totals(state: MemoryState): StoreTotals {
  const live = [...state.sessions.values()].filter((session) => session.state === "live");
  return {
    sessions: live.length,
    messages: live.reduce((sum, { row }) => sum + row.message_count, 0),
    events: live.reduce((sum, { row }) => sum + row.head - row.floor, 0),
  };
}
