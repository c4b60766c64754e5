import type { Static } from "@sinclair/typebox";
import type { SessionRef } from "../core/session.ts";
import { nameFor, noSession } from "../core/session.ts";
import { messageView, openOf } from "../core/snapshot.ts";
import type { HistoryQuery, HistoryRows } from "../core/store.ts";
import type { Tail } from "../core/tail.ts";
import { lengthUtf8 } from "../core/text.ts";
import type { chatHistory } from "../protocol/api/chat.ts";
import type { Message } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { Call } from "./registry.ts";

/** What stands around the messages of an answer, bytes at the most. */
const ENVELOPE_BYTES = 512;

export async function history(deps: MethodDeps, params: Static<typeof chatHistory.params>, call: Call) {
  const session = await deps.directory.find(call.user, params.session_id, "read");
  const { limit = 50, before, after } = params;
  const { history_bytes } = deps.limits;
  const name = nameFor(session, call.user);
  return withTail(deps, session, async (tail) => {
    const query = {
      limit,
      max_bytes: history_bytes,
      ...(before !== undefined && { before }),
      ...(after !== undefined && { after }),
    };
    const rows = await readHistory(deps, session, tail, query);
    deps.directory.require(session, call.user, "read");
    const settled = rows.messages.map((row) => messageView(row, name));
    const forwards = after !== undefined;
    const all = withOpen(rows, settled, openOf(tail, name), forwards);
    const messages = cut(all, forwards, { count: limit, bytes: history_bytes - ENVELOPE_BYTES });
    return {
      session_id: name,
      epoch: rows.session.epoch,
      head: rows.session.head,
      messages,
      total: rows.total,
      has_more: rows.has_more || messages.length < all.length,
    };
  });
}

/** A message being written is in the tail, not in the rows: it stands where it belongs, as far as the rows reach. */
function withOpen(
  { session, range, has_more }: HistoryRows,
  settled: readonly Message[],
  open: readonly Message[],
  forwards: boolean,
): Message[] {
  const after = has_more && !forwards ? (settled[0]?.seq ?? range.after) : range.after;
  const before = has_more && forwards ? (settled.at(-1)?.seq ?? range.before) : range.before;
  const within = open.filter(({ seq }) => seq > after && seq < before && seq <= session.head);
  return [...settled, ...within].toSorted((a, b) => a.seq - b.seq);
}

/** As many as fit, from the end that was asked for, and at least one. */
function cut(messages: Message[], forwards: boolean, bounds: { count: number; bytes: number }): Message[] {
  const taken: Message[] = [];
  let bytes = 0;
  for (const message of forwards ? messages : messages.toReversed()) {
    bytes += lengthUtf8(JSON.stringify(message)) + 1;
    if (taken.length > 0 && (taken.length >= bounds.count || bytes > bounds.bytes)) break;
    taken.push(message);
  }
  return forwards ? taken : taken.toReversed();
}

/** Rows at a head since which no open message was completed: that one would be neither in the rows nor in the tail. */
async function readHistory(
  deps: MethodDeps,
  session: SessionRef,
  tail: Tail,
  query: HistoryQuery,
): Promise<HistoryRows> {
  for (;;) {
    const rows = await deps.reads.use(() => deps.store.history(session.id, query));
    if (rows === null) throw noSession();
    if (!rows.found) {
      throw new GatewayError("NOT_FOUND", "no such message in this session", {
        details: { kind: "message" },
      });
    }
    const { head } = rows.session;
    await tail.reached(head);
    if (tail.first > head + 1) continue;
    const { events } = tail.read(head, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    if (events.every((event) => event.type !== "message.completed")) return rows;
  }
}
