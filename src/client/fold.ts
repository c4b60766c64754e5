import type {
  Approval,
  EventMessage,
  EventRun,
  EventSession,
  Message,
  Part,
  Run,
  Session,
  Snapshot,
} from "../protocol/entities.ts";
import type { Change, FoldedMessage, FoldedRun } from "./change.ts";
import type { DurableEvent, DurablePayload } from "../protocol/events.ts";
import type { EventFrame } from "../protocol/frames.ts";

/** One session, folded from its snapshot and events. Its values are never changed, only replaced. */
export interface Transcript {
  /** Null until a snapshot or session.created told of it. */
  readonly session: Readonly<Session> | null;
  /** In the order of the log. */
  readonly messages: ReadonlyMap<string, FoldedMessage>;
  readonly runs: ReadonlyMap<string, FoldedRun>;
  /** Calls that wait for an answer, oldest first. */
  readonly approvals: ReadonlyMap<string, Approval>;
  replace(snapshot: Snapshot): void;
  /** Takes each event once, in order. */
  apply(frame: EventFrame): Change;
  /** Puts older messages before the others, as chat.history tells them. */
  prepend(older: readonly Message[]): void;
}

const NOTHING: Change = { kind: "none" };
const GAP: Change = { kind: "gap" };

interface State {
  session: Session | null;
  messages: Map<string, FoldedMessage>;
  readonly runs: Map<string, FoldedRun>;
  readonly approvals: Map<string, Approval>;
}
type Folds = { [T in DurableEvent]?: (payload: DurablePayload<T>, frame: EventFrame) => Change };

export function createTranscript(): Transcript {
  const state: State = { session: null, messages: new Map(), runs: new Map(), approvals: new Map() };
  const folds = foldsOf(state);
  return {
    get session() {
      return state.session;
    },
    get messages() {
      return state.messages;
    },
    runs: state.runs,
    approvals: state.approvals,
    replace({ session, messages, runs, approvals }) {
      // In a log that is another one an id may mean something else.
      const before = state.session?.epoch === session.epoch ? state.messages : new Map<string, never>();
      state.session = session;
      state.messages = new Map();
      state.runs.clear();
      state.approvals.clear();
      for (const message of messages) keep(state, before.get(message.message_id), message);
      for (const run of runs) state.runs.set(run.run_id, run);
      for (const approval of approvals) state.approvals.set(approval.approval_id, approval);
    },
    apply(frame) {
      const fold = folds[frame.event as DurableEvent] as
        | ((payload: unknown, frame: EventFrame) => Change)
        | undefined;
      const change = fold === undefined ? NOTHING : fold(frame.payload, frame);
      if (state.session !== null) state.session = { ...state.session, ...placeOf(frame) };
      return change;
    },
    prepend(older) {
      const newer = state.messages;
      state.messages = new Map();
      for (const message of older) if (!newer.has(message.message_id)) put(state, message);
      for (const [id, message] of newer) state.messages.set(id, message);
    },
  };
}

/** Where in the log the session is after an event. */
function placeOf({ epoch, seq, ts }: EventFrame): Partial<Session> {
  return {
    updated_at: ts,
    ...(epoch !== undefined && { epoch }),
    ...(seq !== undefined && { head: seq }),
  };
}

/** A finished message that is in a snapshot again is still the same one, so nobody has to look at it twice. */
function keep(state: State, held: FoldedMessage | undefined, message: Message): void {
  if (held?.status !== "complete" || held.seq !== message.seq) put(state, message);
  else state.messages.set(held.message_id, held);
}

function put(
  { messages }: State,
  message: Omit<FoldedMessage, "parts"> & { parts?: readonly Part[] },
): FoldedMessage {
  const { parts = [{ type: "text", text: "" }], content } = message;
  const [only] = parts;
  // The text of a message that is one text is held once.
  const alone = only?.type === "text" && parts.length === 1;
  const folded: FoldedMessage = { ...message, parts: alone ? [{ ...only, text: content }] : parts };
  messages.set(message.message_id, folded);
  return folded;
}

/** One more message of the log. */
function append(
  state: State,
  frame: EventFrame,
  message: Omit<EventMessage, "metadata"> & Partial<EventMessage>,
): FoldedMessage {
  const { session_id = "", seq = 0, run_id } = frame;
  if (state.session !== null) {
    state.session = { ...state.session, message_count: state.session.message_count + 1 };
  }
  return put(state, { session_id, seq, metadata: {}, ...(run_id !== undefined && { run_id }), ...message });
}

function putSession(state: State, frame: EventFrame, session: EventSession): Change {
  const before = state.session;
  const { session_id = before?.session_id ?? "", epoch = "", seq = 0, ts } = frame;
  state.session = {
    session_id,
    ...session,
    updated_at: ts,
    message_count: before?.message_count ?? 0,
    ...(before?.active_run_id !== undefined && { active_run_id: before.active_run_id }),
    epoch,
    head: seq,
  };
  return { kind: "session", session: state.session };
}

