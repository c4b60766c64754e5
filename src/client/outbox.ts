import type { ResponseFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import { ConnectionError, toClientError } from "./error.ts";

/** Exactly one of the two comes, synchronously with the frame it was read from. */
export interface Answered {
  ok(payload: unknown): void;
  failed(error: ClientError): void;
}

interface Entry {
  readonly id: string;
  readonly method: string;
  readonly text: string;
  /** It carries an idempotency key, so it may be sent again. */
  readonly keyed: boolean;
  /** What it is counted with. */
  readonly lane: "waits" | "others" | "always";
  sent: boolean;
  /** The gateway is about to stop and did nothing of it: it is for the next connection, or a later try. */
  held: boolean;
  /** Null once nobody waits; the entry stays while the gateway still works on it. */
  answered: Answered | null;
}

/** The gateway runs these whatever else is in flight. */
const ALWAYS_PASS: ReadonlySet<string> = new Set(["chat.abort", "heartbeat", "disconnect"]);
const WAITS_IN_FLIGHT = 32;
/** What is held is sent again after so long where the connection stays: over HTTP the next gateway may answer on it. */
const HELD_MS = 1_000;

/** Requests until they are answered: keeps within what the gateway takes at once and knows what a lost socket means. */
export class Outbox {
  readonly #entries = new Map<string, Entry>();
  #last_id = 0;
  #send: ((text: string) => void) | null = null;
  #max_in_flight = 0;
  #release: ReturnType<typeof setTimeout> | undefined;

  /** Sends as soon as there is a connection and room. The answer takes it back, where it can still be taken back. */
  add(method: string, params: Record<string, unknown>, answered: Answered): () => void {
    const id = String(++this.#last_id);
    const text = JSON.stringify({ type: "req", id, method, params });
    const keyed = typeof params["idempotency_key"] === "string";
    const lane = method === "run.wait" ? "waits" : ALWAYS_PASS.has(method) ? "always" : "others";
    const entry: Entry = { id, text, keyed, method, lane, sent: false, held: false, answered };
    this.#entries.set(id, entry);
    this.#pump();
    return () => {
      entry.answered = null;
      if (!entry.sent) this.#entries.delete(id);
    };
  }

  /** A connection is there: sends what waits, and again what may be sent again. */
  attach(send: (text: string) => void, max_in_flight: number): void {
    this.#send = send;
    this.#max_in_flight = max_in_flight;
    this.#goOn();
  }

  /** The connection is gone. Requests that were sent and carry no key fail with CLOSED: their outcome is open. */
  detach(): void {
    this.#send = null;
    this.#stay();
    for (const entry of this.#entries.values()) {
      if (!entry.sent) continue;
      entry.sent = false;
      if (entry.keyed && entry.answered !== null) continue;
      const lost = `the connection was lost before ${entry.method} was answered: its outcome is open`;
      this.#settle(entry, (answered) => answered.failed(new ConnectionError("CLOSED", lost)));
    }
  }

  /** There will be no connection any more. */
  fail(error: ClientError): void {
    this.#send = null;
    this.#stay();
    for (const entry of this.#entries.values()) this.#settle(entry, (answered) => answered.failed(error));
  }

  /** Whether an answer is waited for. */
  get expecting(): boolean {
    for (const { sent } of this.#entries.values()) if (sent) return true;
    return false;
  }

  /** What a gateway that stops refuses is kept for the one after it, where it carries a key. */
  receive(frame: ResponseFrame): void {
    const entry = this.#entries.get(frame.id);
    if (entry === undefined) return;
    const { error } = frame;
    if (entry.keyed && entry.answered !== null && isDraining(error)) {
      entry.sent = false;
      entry.held = true;
      this.#release ??= setTimeout(() => this.#goOn(), error?.retry_after_ms ?? HELD_MS);
      return this.#pump();
    }
    this.#settle(entry, (answered) => {
      if (frame.ok || error === undefined) answered.ok(frame.payload);
      else answered.failed(toClientError(error));
    });
    this.#pump();
  }

  /** What was held is sent. */
  #goOn(): void {
    this.#stay();
    for (const entry of this.#entries.values()) entry.held = false;
    this.#pump();
  }

  #stay(): void {
    clearTimeout(this.#release);
    this.#release = undefined;
  }

  #settle(entry: Entry, tell: (answered: Answered) => void): void {
    this.#entries.delete(entry.id);
    if (entry.answered !== null) tell(entry.answered);
  }

  #pump(): void {
    if (this.#send === null) return;
    const room = { waits: WAITS_IN_FLIGHT, others: this.#max_in_flight, always: Number.POSITIVE_INFINITY };
    const entries = [...this.#entries.values()];
    for (const { sent, lane } of entries) if (sent) room[lane]--;
    for (const entry of entries) {
      if (entry.sent || entry.held || room[entry.lane] <= 0) continue;
      room[entry.lane]--;
      entry.sent = true;
      this.#send(entry.text);
    }
  }
}

function isDraining(error: ResponseFrame["error"]): boolean {
  return (
    error?.code === "UNAVAILABLE" && (error.details as { kind?: unknown } | undefined)?.kind === "draining"
  );
}
