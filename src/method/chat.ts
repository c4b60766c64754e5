import type { Static } from "@sinclair/typebox";
import { newId } from "../core/id.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import type { HistoryQuery, HistoryRows } from "../core/store.ts";
import type { Runner } from "../core/runner.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor, noSession } from "../core/session.ts";
import { messageView, openOf } from "../core/snapshot.ts";
import type { Tail } from "../core/tail.ts";
import { chatAbort, chatHistory, chatInject } from "../protocol/api/chat.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { addMessage, priorSession, sendMethod } from "./send.ts";
import { bounded, boundedJson } from "./text.ts";

export function chatMethods(deps: MethodDeps): MethodHandler[] {
  return [
    sendMethod(deps),
    handle(chatHistory, async (params, call) => history(deps, params, call)),
    handle(chatAbort, async (params, call) => abort(deps, params, call)),
    handle(
      chatInject,
      async (params, call) => inject(deps, params, call),
      async (prior, _params, call) => {
        const { message_id } = JSON.parse(prior.answer) as { message_id: string };
        const session = await priorSession(deps, prior, call.user);
        return {
          session_id: nameFor(session, call.user),
          message_id,
          epoch: prior.epoch ?? "",
          seq: prior.seq,
        };
      },
    ),
  ];
}

async function inject(
  deps: MethodDeps,
  params: Static<typeof chatInject.params>,
  call: Call,
): Promise<undefined> {
  const content = bounded(params.content, "message_bytes", deps.limits);
  const metadata = boundedJson(params.metadata, "metadata_bytes", deps.limits);
  const session = await deps.directory.find(call.user, params.session_id, "write");
  const now = deps.clock.now();
  const message_id = newId("msg", now);
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  const message = { message_id, role: params.role, content, run_id: null, timestamp: now, metadata };
  addMessage(message, { at: now, run_id: null }, events, rows);
  append(call, deps.journal, now, {
    session,
    events,
    rows,
    remember: { message_id },
    committed: ({ first_seq, epoch }) => ({
      session_id: nameFor(session, call.user),
      message_id,
      epoch,
      seq: first_seq,
    }),
  });
  return undefined;
}

async function history(deps: MethodDeps, params: Static<typeof chatHistory.params>, call: Call) {
  const session = await deps.directory.find(call.user, params.session_id, "read");
  const { limit = 50, before, after } = params;
  const name = nameFor(session, call.user);
  return withTail(deps, session, async (tail) => {
    const query = { limit, max_bytes: deps.limits.history_bytes, ...pick({ before, after }) };
    const rows = await readHistory(deps, session, tail, query);
    const messages = rows.messages.map((row) => messageView(row, name));
    const last = messages.at(-1)?.seq ?? 0;
    // A message being written is in the tail, not in the rows: it belongs to the newest page.
    const open = before !== undefined || (after !== undefined && rows.has_more) ? [] : openOf(tail, name);
    for (const message of open)
      if (message.seq > last && message.seq <= rows.session.head) messages.push(message);
    return {
      session_id: name,
      epoch: rows.session.epoch,
      head: rows.session.head,
      messages: after === undefined ? messages.slice(-limit) : messages.slice(0, limit),
      total: rows.total,
      has_more: rows.has_more,
    };
  });
}

/** Rows at a head since which no open message was completed: that one would be neither in the rows nor in the tail. */
async function readHistory(
  deps: MethodDeps,
  session: SessionRef,
  tail: Tail,
  query: HistoryQuery,
): Promise<HistoryRows> {
  for (;;) {
    const rows = await deps.store.history(session.id, query);
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

function pick(ids: { before: string | undefined; after: string | undefined }): {
  before?: string;
  after?: string;
} {
  return {
    ...(ids.before !== undefined && { before: ids.before }),
    ...(ids.after !== undefined && { after: ids.after }),
  };
}

async function abort(deps: MethodDeps, params: Static<typeof chatAbort.params>, call: Call) {
  const runners = await stoppable(deps, params, call.user);
  const stopped = deps.runs.stop(runners, { status: "aborted", ended_by: call.user });
  call.entered();
  if (runners.length > 0 && deps.journal.refused !== null) {
    throw new GatewayError(
      "UNAVAILABLE",
      "the run is stopped; its end is recorded once storage takes writes again",
      {
        details: { kind: "storage" },
      },
    );
  }
  await stopped;
  return {
    run_ids: runners.map((runner) => runner.run_id),
    status: runners.length > 0 ? ("aborted" as const) : ("idle" as const),
  };
}

async function stoppable(
  deps: MethodDeps,
  params: Static<typeof chatAbort.params>,
  user: string,
): Promise<Runner[]> {
  if ((params.run_id === undefined) === (params.session_id === undefined)) {
    throw new GatewayError("INVALID_REQUEST", "give run_id or session_id, one of the two", {
      details: { kind: "schema" },
    });
  }
  if (params.session_id !== undefined) {
    const session = await deps.directory.find(user, params.session_id, "write");
    // Messages that are on their way into the log were sent before.
    await deps.runs.lanes.reserved(session.id);
    const runners = deps.runs.of(session.id);
    return params.queued === "keep" ? runners.filter((runner) => runner.isStarted) : runners;
  }
  const run_id = params.run_id ?? "";
  const runner = deps.runs.get(run_id);
  const session_id = runner?.session.id ?? (await deps.store.run(run_id))?.session;
  const session =
    session_id === undefined ? null : await deps.directory.lookup(user, session_id).catch(() => null);
  if (session === null) throw new GatewayError("NOT_FOUND", "no such run", { details: { kind: "run" } });
  deps.directory.require(session, user, "write");
  return runner === undefined ? [] : [runner];
}
