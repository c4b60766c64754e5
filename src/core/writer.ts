import type { EventMessage, Part } from "../protocol/entities.ts";
import type { Limits } from "./limits.ts";
import { applyToolCall, contentOf } from "./message.ts";
import type { NewEvent, RowChange } from "./operation.ts";
import type { Clock, ToolCall } from "./ports.ts";

interface Pending {
  readonly part: number;
  readonly kind: "text" | "reasoning";
  readonly off: number;
  text: string;
}

export interface WriterOptions {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly run_id: string;
  readonly message_id: string;
  readonly role: "assistant" | "system";
  readonly model: string;
  /** Whether something of the run is not committed yet; `committed` is called when that is over. */
  readonly busy: () => boolean;
  /** Appends to the log, in order; not acknowledged, so without an fsync of its own. */
  readonly append: (events: NewEvent[], rows: RowChange[]) => void;
}

/**
 * Writes one message of the model's: gathers what the model says into deltas. A delta that comes a window or more after the
 * last flush of its part leaves at once, others at the end of the window or when there are 4 KB.
 */
export class MessageWriter {
  readonly message: EventMessage & { parts: Part[] };
  readonly #options: WriterOptions;
  #pending: Pending | null = null;
  #flushed = Number.NEGATIVE_INFINITY;
  #started = false;
  #cancel: (() => void) | null = null;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.message = {
      message_id: options.message_id,
      role: options.role,
      status: "streaming",
      content: "",
      parts: [],
      run_id: options.run_id,
      model: options.model,
      timestamp: options.clock.now(),
      metadata: {},
    };
  }

  /** Text that is well-formed and not empty. */
  push(kind: "text" | "reasoning", text: string): void {
    const part = this.#part(kind);
    const off = part.text.length;
    part.text += text;
    if (this.#pending === null) this.#pending = { part: this.message.parts.length - 1, kind, off, text };
    else this.#pending.text += text;
    this.#pace();
  }

  /** What the run appended is committed: what was gathered meanwhile may go. */
  committed(): void {
    this.#pace();
  }

  /**
   * While something of the run is uncommitted the next delta would only wait behind it, so it goes on gathering: a log
   * that is slow gets fewer and larger deltas, not a longer queue.
   */
  #pace(): void {
    const { clock, limits, busy } = this.#options;
    if (this.#pending === null) return;
    if (this.#pending.text.length >= limits.delta_bytes) return this.flush();
    if (busy()) return;
    const wait = this.#flushed + limits.delta_window_ms - clock.monotonic();
    if (wait <= 0) return this.flush();
    this.#cancel ??= clock.after(wait, () => {
      this.#cancel = null;
      this.#pace();
    });
  }

  /** The part that is being written; another kind begins another one. */
  #part(kind: "text" | "reasoning"): { text: string } {
    const { parts } = this.message;
    const last = parts.at(-1);
    if (last !== undefined && last.type === kind && "text" in last) return last;
    this.flush();
    this.#flushed = Number.NEGATIVE_INFINITY;
    const part = { type: kind, text: "" };
    parts.push(part);
    return part;
  }

  /** Appends what is gathered. */
  flush(): void {
    const events = this.#take();
    if (events.length === 0) return;
    this.#options.append(events, this.#startRows(events));
  }

  #take(): NewEvent[] {
    this.#cancel?.();
    this.#cancel = null;
    const pending = this.#pending;
    if (pending === null) return [];
    this.#pending = null;
    this.#flushed = this.#options.clock.monotonic();
    const events: NewEvent[] = [];
    if (!this.#started) events.push(this.#event("message.started", this.#startPayload()));
    events.push(
      this.#event("message.delta", JSON.stringify({ message_id: this.message.message_id, ...pending })),
    );
    return events;
  }

  /**
   * Hands over what was not appended yet, for the operation that ends the run. A message that said nothing at all is
   * started all the same.
   */
  finish(): { events: NewEvent[]; rows: RowChange[] } {
    const events = this.#take();
    if (!this.#started && events.length === 0)
      events.push(this.#event("message.started", this.#startPayload()));
    return { events, rows: this.#startRows(events) };
  }

  /** As finish, with the tools that are called as the last parts of the message. */
  finishWith(calls: readonly ToolCall[]): { events: NewEvent[]; rows: RowChange[]; message: EventMessage } {
    const { events, rows } = this.finish();
    const { message_id } = this.message;
    for (const { tool_call_id, name, arguments: args, extra } of calls) {
      const more = extra === undefined ? {} : { extra };
      const call = { message_id, tool_call_id, name, arguments: args, ...more };
      applyToolCall(this.message, call);
      events.push(this.#event("tool.call", JSON.stringify(call)));
    }
    return { events, rows, message: this.message };
  }

  /** Nothing more of it is written. How long its content is in the log; null: nothing of it is there. */
  abandon(): number | null {
    this.#cancel?.();
    this.#cancel = null;
    const unsaid = this.#pending?.kind === "text" ? this.#pending.text.length : 0;
    this.#pending = null;
    return this.#started ? contentOf(this.message.parts).length - unsaid : null;
  }

  #startRows(events: readonly NewEvent[]): RowChange[] {
    if (this.#started) return [];
    this.#started = true;
    const { message_id, role, status, run_id } = this.message;
    const data = JSON.stringify({ ...this.message, parts: [] });
    const event = events.findIndex((each) => each.type === "message.started");
    return [{ kind: "message.put", event, message_id, role, status, run_id: run_id ?? null, data }];
  }

  #startPayload(): string {
    const { message_id, role, model } = this.message;
    return JSON.stringify({ message_id, role, model });
  }

  #event(type: string, payload: string): NewEvent {
    return { type, ts: this.#options.clock.now(), run_id: this.#options.run_id, payload };
  }
}
