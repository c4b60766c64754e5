import type { FollowRequest, Opening } from "../core/follow.ts";
import type { Frame } from "../core/hub.ts";
import type { Principal } from "../core/principal.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { Run, TerminalStatus } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { TransportContext } from "./context.ts";
import { MethodRefusal } from "./error.ts";
import { ask } from "./rest.ts";
import { callerOf } from "./rest-guard.ts";
import type { Visit } from "./rest-reply.ts";
import type { EventStream } from "./sse-stream.ts";
import type { Cursor } from "./sse-text.ts";

const ENDS: ReadonlySet<string> = new Set<`run.${TerminalStatus}`>([
  "run.completed",
  "run.failed",
  "run.aborted",
  "run.interrupted",
]);

/** What a method answers on behalf of a request. @throws MethodRefusal */
export async function call<T>(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  method: string,
  params: Record<string, unknown>,
): Promise<T> {
  const outcome = await ask(context.dispatch, callerOf(visit, principal), method, params);
  if (!outcome.ok) throw new MethodRefusal(outcome.error);
  return ("text" in outcome ? JSON.parse(outcome.text) : outcome.payload) as T;
}

/** A run of that session, which readers are shown as far as the run says. @throws GatewayError NOT_FOUND */
export async function runOf(
  context: TransportContext,
  visit: Visit,
  principal: Principal,
  session: SessionRef,
  run_id: string,
): Promise<Run> {
  const run = await call<Run>(context, visit, principal, "run.get", { run_id });
  if (run.session_id === nameFor(session, principal.user)) return run;
  throw new GatewayError("NOT_FOUND", "no such run in this session", { details: { kind: "run" } });
}

export function hasEnded(run: { readonly status: Run["status"] }): boolean {
  return run.status !== "queued" && run.status !== "running";
}

/** The run a frame is the end of; null for every other frame. */
export function endedBy(frame: Frame): Run | null {
  if (!ENDS.has(frame.type)) return null;
  return (JSON.parse(frame.text) as { payload: { run: Run } }).payload.run;
}

/** Follows a session with a stream. @throws what the core says, the stream is gone then */
export async function follow(
  context: TransportContext,
  stream: EventStream,
  session: SessionRef,
  request: FollowRequest,
  opened: (opening: Opening) => void,
): Promise<void> {
  try {
    await context.followers.open(stream, session, request, opened);
  } catch (error) {
    stream.gone();
    throw error;
  }
}

/**
 * Where the end of a run lies that has ended: at or "before" the cursor, "after" it, or "unknown" where the log does
 * not continue the cursor any more. Reads the log from the cursor on with the stream, which is shown nothing of it.
 */
export async function whereEnded(
  context: TransportContext,
  stream: EventStream,
  session: SessionRef,
  cursor: Cursor,
  run_id: string,
): Promise<"before" | "after" | "unknown"> {
  const { promise, resolve } = Promise.withResolvers<"before" | "after" | "unknown">();
  stream.divert = (frame) => {
    if (endedBy(frame)?.run_id === run_id) resolve("after");
    else if (frame.type === "session.synced") resolve("before");
    else if (frame.type === "session.unsubscribed") resolve("unknown");
  };
  const request: FollowRequest = { epoch: cursor.epoch, after: cursor.seq, catch_up: "log" };
  await follow(context, stream, session, request, ({ mode }) => {
    if (mode !== "resume") resolve("unknown");
  });
  const where = await Promise.race([promise, stream.over]);
  stream.subscriptions.get(session.id)?.end();
  stream.divert = null;
  return where ?? "unknown";
}
