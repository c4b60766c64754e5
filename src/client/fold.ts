import type { Approval, Part, Snapshot } from "../protocol/entities.ts";
import type { DurableEvent, DurablePayload } from "../protocol/events.ts";
import type { EventFrame } from "../protocol/frames.ts";

/** A message as a reader holds it. */
export interface FoldedMessage {
  readonly message_id: string;
  readonly role: string;
  status: "streaming" | "complete" | "partial";
  run_id: string | undefined;
  parts: Part[];
  /** The text parts joined. */
  content: string;
}

export interface FoldedRun {
  readonly run_id: string;
  status: string;
  error?: { code: string; message: string };
  finish_reason?: string;
}

/** What an event did. */
export type Change =
  | { readonly kind: "none" }
  /** Something before it is missing: start over from a snapshot. */
  | { readonly kind: "gap" }
  /** Text came to a part; `part` says of which kind. */
  | {
      readonly kind: "text";
      readonly message: FoldedMessage;
      readonly part: "text" | "reasoning";
      readonly text: string;
    }
  | { readonly kind: "message"; readonly message: FoldedMessage }
  /** Finished. `streamed` is what the deltas made of it, to be compared with the gateway's length and sha256. */
  | {
      readonly kind: "completed";
      readonly message: FoldedMessage;
      readonly streamed: string | null;
      readonly length: number;
      readonly sha256: string;
    }
  | { readonly kind: "discarded"; readonly message_id: string }
  | {
      readonly kind: "tool_call";
      readonly message_id: string;
      readonly name: string;
      readonly arguments: string;
    }
  /** A call waits for an answer. */
  | { readonly kind: "approval"; readonly approval: Approval }
  /** It does not wait any more. `by`: the user who decided. `at`: when, in milliseconds. */
  | ({ readonly kind: "resolved"; readonly approval_id: string } & Resolution)
  | { readonly kind: "run"; readonly run: FoldedRun };

/** How the wait for an answer ended. */
export interface Resolution {
  readonly decision: string;
  readonly by: string | undefined;
  readonly at: number;
}

/** The messages and runs of one session, folded from its snapshot and events. */
export interface Transcript {
  /** In the order of the log. */
  readonly messages: ReadonlyMap<string, FoldedMessage>;
  readonly runs: ReadonlyMap<string, FoldedRun>;
  /** Calls that wait for an answer, oldest first. */
  readonly approvals: ReadonlyMap<string, Approval>;
  replace(snapshot: Snapshot): void;
  /** Takes each event once, in order. */
  apply(frame: EventFrame): Change;
}

const NOTHING: Change = { kind: "none" };
const GAP: Change = { kind: "gap" };

interface State {
  readonly messages: Map<string, FoldedMessage>;
  readonly runs: Map<string, FoldedRun>;
  readonly approvals: Map<string, Approval>;
}
type Folds = { [T in DurableEvent]?: (payload: DurablePayload<T>, frame: EventFrame) => Change };

export function createTranscript(): Transcript {
  const state: State = { messages: new Map(), runs: new Map(), approvals: new Map() };
  const folds = foldsOf(state);
  return {
    ...state,
    replace(snapshot) {
      state.messages.clear();
      state.runs.clear();
      state.approvals.clear();
      for (const message of snapshot.messages) put(state, message);
      for (const run of snapshot.runs) putRun(state, run);
      for (const approval of snapshot.approvals) state.approvals.set(approval.approval_id, approval);
    },
    apply(frame) {
      const fold = folds[frame.event as DurableEvent] as
        | ((payload: unknown, frame: EventFrame) => Change)
        | undefined;
      return fold === undefined ? NOTHING : fold(frame.payload, frame);
    },
  };
}

function put(
  { messages }: State,
  message: Omit<FoldedMessage, "parts" | "run_id"> & { parts?: Part[]; run_id?: string },
): FoldedMessage {
  const { message_id, role, status, content, run_id } = message;
  const parts = message.parts ?? [{ type: "text", text: content }];
  const folded = { message_id, role, status, run_id, parts: parts.map((part) => ({ ...part })), content };
  messages.set(message_id, folded);
  return folded;
}

