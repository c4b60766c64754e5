import type { Static } from "@sinclair/typebox";
import { newEpoch, newId } from "../core/id.ts";
import type { IdempotencyRow, NewEvent, RowChange } from "../core/operation.ts";
import type { Runner } from "../core/runner.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor, noSession, sessionPayload } from "../core/session.ts";
import type { Tail } from "../core/tail.ts";
import { wellFormed } from "../core/text.ts";
import { chatSend } from "../protocol/api/chat.ts";
import type { EventRun } from "../protocol/entities.ts";
import type { ResultOf } from "../protocol/methods.ts";
import { append } from "./append.ts";
import type { Told } from "./message.ts";
import { addMessage, namedFiles, requireSomething } from "./message.ts";
import { hooked } from "./before-message.ts";
import { requireBudget } from "./budget.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import { findOrMake } from "./name.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { bounded, boundedJson } from "./text.ts";

type Send = Static<typeof chatSend.params>;
type Sent = ResultOf<typeof chatSend>;

const TITLE_CHARS = 80;

export function sendMethod(deps: MethodDeps): MethodHandler {
  return handle(
    chatSend,
    async (params, call) => send(deps, params, call),
    async (prior, params, call) => replaySend(deps, prior, params, call),
    (payload, params, call) => relayedSend(deps, payload as Sent, params, call),
  );
}

async function send(deps: MethodDeps, asked: Send, call: Call): Promise<undefined> {
  const params = asked.model === undefined ? asked : { ...asked, model: wellFormed(asked.model) };
  const said = bounded(params.message, "message_bytes", deps.limits);
  const metadata = boundedJson(params.metadata, "metadata_bytes", deps.limits);
  const files = await namedFiles(deps, call.user, params.attachments);
  requireSomething("message", said, files);
  await requireBudget(deps, call);
  const { session_id, metadata: given } = params;
  const content = deps.hooks.has.before_message
    ? await hooked(deps, call, { session_id, makes: true, role: "user", content: said, metadata: given })
    : said;
  return commitTo(deps, params, call, { content, files, metadata });
}

function commitTo(deps: MethodDeps, params: Send, call: Call, message: Told): Promise<undefined> {
  return findOrMake(deps, call.user, params.session_id, {
    make: (session) => commitSend(deps, params, call, session, null, message),
    found: (session, tail) => commitSend(deps, params, call, session, tail, message),
    revive: false,
  });
}

/** From here to the journal's queue everything is synchronous: that is what keeps requests in order. */
function commitSend(
  deps: MethodDeps,
  params: Send,
  call: Call,
  session: SessionRef,
  tail: Tail | null,
  message: Told,
): undefined {
  const { clock, runs, router, directory } = deps;
  const now = clock.now();
  const created = tail === null;
  directory.require(session, call.user, "write");
  const model = router.resolve(params.model ?? tail?.row.model ?? null);
  const policy = params.on_busy ?? deps.settings.on_busy;
  const steered = policy === "steer" ? runs.steerable(session.id) : null;
  if (steered !== null && tail !== null) return commitSteer(deps, params, call, steered, message);
  const reservation = runs.lanes.reserve(session.id, policy === "steer" ? "queue" : policy);
  const { run_id, message_id } = call.caller.relayed ?? {
    run_id: newId("run", now),
    message_id: newId("msg", now),
  };
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  if (created) addSession(session, params, titleFor(message), now, events, rows);
  const whole = { ...message, message_id, role: "user", run_id, timestamp: now } as const;
  addMessage(whole, { at: now, run_id, user: call.user }, events, rows);
  const run = addRun({ run_id, model, created_at: now }, call, events, rows);
  const { status } = reservation;
  append(call, deps.journal, now, {
    session,
    events,
    rows,
    remember: { message_id, run_id, status, created },
    committed: ({ first_seq, epoch, tail: landed }) => {
      const seq = first_seq + (created ? 1 : 0);
      const from = landed === null ? seq - 1 : startOf(seq, landed);
      try {
        answerSend(deps, params, call, session, { message_id, run_id, status, epoch, seq }, from);
      } finally {
        runs.accept(reservation, { session, run, user: call.user, mark: call.mark });
      }
    },
    undo: () => {
      reservation.release();
      if (created) directory.forget(session);
    },
    // Another node made it at the same moment: then it is there to be written to.
    exists: () => void commitTo(deps, params, call, message).catch((error: unknown) => call.fail(error)),
  });
  return undefined;
}

