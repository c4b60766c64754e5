import type { EventRun } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Static } from "@sinclair/typebox";
import { chatAbort, chatHistory, chatInject, chatSend } from "../protocol/api/chat.ts";
import { isGatewaySessionId, newEpoch, newId } from "../core/id.ts";
import type { BusyPolicy } from "../core/lane.ts";
import type { HistoryQuery, HistoryRows, IdempotencyRow, NewEvent, RowChange } from "../core/ports.ts";
import type { Runner } from "../core/runner.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor, noSession, sessionPayload } from "../core/session.ts";
import { messageView, openOf } from "../core/snapshot.ts";
import type { Tail } from "../core/tail.ts";
import { append } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { bounded, boundedJson } from "./text.ts";

type Send = Static<typeof chatSend.params>;

const TITLE_CHARS = 80;

export function chatMethods(deps: MethodDeps): MethodHandler[] {
  return [
    handle(
      chatSend,
      async (params, call) => send(deps, params, call),
      async (prior, params, call) => replaySend(deps, prior, params, call),
    ),
    handle(chatHistory, async (params, call) => history(deps, params, call)),
    handle(chatAbort, async (params, call) => abort(deps, params, call)),
    handle(
      chatInject,
      async (params, call) => inject(deps, params, call),
      async (prior, _params, call) => {
        const { message_id } = JSON.parse(prior.answer) as { message_id: string };
        const session = await priorSession(deps, prior);
        return { session_id: nameFor(session, call.user), message_id, epoch: prior.epoch ?? "", seq: prior.seq };
      },
    ),
  ];
}

async function send(deps: MethodDeps, params: Send, call: Call): Promise<undefined> {
  const content = bounded(params.message, "message_bytes", deps.limits);
  const metadata = boundedJson(params.metadata, "metadata_bytes", deps.limits);
  if (params.on_busy === "steer") {
    throw new GatewayError("INVALID_REQUEST", 'on_busy "steer" is not available: use queue, interrupt or reject', {
      details: { kind: "on_busy" },
    });
  }
  const session = await target(deps, params.session_id, call.user);
  if (session.created) return commitSend(deps, params, call, session.ref, null, content, metadata);
  return withTail(deps, session.ref, (tail) => commitSend(deps, params, call, session.ref, tail, content, metadata));
}

/** The session a message goes to; one that does not exist is made with the message. */
async function target(
  deps: MethodDeps,
  id: string | undefined,
  user: string,
): Promise<{ ref: SessionRef; created: boolean }> {
  if (id === undefined) return { ref: deps.directory.reserve(user, null), created: true };
  const found = await deps.directory.lookup(user, id);
  if (found !== null) {
    deps.directory.require(found, user, "write");
    return { ref: found, created: false };
  }
  if (isGatewaySessionId(id)) throw noSession();
  return { ref: deps.directory.reserve(user, id), created: true };
}

/** From here to the journal's queue everything is synchronous: that is what keeps requests in order. */
function commitSend(
  deps: MethodDeps,
  params: Send,
  call: Call,
  session: SessionRef,
  tail: Tail | null,
  content: string,
  metadata: string,
): undefined {
  const { clock, runs, router, directory } = deps;
  const now = clock.now();
  const created = tail === null;
  const undoSession = (): void => {
    if (created) directory.forget(session);
  };
  let reservation;
  let model: string;
  try {
    model = router.resolve(params.model ?? tail?.row.model ?? null);
    reservation = runs.lanes.reserve(session.id, (params.on_busy as BusyPolicy | undefined) ?? deps.on_busy);
  } catch (error) {
    undoSession();
    throw error;
  }
  const run_id = newId("run", now);
  const message_id = newId("msg", now);
  const { transport, client_id } = call.caller;
  const run: EventRun = { run_id, status: "queued", model, origin: { transport, client_id }, created_at: now };
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  if (created) addSession(session, params, content, now, events, rows);
  addMessage(
    { message_id, role: "user", content, run_id, timestamp: now, metadata },
    { at: now, run_id },
    events,
    rows,
  );
  const data = JSON.stringify(run);
  events.push({ type: "run.queued", ts: now, run_id, payload: `{"run":${data}}` });
  rows.push({ kind: "run.put", event: events.length - 1, run_id, status: "queued", created_at: now, data });
  const { status } = reservation;
  append(call, deps.journal, now, {
    session,
    events,
    rows,
    remember: { message_id, run_id, status, created },
    committed: ({ first_seq, epoch, tail: landed }) => {
      const seq = first_seq + (created ? 1 : 0);
      const from = Math.min(seq - 1, ...[...(landed?.open.values() ?? [])].map((open) => open.seq - 1));
      answerSend(deps, params, call, session, { message_id, run_id, status, epoch, seq }, from);
      runs.accept(reservation, session, run);
    },
    undo: () => {
      reservation.release();
      undoSession();
    },
  });
  return undefined;
}

/** The answer, and then the subscription: the answer is the first the connection reads about its request. */
function answerSend(
  deps: MethodDeps,
  params: Send,
  call: Call,
  session: SessionRef,
  ids: { message_id: string; run_id: string; status: string; epoch: string; seq: number },
  from: number,
): void {
  const { connection } = call.caller;
  const follows = connection?.subscriptions.has(session.id) === true;
  const wanted = connection !== null && params.subscribe !== false && !follows;
  const room = wanted && deps.followers.hasRoom(connection);
  call.ok({ session_id: nameFor(session, call.user), ...ids, subscribed: follows || room, from });
  if (room) deps.followers.followNow(connection, session, from);
}