function putRun({ runs }: State, run: FoldedRun): Change {
  const { run_id, status, error, finish_reason } = run;
  const folded = {
    run_id,
    status,
    ...(error && { error }),
    ...(finish_reason !== undefined && { finish_reason }),
  };
  runs.set(run_id, folded);
  return { kind: "run", run: folded };
}

/** What each event does to the state. */
function foldsOf(state: State): Folds {
  const { messages } = state;
  return {
    "message.created": ({ message }) => ({ kind: "message", message: put(state, message) }),
    "message.started": ({ message_id, role }, { run_id }) => {
      const message = put(state, {
        message_id,
        role,
        status: "streaming",
        content: "",
        parts: [],
        ...(run_id !== undefined && { run_id }),
      });
      return { kind: "message", message };
    },
    "message.delta": (delta) => {
      const message = messages.get(delta.message_id);
      if (message === undefined) return GAP;
      return message.status === "streaming" ? appendDelta(message, delta) : NOTHING;
    },
    "tool.call": ({ message_id, tool_call_id, name, arguments: args }) => {
      const message = messages.get(message_id);
      if (message === undefined) return GAP;
      if (message.status !== "streaming") return NOTHING;
      message.parts.push({ type: "tool_call", tool_call_id, name, arguments: args });
      return { kind: "tool_call", message_id, name, arguments: args };
    },
    "tool.approval_requested": ({ approval }) => {
      state.approvals.set(approval.approval_id, approval);
      return { kind: "approval", approval };
    },
    "tool.approval_resolved": ({ approval_id, decision, by }, { ts }) => {
      state.approvals.delete(approval_id);
      return { kind: "resolved", approval_id, decision, by, at: ts };
    },
    "tool.result": ({ message_id, tool_call_id, ok, content, truncated }, { run_id }) => {
      const parts: Part[] = [
        { type: "tool_result", tool_call_id, ok, ...(truncated !== undefined && { truncated }) },
      ];
      const message = put(state, {
        message_id,
        role: "tool",
        status: "complete",
        content,
        parts,
        ...(run_id !== undefined && { run_id }),
      });
      return { kind: "message", message };
    },
    "message.completed": ({ message: final, length, sha256, content_omitted }) => {
      const held = messages.get(final.message_id);
      const streamed = held === undefined || held.status !== "streaming" ? null : held.content;
      if (streamed === null && content_omitted === true) return GAP;
      if (streamed !== null && streamed.length !== length) return GAP;
      const whole =
        content_omitted === true && held ? { ...final, content: held.content, parts: held.parts } : final;
      return { kind: "completed", message: put(state, whole), streamed, length, sha256 };
    },
    "message.discarded": ({ message_id }) => {
      messages.delete(message_id);
      return { kind: "discarded", message_id };
    },
    "run.queued": ({ run }) => putRun(state, run),
    "run.started": ({ run_id }) => putRun(state, { run_id, status: "running" }),
    "run.completed": ({ run }) => putRun(state, run),
    "run.failed": ({ run }) => putRun(state, run),
    "run.aborted": ({ run }) => putRun(state, run),
    "run.interrupted": ({ run }) => putRun(state, run),
  };
}

function appendDelta(message: FoldedMessage, delta: DurablePayload<"message.delta">): Change {
  if (delta.part > message.parts.length) return GAP;
  const part = (message.parts[delta.part] ??= { type: delta.kind, text: "" });
  if (part.type !== "text" && part.type !== "reasoning") return GAP;
  if (delta.off > part.text.length) return GAP;
  // After a resume from inside a delta its beginning is known already.
  const text = delta.text.slice(part.text.length - delta.off);
  part.text += text;
  // Parts are written one after the other, so text always belongs at the end of the content.
  if (part.type === "text") message.content += text;
  return { kind: "text", message, part: part.type, text };
}