/** Puts the message into the run that answers: the model is shown it before its next turn. */
function commitSteer(deps: MethodDeps, params: Send, call: Call, runner: Runner, message: Told): undefined {
  const now = deps.clock.now();
  const { session, run_id } = runner;
  const message_id = call.caller.relayed?.message_id ?? newId("msg", now);
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  const whole = { ...message, message_id, role: "user", run_id, timestamp: now } as const;
  addMessage(whole, { at: now, run_id, user: call.user }, events, rows);
  const settled = runner.steering.enter();
  append(call, deps.journal, now, {
    session,
    events,
    rows,
    remember: { message_id, run_id, status: "steered", created: false },
    committed: ({ first_seq: seq, epoch, tail }) => {
      settled(message_id);
      const from = tail === null ? seq - 1 : startOf(seq, tail);
      answerSend(deps, params, call, session, { message_id, run_id, status: "steered", epoch, seq }, from);
    },
    undo: () => settled(null),
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
  const room = wanted && deps.followers.mayFollow(connection, session);
  call.ok({ session_id: nameFor(session, call.user), ...ids, subscribed: follows || room, from });
  if (room) deps.followers.followNow(connection, session, from);
}

/** Another node took the message: the sender follows here what is written there. */
async function relayedSend(deps: MethodDeps, sent: Sent, params: Send, call: Call): Promise<undefined> {
  const { message_id, run_id, status, epoch, seq, from } = sent;
  const ids = { message_id, run_id, status, epoch, seq };
  const unfollowed = { ...params, subscribe: false };
  const session = await deps.directory.find(call.user, sent.session_id, "read");
  try {
    await withTail(deps, session, (tail) => {
      const reaches = tail.epoch === epoch && from >= tail.floor;
      answerSend(deps, reaches ? params : unfollowed, call, session, ids, from);
    });
  } catch {
    // It was said, whether it can be followed now or not.
    answerSend(deps, unfollowed, call, session, ids, from);
  }
  return undefined;
}

async function replaySend(
  deps: MethodDeps,
  prior: IdempotencyRow,
  params: Send,
  call: Call,
): Promise<undefined> {
  const stored = JSON.parse(prior.answer) as {
    message_id: string;
    run_id: string;
    status: string;
    created: boolean;
  };
  const { message_id, run_id, status, created } = stored;
  const session = await priorSession(deps, prior, call.user);
  const seq = prior.seq + (created ? 1 : 0);
  return withTail(deps, session, (tail) => {
    const ids = { message_id, run_id, status, epoch: prior.epoch ?? "", seq };
    const from = startOf(seq, tail);
    // Where the log no longer reaches back, the answer stands and the client subscribes by itself.
    const reaches = tail.epoch === prior.epoch && from >= tail.floor;
    answerSend(deps, reaches ? params : { ...params, subscribe: false }, call, session, ids, from);
    return undefined;
  });
}

/** The cursor a sender follows from: before its message, and before messages that were begun earlier and are still written. */
function startOf(seq: number, tail: Tail): number {
  const open = [...tail.open.values()].filter((message) => message.seq < seq);
  return Math.min(seq, ...open.map((message) => message.seq)) - 1;
}

/** The session an earlier request worked on. @throws GatewayError GONE, NOT_FOUND */
export async function priorSession(
  deps: MethodDeps,
  prior: IdempotencyRow,
  user: string,
): Promise<SessionRef> {
  if (prior.session === null) throw noSession();
  return deps.directory.find(user, prior.session, "read");
}

/** What it begins with, or what it brings. */
function titleFor({ content, files }: Told): string {
  const line = content.trim().split("\n", 1)[0] ?? "";
  return [...(line === "" ? (files[0]?.name ?? "") : line)].slice(0, TITLE_CHARS).join("");
}

function addSession(
  session: SessionRef,
  params: Send,
  title: string,
  now: number,
  events: NewEvent[],
  rows: RowChange[],
): void {
  const { owner, name } = session;
  const row = {
    owner,
    title,
    model: params.model ?? null,
    system_prompt: null,
    metadata: "{}",
    created_at: now,
  };
  rows.push({ kind: "session.create", ...row, name, epoch: newEpoch(), revive: false });
  events.push({
    type: "session.created",
    ts: now,
    run_id: null,
    payload: sessionPayload({ ...row, archived: false }),
  });
}

/** A run that is accepted: its event and its row. */
export function addRun(
  made: Pick<EventRun, "run_id" | "model" | "created_at">,
  { caller }: Call,
  events: NewEvent[],
  rows: RowChange[],
): EventRun {
  const { run_id, created_at } = made;
  const origin = { transport: caller.transport, client_id: wellFormed(caller.client_id) };
  const run: EventRun = { run_id, status: "queued", model: made.model, origin, created_at };
  const data = JSON.stringify(run);
  events.push({ type: "run.queued", ts: created_at, run_id, payload: `{"run":${data}}` });
  rows.push({ kind: "run.put", event: events.length - 1, run_id, status: "queued", created_at, data });
  return run;
}
