import type { Approval, EventMessage, EventRun, TerminalStatus, Usage } from "../protocol/entities.ts";
import type { ErrorBody } from "../protocol/errors.ts";
import { newId } from "./id.ts";
import { contentOf } from "./message.ts";
import type { Covers, NewEvent, RowChange } from "./operation.ts";
import { addDecision, addToolResult } from "./tool-events.ts";

/** What a model is told of a call whose tool did not answer before its run ended: it may have done what it does. */
const UNKNOWN_OUTCOME = "unknown outcome";

/** How a run ends. */
export interface Ending {
  readonly status: TerminalStatus;
  readonly finish_reason?: string;
  readonly error?: ErrorBody;
  /** Who stopped it: a user's name. */
  readonly ended_by?: string;
  /** Why, where nobody and no error says it: "restart", "shutdown", "interrupt". */
  readonly reason?: string;
}

/** How a message is completed. */
export interface CompletionContext {
  readonly at: number;
  readonly run: Pick<EventRun, "run_id">;
  /** Of the model's call that wrote it. */
  readonly usage?: Usage | undefined;
  /** What the message is a summary of, where it is one and becomes complete. */
  readonly covers?: Covers | undefined;
  readonly sha256: (text: string) => string;
  readonly inline_bytes: number;
  readonly lengthUtf8: (text: string) => number;
}

export interface EndContext extends CompletionContext {
  readonly run: EventRun;
  /** The session's gateway id. */
  readonly session: string;
  /** Calls that were made and have no result. */
  readonly unanswered: readonly string[];
  /** Approvals that nobody answered. */
  readonly approvals: readonly Approval[];
  /** Messages being written, oldest first, with all their text. */
  readonly open: readonly EventMessage[];
  /** Deltas that were not appended yet, and the rows that go with them. */
  readonly deltas: readonly NewEvent[];
  readonly rows: readonly RowChange[];
  /** Of all the run's calls of the model. */
  readonly run_usage?: Usage | undefined;
}

/**
 * The one operation that ends a run, from whichever cause: results of calls that have none, approvals that nobody
 * answered, remaining deltas, messages completed, run.<terminal>.
 */
export function endOf(
  ending: Ending,
  context: EndContext,
): { events: NewEvent[]; rows: RowChange[]; run: EventRun } {
  const { at, run } = context;
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  const moment = { ts: at, run_id: run.run_id };
  for (const tool_call_id of context.unanswered) {
    const result = { tool_call_id, ok: false, content: UNKNOWN_OUTCOME };
    addToolResult({ events, rows }, moment, { message_id: newId("msg", at), ...result });
  }
  for (const approval of context.approvals) {
    addDecision({ events, rows }, moment, context.session, { ...approval, decision: "expired" });
  }
  const before = events.length;
  for (const row of context.rows) rows.push("event" in row ? { ...row, event: row.event + before } : row);
  events.push(...context.deltas);
  const status = ending.status === "completed" ? "complete" : "partial";
  for (const open of context.open) {
    const done = completed({ ...open, status }, context);
    events.push(done.event);
    rows.push(done.row);
  }
  const last = context.open.at(-1);
  const ended: EventRun = {
    ...run,
    status: ending.status,
    ...(last !== undefined && { message_id: last.message_id }),
    ...(context.run_usage !== undefined && { usage: context.run_usage }),
    ...(ending.error !== undefined && { error: ending.error }),
    ...(ending.finish_reason !== undefined && { finish_reason: ending.finish_reason }),
    ...(ending.ended_by !== undefined && { ended_by: ending.ended_by }),
    ...(ending.reason !== undefined && { reason: ending.reason }),
    ended_at: at,
  };
  const data = JSON.stringify(ended);
  events.push({ type: `run.${ending.status}`, ts: at, run_id: run.run_id, payload: `{"run":${data}}` });
  rows.push({ kind: "run.put", run_id: run.run_id, status: ending.status, created_at: run.created_at, data });
  return { events, rows, run: ended };
}

/** The event and the row that fill a message; a long one leaves its text to the fold, which has it. */
export function completed(
  message: EventMessage,
  context: CompletionContext,
): { event: NewEvent; row: RowChange } {
  const parts = message.parts ?? [];
  const content = contentOf(parts);
  const { usage } = context;
  const whole: EventMessage = { ...message, ...(usage !== undefined && { usage }), content, parts };
  const data = JSON.stringify(whole);
  const length = content.length;
  const sha256 = context.sha256(content);
  const said = parts.reduce((sum, part) => sum + ("text" in part ? context.lengthUtf8(part.text) : 0), 0);
  const omit = said > context.inline_bytes;
  const bare = {
    ...whole,
    content: "",
    parts: parts.map((part) => ("text" in part ? { ...part, text: "" } : part)),
  };
  const payload = omit
    ? `{"message":${JSON.stringify(bare)},"length":${length},"sha256":"${sha256}","content_omitted":true}`
    : `{"message":${data},"length":${length},"sha256":"${sha256}"}`;
  return {
    event: { type: "message.completed", ts: context.at, run_id: context.run.run_id, payload },
    row: {
      kind: "message.done",
      message_id: message.message_id,
      status: message.status === "complete" ? "complete" : "partial",
      data,
      ...(message.status === "complete" && context.covers !== undefined && { covers: context.covers }),
    },
  };
}
