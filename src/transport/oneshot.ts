import { Type } from "@sinclair/typebox";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { Principal } from "../core/principal.ts";
import { chatSend } from "../protocol/api/chat.ts";
import { Message } from "../protocol/entities.ts";
import type { Run } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ResultOf } from "../protocol/methods.ts";
import { Params, SessionId } from "../protocol/schema.ts";
import type { TransportContext } from "./context.ts";
import { errorResponse } from "./error.ts";
import { pathParameter, withKey } from "./rest.ts";
import { authenticate } from "./rest-guard.ts";
import { onlyParameters, readObject } from "./rest-input.ts";
import { answers, jsonBody, parameter, SECURED, streamAnswers } from "./rest-openapi.ts";
import type { HttpRoute, Visit } from "./rest-reply.ts";
import { json } from "./rest-reply.ts";
import { lastEventId, mayRead } from "./sse.ts";
import { chatTranslator, endError, replayText } from "./sse-chat.ts";
import type { Streams } from "./sse-hub.ts";
import { messagesOf } from "./sse-history.ts";
import { call, endedBy, follow, hasEnded, runOf, whereEnded } from "./sse-run.ts";
import type { EventStream } from "./sse-stream.ts";
import type { Cursor } from "./sse-text.ts";
import { chunkOf, GREETING } from "./sse-text.ts";

type Sent = ResultOf<typeof chatSend>;

/** One turn of run.wait. */
const WAIT_MS = 60_000;

const CHAT = Params({
  ...chatSend.params.properties,
  wait: Type.Optional(Type.Boolean({ description: "answer once the run has ended, with the message" })),
});
const STARTED = Type.Object({
  session_id: SessionId,
  run_id: Type.String(),
  stream_url: Type.String(),
  status: Type.Literal("streaming"),
});

/** A chat in one request, or in two: a translation of chat.send and of the session's events. */
export function oneshotRoutes(context: TransportContext, streams: Streams): HttpRoute[] {
  return [
    {
      verb: "POST",
      path: "/api/v1/chat",
      describe: () => ({
        summary: "Sends a message; read the answer at stream_url.",
        description:
          "With `Accept: text/event-stream` the answer is streamed at once; with `wait` it is one message, when it is complete (200).",
        tags: ["chat"],
        security: SECURED,
        requestBody: jsonBody(CHAT),
        responses: {
          ...answers(201, "The run", STARTED),
          ...answers(200, "With `wait`: the message", Message),
        },
      }),
      handle: (visit) => chat(context, streams, visit),
    },
    {
      verb: "GET",
      path: "/api/v1/stream/:session_id",
      streams: true,
      describe: () => ({
        summary: "The answer of a run as it is written, from its beginning.",
        description:
          "Events without a name: token, discard, tool_start, tool_complete, tool_error, then complete or error.",
        tags: ["chat"],
        security: SECURED,
        parameters: [
          parameter("path", "session_id", SessionId, true),
          parameter("query", "run", { type: "string" }, false, "run_id; without it the newest run"),
          parameter("query", "ticket", { type: "string" }, false, "instead of the Authorization header"),
          parameter("header", "Last-Event-ID", { type: "string" }, false, "continue after this event"),
        ],
        responses: streamAnswers("text/event-stream"),
      }),
      handle: (visit) => stream(context, streams, visit),
    },
  ];
}

async function chat(context: TransportContext, streams: Streams, visit: Visit): Promise<Response> {
  const { request } = visit;
  const principal = await authenticate(context, visit, "rest");
  onlyParameters(visit.url.searchParams, []);
  const { wait = false, ...params } = withKey(await readObject(context, request), chatSend, request);
  if (typeof wait !== "boolean") {
    throw new GatewayError("INVALID_REQUEST", "wait: expected boolean", {
      details: { kind: "schema", path: "wait" },
      http: 422,
    });
  }
  const accept = request.headers.get("accept") ?? "";
  if (wait || !accept.includes("text/event-stream")) {
    if (wait) return waitFor(context, visit, principal, params);
    const sent = await call<Sent>(context, visit, principal, "chat.send", params);
    return json(201, startedOf(sent), locationOf(sent));
  }
  mayRead(principal);
  const stream = streams.open(visit, principal);
  try {
    const sent = await call<Sent>(context, visit, principal, "chat.send", params);
    const session = await context.directory.find(principal.user, sent.session_id, "read");
    await followRun(context, stream, session, sent.run_id, { epoch: sent.epoch, seq: sent.from });
    return stream.response(locationOf(sent));
  } catch (error) {
    stream.gone();
    throw error;
  }
}

function startedOf({ session_id, run_id }: Sent): Record<string, string> {
  return { session_id, run_id, stream_url: urlOf(session_id, run_id), status: "streaming" };
}
function locationOf({ session_id, run_id }: Sent): Record<string, string> {
  return { location: urlOf(session_id, run_id) };
}
function urlOf(session_id: string, run_id: string): string {
  return `/api/v1/stream/${encodeURIComponent(session_id)}?run=${encodeURIComponent(run_id)}`;
}

