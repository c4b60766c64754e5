import type { Approval, EventRun, EventSession } from "../protocol/entities.ts";
import type { DurablePayload } from "../protocol/events.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { OpenMessage } from "./message.ts";
import { applyDelta, applyToolCall, startMessage } from "./message.ts";
import type { LoadedTail, SessionRow } from "./operation.ts";

/** Rough cost of an event in memory beside its payload, bytes. */
const EVENT_OVERHEAD = 160;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The recent events of one session and what they add up to: the published head, the session's state and the messages
 * being written. **The head of a session is its tail's head**: no reader is shown anything beyond it.
 */
export class Tail {
  /** Folded up to head. */
  readonly row: Mutable<SessionRow>;
  readonly open = new Map<string, OpenMessage>();
  readonly approvals = new Map<string, Approval>();
  #events: StoredEvent[] = [];
  #from = 0;
  #bytes = 0;
  #waiting: { seq: number; wake: () => void }[] = [];

  constructor(loaded: LoadedTail) {
    this.row = { ...loaded.session };
    for (const text of loaded.approvals) {
      const approval = JSON.parse(text) as Approval;
      this.approvals.set(approval.approval_id, approval);
    }
    for (const { row, events } of loaded.open) {
      const parsed = JSON.parse(row.data) as OpenMessage["message"];
      const message = { ...parsed, parts: parsed.parts ?? [] };
      this.open.set(row.message_id, { seq: row.seq, message });
      for (const event of events) this.#foldOpen(event);
    }
  }

  get epoch(): string {
    return this.row.epoch;
  }
  get head(): number {
    return this.row.head;
  }
  get floor(): number {
    return this.row.floor;
  }
  /** Events held, and what they weigh in memory (bytes, roughly). */
  get size(): number {
    return this.#events.length - this.#from;
  }
  get bytes(): number {
    return this.#bytes;
  }
  /** Seq of the oldest event held; head + 1 when there is none. */
  get first(): number {
    return this.head + 1 - this.size;
  }

  /** Takes the next event. Asserts that nothing is left out. */
  push(event: StoredEvent): void {
    if (event.seq !== this.head + 1) {
      throw new Error(`tail of ${this.row.id}: seq ${event.seq} after head ${this.head}`);
    }
    this.#events.push(event);
    this.#bytes += weigh(event);
    this.row.head = event.seq;
    this.row.updated_at = event.ts;
    this.#fold(event);
    this.#wake();
  }

  /** Drops the oldest events until both bounds hold. */
  shrink(max_events: number, max_bytes: number): void {
    while (this.size > 0 && (this.size > max_events || this.#bytes > max_bytes)) {
      const event = this.#events[this.#from];
      if (event !== undefined) this.#bytes -= weigh(event);
      this.#from++;
    }
    if (this.#from > 256 && this.#from * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#from);
      this.#from = 0;
    }
  }

  /**
   * Events after a cursor the tail reaches back to (first <= after + 1), at most `max_events` and `max_bytes`, one larger
   * event alone; `all` when they end at the head.
   */
  read(after: number, max_events: number, max_bytes: number): { events: StoredEvent[]; all: boolean } {
    const events: StoredEvent[] = [];
    let bytes = 0;
    for (let i = this.#from + (after + 1 - this.first); i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event === undefined) break;
      bytes += weigh(event);
      if (events.length > 0 && (events.length >= max_events || bytes > max_bytes))
        return { events, all: false };
      events.push(event);
    }
    return { events, all: true };
  }

  /** Resolves when head >= seq. */
  reached(seq: number): Promise<void> {
    if (this.head >= seq) return Promise.resolve();
    return new Promise((wake) => this.#waiting.push({ seq, wake }));
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    const head = this.head;
    const ready = this.#waiting.filter((each) => each.seq <= head);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((each) => each.seq > head);
    for (const each of ready) each.wake();
  }

  #fold(event: StoredEvent): void {
    const row = this.row;
    switch (event.type) {
      case "message.delta":
      case "tool.call":
        this.#foldOpen(event);
        return;
      case "message.created":
      case "tool.result":
        row.message_count++;
        return;
      case "message.started": {
        const payload = JSON.parse(event.payload) as DurablePayload<"message.started">;
        this.open.set(payload.message_id, { seq: event.seq, message: startMessage(payload, event) });
        row.message_count++;
        return;
      }
      case "message.completed":
        this.open.delete(
          (JSON.parse(event.payload) as DurablePayload<"message.completed">).message.message_id,
        );
        return;
      case "message.discarded":
        if (this.open.delete((JSON.parse(event.payload) as { message_id: string }).message_id))
          row.message_count--;
        return;
      case "session.created":
      case "session.updated":
        this.#foldSession((JSON.parse(event.payload) as { session: EventSession }).session);
        return;
      case "run.started":
        row.active_run_id = event.run_id;
        return;
      case "run.completed":
      case "run.failed":
      case "run.aborted":
      case "run.interrupted":
        if (row.active_run_id === (JSON.parse(event.payload) as { run: EventRun }).run.run_id)
          row.active_run_id = null;
        return;
      case "tool.approval_requested": {
        const { approval } = JSON.parse(event.payload) as { approval: Approval };
        this.approvals.set(approval.approval_id, approval);
        return;
      }
      case "tool.approval_resolved":
        this.approvals.delete((JSON.parse(event.payload) as { approval_id: string }).approval_id);
        return;
    }
  }

  #foldOpen(event: StoredEvent): void {
    const payload = JSON.parse(event.payload) as { message_id: string };
    const open = this.open.get(payload.message_id);
    if (open === undefined) return;
    if (event.type === "tool.call") applyToolCall(open.message, payload as DurablePayload<"tool.call">);
    else applyDelta(open.message, payload as DurablePayload<"message.delta">);
  }

  #foldSession(session: EventSession): void {
    const row = this.row;
    row.title = session.title;
    row.model = session.model ?? null;
    row.system_prompt = session.system_prompt ?? null;
    row.metadata = JSON.stringify(session.metadata);
    row.archived = session.archived;
  }
}

function weigh(event: StoredEvent): number {
  return event.payload.length + EVENT_OVERHEAD;
}