async function replaySend(deps: MethodDeps, prior: IdempotencyRow, params: Send, call: Call): Promise<undefined> {
  const stored = JSON.parse(prior.answer) as { message_id: string; run_id: string; status: string; created: boolean };
  const { message_id, run_id, status, created } = stored;
  const session = await priorSession(deps, prior);
  const seq = prior.seq + (created ? 1 : 0);
  return withTail(deps, session, (tail) => {
    const ids = { message_id, run_id, status, epoch: prior.epoch ?? "", seq };
    // Where the log no longer reaches back, the answer stands and the client subscribes by itself.
    const reaches = tail.epoch === prior.epoch && seq - 1 >= tail.floor;
    answerSend(deps, reaches ? params : { ...params, subscribe: false }, call, session, ids, seq - 1);
    return undefined;
  });
}

async function priorSession(deps: MethodDeps, prior: IdempotencyRow): Promise<SessionRef> {
  const row = prior.session === null ? null : await deps.store.session(prior.session);
  if (row === null) throw new GatewayError("GONE", "the session this request made or changed was deleted meanwhile");
  return { id: row.id, owner: row.owner, name: row.name };
}

function addSession(
  session: SessionRef,
  params: Send,
  content: string,
  now: number,
  events: NewEvent[],
  rows: RowChange[],
): void {
  const title = [...(content.trim().split("\n", 1)[0] ?? "")].slice(0, TITLE_CHARS).join("");
  const { owner, name } = session;
  const row = { owner, title, model: params.model ?? null, system_prompt: null, metadata: "{}", created_at: now };
  rows.push({ kind: "session.create", ...row, name, epoch: newEpoch(), revive: false });
  events.push({ type: "session.created", ts: now, run_id: null, payload: sessionPayload({ ...row, archived: false }) });
}

interface WholeMessage {
  readonly message_id: string;
  readonly role: "user" | "assistant" | "system";
  readonly content: string;
  readonly run_id: string | null;
  readonly timestamp: number;
  /** JSON text. */
  readonly metadata: string;
}

/** A message that is complete at once: its event and its row. */
function addMessage(
  message: WholeMessage,
  at: { at: number; run_id: string | null },
  events: NewEvent[],
  rows: RowChange[],
): void {
  const { message_id, role, content, run_id, timestamp } = message;
  const data = JSON.stringify({
    message_id,
    role,
    status: "complete",
    content,
    parts: [{ type: "text", text: content }],
    ...(run_id !== null && { run_id }),
    timestamp,
    metadata: JSON.parse(message.metadata) as unknown,
  });
  events.push({ type: "message.created", ts: at.at, run_id: at.run_id, payload: `{"message":${data}}` });
  rows.push({ kind: "message.put", event: events.length - 1, message_id, role, status: "complete", run_id, data });
}

async function inject(deps: MethodDeps, params: Static<typeof chatInject.params>, call: Call): Promise<undefined> {
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
    committed: ({ first_seq, epoch }) => ({ session_id: nameFor(session, call.user), message_id, epoch, seq: first_seq }),
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
    for (const message of open) if (message.seq > last && message.seq <= rows.session.head) messages.push(message);
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
async function readHistory(deps: MethodDeps, session: SessionRef, tail: Tail, query: HistoryQuery): Promise<HistoryRows> {
  for (;;) {
    const rows = await deps.store.history(session.id, query);
    if (rows === null) throw noSession();
    if (!rows.found) {
      throw new GatewayError("NOT_FOUND", "no such message in this session", { details: { kind: "message" } });
    }
    const { head } = rows.session;
    await tail.reached(head);
    if (tail.first > head + 1) continue;
    const { events } = tail.read(head, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    if (events.every((event) => event.type !== "message.completed")) return rows;
  }
}

function pick(ids: { before: string | undefined; after: string | undefined }): { before?: string; after?: string } {
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
    throw new GatewayError("UNAVAILABLE", "the run is stopped; its end is recorded once storage takes writes again", {
      details: { kind: "storage" },
    });
  }
  await stopped;
  return {
    run_ids: runners.map((runner) => runner.run_id),
    status: runners.length > 0 ? ("aborted" as const) : ("idle" as const),
  };
}

async function stoppable(deps: MethodDeps, params: Static<typeof chatAbort.params>, user: string): Promise<Runner[]> {
  if ((params.run_id === undefined) === (params.session_id === undefined)) {
    throw new GatewayError("INVALID_REQUEST", "give run_id or session_id, one of the two", { details: { kind: "schema" } });
  }
  if (params.session_id !== undefined) {
    const session = await deps.directory.find(user, params.session_id, "write");
    const runners = deps.runs.of(session.id);
    return params.queued === "keep" ? runners.filter((runner) => runner.isStarted) : runners;
  }
  const run_id = params.run_id ?? "";
  const runner = deps.runs.get(run_id);
  const session_id = runner?.session.id ?? (await deps.store.run(run_id))?.session;
  const session = session_id === undefined ? null : await deps.directory.lookup(user, session_id).catch(() => null);
  if (session === null) throw new GatewayError("NOT_FOUND", "no such run", { details: { kind: "run" } });
  deps.directory.require(session, user, "write");
  return runner === undefined ? [] : [runner];
}
