import type { EventMessage, EventRun, TerminalStatus, Usage } from "../protocol/entities.ts";
import type { ErrorBody } from "../protocol/errors.ts";
import { contentOf } from "./message.ts";
import type { Covers, NewEvent, RowChange } from "./operation.ts";

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

export interface EndContext {
  readonly at: number;
  readonly run: EventRun;
  /** Messages being written, oldest first, with all their text. */
  readonly open: readonly EventMessage[];
  /** Deltas that were not appended yet. */
  readonly deltas: readonly NewEvent[];
  readonly usage?: Usage;
  /** What the message is a summary of, where it is one and becomes complete. */
  readonly covers?: Covers;
  readonly sha256: (text: string) => string;
  readonly inline_bytes: number;
  readonly lengthUtf8: (text: string) => number;
}

/** The one operation that ends a run, from whichever cause: remaining deltas, messages completed, run.<terminal>. */
export function endOf(
  ending: Ending,
  context: EndContext,
): { events: NewEvent[]; rows: RowChange[]; run: EventRun } {
  const { at, run } = context;
  const events: NewEvent[] = [...context.deltas];
  const rows: RowChange[] = [];
  const status = ending.status === "completed" ? "complete" : "partial";
  for (const open of context.open) {
    const done = completed({ ...open, status, ...(context.usage && { usage: context.usage }) }, context);
    events.push(done.event);
    rows.push(done.row);
  }
  const last = context.open.at(-1);
  const ended: EventRun = {
    ...run,
    status: ending.status,
    ...(last !== undefined && { message_id: last.message_id }),
    ...(context.usage !== undefined && { usage: context.usage }),
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
function completed(message: EventMessage, context: EndContext): { event: NewEvent; row: RowChange } {
  const parts = message.parts ?? [];
  const content = contentOf(parts);
  const whole: EventMessage = { ...message, content, parts };
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