function putRun(state: State, run: FoldedRun): Change {
  state.runs.set(run.run_id, run);
  return { kind: "run", run };
}

function owned(run: EventRun, { session_id = "" }: EventFrame): Run {
  return { session_id, ...run };
}

function endRun(state: State, run: FoldedRun): Change {
  if (state.session?.active_run_id === run.run_id) {
    const { active_run_id: _, ...session } = state.session;
    state.session = session;
  }
  return putRun(state, run);
}

/** What each event does to the state. */
function foldsOf(state: State): Folds {
  const ended = ({ run }: { run: EventRun }, frame: EventFrame): Change => endRun(state, owned(run, frame));
  return {
    ...messageFolds(state),
    ...toolFolds(state),
    "session.created": ({ session }, frame) => putSession(state, frame, session),
    "session.updated": ({ session }, frame) => putSession(state, frame, session),
    "run.queued": ({ run }, frame) => putRun(state, owned(run, frame)),
    "run.started": ({ run_id, model }, { ts }) => {
      if (state.session !== null) state.session = { ...state.session, active_run_id: run_id };
      return putRun(state, { ...state.runs.get(run_id), run_id, status: "running", model, started_at: ts });
    },
    "run.completed": ended,
    "run.failed": ended,
    "run.aborted": ended,
    "run.interrupted": ended,
  };
}

function messageFolds(state: State): Folds {
  return {
    "message.created": ({ message }, frame) => ({ kind: "message", message: append(state, frame, message) }),
    "message.started": ({ message_id, role, model }, frame) => {
      const empty = { status: "streaming", content: "", parts: [], timestamp: frame.ts } as const;
      return {
        kind: "message",
        message: append(state, frame, { message_id, role, model, ...empty, parts: [] }),
      };
    },
    "message.delta": (delta) => {
      const message = state.messages.get(delta.message_id);
      if (message === undefined) return GAP;
      return message.status === "streaming" ? appendDelta(state, message, delta) : NOTHING;
    },
    "message.completed": ({ message: final, length, sha256, content_omitted }, frame) => {
      const held = state.messages.get(final.message_id);
      const streamed = held?.status === "streaming" ? held.content : null;
      if (streamed === null && content_omitted === true) return GAP;
      if (streamed !== null && streamed.length !== length) return GAP;
      const { session_id = "", seq = 0 } = frame;
      const place = { session_id, seq: held?.seq ?? seq };
      const whole =
        content_omitted === true && held ? { ...final, content: held.content, parts: held.parts } : final;
      return { kind: "completed", message: put(state, { ...place, ...whole }), streamed, length, sha256 };
    },
    "message.discarded": ({ message_id }) => {
      if (state.messages.delete(message_id) && state.session !== null) {
        state.session = { ...state.session, message_count: state.session.message_count - 1 };
      }
      return { kind: "discarded", message_id };
    },
  };
}

function toolFolds(state: State): Folds {
  const { approvals } = state;
  return {
    "tool.call": ({ message_id, ...call }) => {
      const message = state.messages.get(message_id);
      if (message === undefined) return GAP;
      if (message.status !== "streaming") return NOTHING;
      put(state, { ...message, parts: [...message.parts, { type: "tool_call", ...call }] });
      return { kind: "tool_call", message_id, name: call.name, arguments: call.arguments };
    },
    "tool.approval_requested": ({ approval }) => {
      approvals.set(approval.approval_id, approval);
      return { kind: "approval", approval };
    },
    "tool.approval_resolved": ({ approval_id, decision, by }, { ts }) => {
      approvals.delete(approval_id);
      return { kind: "resolved", approval_id, decision, by, at: ts };
    },
    "tool.result": ({ message_id, content, ...more }, frame) => {
      const part = { type: "tool_result", ...more } as const;
      const result = { message_id, content, parts: [part], timestamp: frame.ts };
      return {
        kind: "message",
        message: append(state, frame, { ...result, role: "tool", status: "complete" }),
      };
    },
  };
}

function appendDelta(state: State, message: FoldedMessage, delta: DurablePayload<"message.delta">): Change {
  if (delta.part > message.parts.length) return GAP;
  const part = message.parts[delta.part] ?? { type: delta.kind, text: "" };
  if (part.type !== "text" && part.type !== "reasoning") return GAP;
  if (delta.off > part.text.length) return GAP;
  // After a resume from inside a delta its beginning is known already.
  const text = delta.text.slice(part.text.length - delta.off);
  const parts = [...message.parts];
  parts[delta.part] = { ...part, text: part.text + text };
  // Parts are written one after the other, so text always belongs at the end of the content.
  const content = part.type === "text" ? message.content + text : message.content;
  return { kind: "text", message: put(state, { ...message, parts, content }), part: part.type, text };
}
