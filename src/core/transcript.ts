import type {
  Approval,
  EventMessage,
  EventRun,
  EventSession,
  Message,
  Run,
  Session,
  Snapshot,
} from "../protocol/entities.ts";
import type { DurablePayload } from "../protocol/events.ts";
import { applyDelta, applyToolCall, contentOf, startMessage, toolMessage } from "./message.ts";

/** An event as the fold reads it: the frame's fields, payload parsed. */
export interface FoldEvent {
  readonly event: string;
  readonly session_id: string;
  readonly epoch: string;
  readonly seq: number;
  readonly ts: number;
  readonly run_id?: string | null;
  readonly payload: unknown;
}

/** Everything a client knows of a session: a snapshot and the events after it, folded. Changed in place. */
export interface Transcript {
  session: Session | null;
  messages: Message[];
  runs: Run[];
  approvals: Approval[];
  closed: boolean;
}

export function emptyTranscript(): Transcript {
  return { session: null, messages: [], runs: [], approvals: [], closed: false };
}

export function fromSnapshot(snapshot: Snapshot): Transcript {
  const { session, messages, runs, approvals } = structuredClone(snapshot);
  return { session, messages, runs, approvals, closed: false };
}

/**
 * Folds one durable event in place, in seq order. "gap": what it continues is missing, subscribe again.
 * An event of a kind it does not know only moves the cursor.
 */
export function applyEvent(transcript: Transcript, event: FoldEvent): "ok" | "gap" {
  const result = applyKnown(transcript, event);
  const session = transcript.session;
  if (session !== null) {
    session.epoch = event.epoch;
    session.head = event.seq;
    session.updated_at = event.ts;
  }
  return result;
}

function applyKnown(transcript: Transcript, event: FoldEvent): "ok" | "gap" {
  const at = { ts: event.ts, run_id: event.run_id ?? null };
  switch (event.event) {
    case "session.created":
    case "session.updated":
      applySession(transcript, event, (event.payload as { session: EventSession }).session);
      return "ok";
    case "session.closed":
      transcript.closed = true;
      return "ok";
    case "message.created":
      addMessage(transcript, event, (event.payload as { message: EventMessage }).message);
      return "ok";
    case "message.started":
      addMessage(transcript, event, startMessage(event.payload as DurablePayload<"message.started">, at));
      return "ok";
    case "tool.result":
      addMessage(transcript, event, toolMessage(event.payload as DurablePayload<"tool.result">, at));
      return "ok";
    case "message.delta": {
      const delta = event.payload as DurablePayload<"message.delta">;
      const message = transcript.messages.find((each) => each.message_id === delta.message_id);
      if (message?.status !== "streaming") return "ok";
      const result = applyDelta(message, delta);
      message.content = contentOf(message.parts ?? []);
      return result;
    }
    case "tool.call": {
      const call = event.payload as DurablePayload<"tool.call">;
      const message = transcript.messages.find((each) => each.message_id === call.message_id);
      if (message?.status === "streaming") applyToolCall(message, call);
      return "ok";
    }
    case "message.completed":
      completeMessage(transcript, event, event.payload as DurablePayload<"message.completed">);
      return "ok";
    case "message.discarded":
      dropMessage(transcript, (event.payload as { message_id: string }).message_id);
      return "ok";
    case "tool.approval_requested":
      transcript.approvals.push((event.payload as { approval: Approval }).approval);
      return "ok";
    case "tool.approval_resolved": {
      const { approval_id } = event.payload as { approval_id: string };
      transcript.approvals = transcript.approvals.filter((each) => each.approval_id !== approval_id);
      return "ok";
    }
    default:
      applyRun(transcript, event);
      return "ok";
  }
}

function applyRun(transcript: Transcript, event: FoldEvent): void {
  if (event.event === "run.started") {
    const { run_id, model } = event.payload as DurablePayload<"run.started">;
    const run = transcript.runs.find((each) => each.run_id === run_id);
    if (run !== undefined) Object.assign(run, { status: "running", model, started_at: event.ts });
    if (transcript.session !== null) transcript.session.active_run_id = run_id;
    return;
  }
  if (!/^run\.(queued|completed|failed|aborted|interrupted)$/.test(event.event)) return;
  const run: Run = { session_id: event.session_id, ...(event.payload as { run: EventRun }).run };
  const index = transcript.runs.findIndex((each) => each.run_id === run.run_id);
  if (index === -1) transcript.runs.push(run);
  else transcript.runs[index] = run;
  const session = transcript.session;
  if (event.event !== "run.queued" && session?.active_run_id === run.run_id) delete session.active_run_id;
}

function applySession(transcript: Transcript, event: FoldEvent, session: EventSession): void {
  const before = transcript.session;
  transcript.session = {
    session_id: event.session_id,
    ...session,
    updated_at: event.ts,
    message_count: before?.message_count ?? 0,
    ...(before?.active_run_id !== undefined && { active_run_id: before.active_run_id }),
    epoch: event.epoch,
    head: event.seq,
  };
}

function addMessage(transcript: Transcript, event: FoldEvent, message: EventMessage): void {
  transcript.messages.push({ session_id: event.session_id, seq: event.seq, ...structuredClone(message) });
  if (transcript.session !== null) transcript.session.message_count++;
}

function completeMessage(
  transcript: Transcript,
  event: FoldEvent,
  payload: DurablePayload<"message.completed">,
): void {
  const index = transcript.messages.findIndex((each) => each.message_id === payload.message.message_id);
  const known = transcript.messages[index];
  if (known === undefined) return;
  const whole: Message = {
    session_id: event.session_id,
    seq: known.seq,
    ...payload.message,
  };
  if (payload.content_omitted === true) {
    whole.content = known.content;
    if (known.parts !== undefined) whole.parts = known.parts;
  }
  transcript.messages[index] = whole;
}

function dropMessage(transcript: Transcript, message_id: string): void {
  const before = transcript.messages.length;
  transcript.messages = transcript.messages.filter((each) => each.message_id !== message_id);
  if (transcript.session !== null) transcript.session.message_count -= before - transcript.messages.length;
}
