import type { Limits } from "../core/limits.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { RequestFrame } from "../protocol/frames.ts";

type Lane = "plain" | "wait" | "free";

/** What must get through however busy a connection is: it ends work, or proves that the peer lives. */
const ALWAYS: ReadonlySet<string> = new Set(["connect", "disconnect", "heartbeat", "chat.abort"]);
/** How soon a refused request may be tried again: about one answer's time. */
const RETRY_MS = 100;

/** The requests of one connection that are not answered yet, by id. */
export class InFlight {
  readonly #limits: Limits;
  readonly #lanes = new Map<string, Lane>();
  #plain = 0;
  #waits = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Takes a place until `leave`; the error, where the id is in use or there is none. */
  enter(id: string, method: string): GatewayError | null {
    if (this.#lanes.has(id)) {
      return new GatewayError(
        "CONFLICT",
        "a request with this id is in flight: give every request its own id",
        {
          details: { kind: "id" },
        },
      );
    }
    const lane: Lane = method === "run.wait" ? "wait" : ALWAYS.has(method) ? "free" : "plain";
    if (lane === "plain") {
      if (this.#plain >= this.#limits.in_flight) return this.full("in_flight");
      this.#plain++;
    } else if (lane === "wait") {
      if (this.#waits >= this.#limits.waits_in_flight) return this.full("waits_in_flight");
      this.#waits++;
    }
    this.#lanes.set(id, lane);
    return null;
  }

  leave(id: string): void {
    const lane = this.#lanes.get(id);
    if (lane === "plain") this.#plain--;
    else if (lane === "wait") this.#waits--;
    this.#lanes.delete(id);
  }

  full(what: "in_flight" | "waits_in_flight"): GatewayError {
    return new GatewayError("RATE_LIMITED", "too many requests in flight: wait for an answer first", {
      details: { kind: "in_flight" },
      limit: { what, limit: this.#limits[what] },
      retry_after_ms: RETRY_MS,
    });
  }
}

/** Requests that came while their connection's credential was still being checked; bounded in bytes. */
export class Held {
  readonly #maxBytes: number;
  #frames: RequestFrame[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** False where it no longer fits. */
  add(frame: RequestFrame, bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    this.#frames.push(frame);
    return true;
  }

  /** All of them, in the order they came; none is left. */
  take(): readonly RequestFrame[] {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    return frames;
  }
}

const WINDOW_MS = 60_000;

/** Frames that were not requests, a minute at a time. */
export class BadFrames {
  readonly #max: number;
  #count = 0;
  #since = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts one, at a monotonic time; true: that was one too many. */
  add(now: number): boolean {
    if (this.#count === 0 || now - this.#since >= WINDOW_MS) {
      this.#count = 0;
      this.#since = now;
    }
    this.#count++;
    return this.#count >= this.#max;
  }
}
