import type { GatewayError } from "../protocol/errors.ts";
import type { Connection } from "./connections.ts";
import type { RowChange } from "./operation.ts";
import type { Principal } from "./principal.ts";
import type { TraceContext } from "./trace.ts";

/** What a request is called in logs and traces. */
export interface RequestMark {
  readonly request_id: string;
  /** What it came with; else that of the first method it runs, so that all of them are one trace. */
  trace: TraceContext | null;
}

/** What is asked. */
export interface Asked {
  readonly method: string;
  readonly params: unknown;
  /** Where the caller makes several. */
  readonly id?: string;
  readonly traceparent?: string;
}

/** What another node passed on. */
export interface Relayed {
  /** The idempotency key where the caller gave none: what it does is done once, however often it is carried out. */
  readonly id: string;
  /** The ids of what it makes: whoever asked knows them. */
  readonly message_id: string;
  readonly run_id: string;
  /** Its effect is in the journal's queue. */
  readonly entered: () => void;
  /**
   * On what it acts, by ids: settled when it is carried out for the first time, and the same where that is done again, by whichever
   * node. @throws GatewayError UNAVAILABLE
   */
  readonly settle: (ids: readonly string[]) => Promise<readonly string[]>;
}

/** One request, as the method layer sees it: no transport, only who asks and where an answer goes. */
export interface Caller {
  readonly principal: Principal;
  readonly transport: "ws" | "sse" | "rest" | "local";
  readonly client_id: string;
  readonly remote: string;
  /** The socket it came on; null for REST, which cannot be subscribed. */
  readonly connection: Connection | null;
  /** Aborted when the caller is gone; only reads and waits may stop for it, never an accepted effect. */
  readonly signal: AbortSignal;
  /** Of the one request it makes; absent: it makes several, and each of them says it. */
  readonly mark?: RequestMark;
  /** Set where another node was asked. */
  readonly relayed?: Relayed;
  /**
   * What is written besides the effect of the request, in its transaction: made from what is remembered of it. Not called, or
   * for nothing, where another node carries it out.
   */
  readonly besides?: (
    remember: Readonly<Record<string, unknown>>,
    session_id: string,
  ) => readonly RowChange[];
}

export type Outcome =
  | { readonly ok: true; readonly payload: unknown }
  /** A payload that is JSON text already (a snapshot made once for many). */
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly error: GatewayError };

/** What a method answered with. */
export function payloadOf(outcome: Extract<Outcome, { readonly ok: true }>): unknown {
  return "text" in outcome ? (JSON.parse(outcome.text) as unknown) : outcome.payload;
}

/**
 * Runs a method. `answer` is called exactly once, for journaled methods inside the block that publishes their events,
 * so the answer is the first thing a reader learns of its own request. Never throws.
 */
export type Dispatch = (caller: Caller, request: Asked, answer: (outcome: Outcome) => void) => void;