/** Sends, and answers with the message the run wrote. What waits has a place among the connections before it sends. */
async function waitFor(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  params: Record<string, unknown>,
): Promise<Response> {
  const leave = context.connections.takeForRequest(principal);
  try {
    visit.server.timeout(visit.request, 0);
    return await whole(
      context,
      visit,
      principal,
      await call<Sent>(context, visit, principal, "chat.send", params),
    );
  } finally {
    leave();
  }
}

/** The message of a run, once it has ended; the error of one that did not complete. */
async function whole(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  sent: Sent,
): Promise<Response> {
  const { run_id } = sent;
  let run: Run;
  do {
    run = await call<Run>(context, visit, principal, "run.wait", { run_id, timeout_ms: WAIT_MS });
  } while (!hasEnded(run) && !visit.request.signal.aborted);
  visit.exchange.waitedFor(run, context.times);
  if (run.status !== "completed") return errorResponse(endError(run));
  const { messages } = await messagesOf(context, visit, principal, run);
  const message = messages.find((each) => each.message_id === run.message_id);
  if (message === undefined) throw new GatewayError("GONE", "the message was deleted meanwhile");
  return json(200, message, locationOf(sent));
}

async function stream(context: TransportContext, streams: Streams, visit: Visit): Promise<Response> {
  streams.checkRoom();
  const principal = await authenticate(context, visit, "sse");
  mayRead(principal);
  onlyParameters(visit.url.searchParams, ["run", "ticket"]);
  const session = await context.directory.find(principal.user, pathParameter(visit, "session_id"), "read");
  const run_id = visit.url.searchParams.get("run") ?? (await newestRun(context, visit, principal, session));
  const run = await runOf(context, visit, principal, session, run_id);
  const cursor = lastEventId(visit.request);
  const reader = streams.open(visit, principal);
  try {
    if (cursor !== null) return await resume(context, reader, session, run, cursor);
    return await begin(context, visit, reader, session, run);
  } catch (error) {
    reader.gone();
    throw error;
  }
}

async function newestRun(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  session: SessionRef,
): Promise<string> {
  const params = { session_id: nameFor(session, principal.user), limit: 1 };
  const { runs } = await call<{ runs: Run[] }>(context, visit, principal, "run.list", params);
  const [newest] = runs;
  if (newest !== undefined) return newest.run_id;
  throw new GatewayError("NOT_FOUND", "this session has no run yet: POST /api/v1/chat starts one", {
    details: { kind: "run" },
  });
}

/** A client that comes back, with what it read last. */
async function resume(
  context: TransportContext,
  reader: EventStream,
  session: SessionRef,
  run: Run,
  cursor: Cursor,
): Promise<Response> {
  if (hasEnded(run) && (await whereEnded(context, reader, session, cursor, run.run_id)) === "before") {
    reader.gone();
    return new Response(null, { status: 204 });
  }
  if (await followRun(context, reader, session, run.run_id, cursor)) return reader.response();
  reader.gone();
  // Text it has in part could only be sent twice or not at all.
  throw new GatewayError("GONE", "the log does not reach back there any more: read GET /api/v1/history/:id", {
    details: { kind: "cursor" },
  });
}

/** From the run's first event; what is trimmed is told from the messages. */
async function begin(
  context: TransportContext,
  visit: Visit,
  reader: EventStream,
  session: SessionRef,
  run: Run,
): Promise<Response> {
  const { messages, epoch, head } = await messagesOf(context, visit, reader.principal, run);
  const [first] = messages;
  const seq = first === undefined ? head : first.seq - 1;
  if (await followRun(context, reader, session, run.run_id, { epoch, seq })) return reader.response();
  reader.push(GREETING);
  reader.push(chunkOf(replayText(run, messages, `${epoch}.${head}`)));
  reader.finish();
  return reader.response();
}

/** Sends what the run does after the cursor, until it ends. False where the log does not continue the cursor. */
async function followRun(
  context: TransportContext,
  reader: EventStream,
  session: SessionRef,
  run_id: string,
  cursor: Cursor,
): Promise<boolean> {
  reader.translate = chatTranslator(run_id);
  reader.after = (frame) => {
    if (endedBy(frame)?.run_id === run_id || frame.type === "session.unsubscribed") reader.finish();
  };
  let continues = true;
  const request = { epoch: cursor.epoch, after: cursor.seq, catch_up: "log" as const };
  await follow(context, reader, session, request, ({ mode }) => {
    continues = mode === "resume";
    if (continues) reader.push(GREETING);
    else reader.divert = () => undefined;
  });
  if (continues) return true;
  reader.subscriptions.get(session.id)?.end();
  reader.divert = null;
  return false;
}
