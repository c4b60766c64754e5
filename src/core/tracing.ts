import type { GatewayError } from "../protocol/errors.ts";
import type { Caller, RequestMark } from "./call.ts";
import type { TraceContext } from "./trace.ts";
import { traceparentOf } from "./trace.ts";

/** A request that is traced. */
export interface TracedRequest {
  /** What it causes hangs below this. */
  readonly context: TraceContext;
  /** It is answered: with an error, or null. Called once. */
  end(error: GatewayError | null): void;
}

/** A call that leaves the gateway for a run. */
export type Outgoing = { readonly kind: "model" } | { readonly kind: "tool"; readonly tool_call_id: string };

/** A webhook is posted something. */
export interface Posting {
  readonly webhook_id: string;
  /** That of the event. */
  readonly type: string;
  /** The run that wrote it; null: none. */
  readonly run_id: string | null;
}

export interface TracedPosting {
  readonly traceparent: string;
  /** With what it was answered; null: it was not. */
  end(status: number | null): void;
}

/**
 * What the engine tells whoever traces it, at the moment it happens; everything else of a run is in its events. Nothing of
 * it waits or throws.
 */
export interface Tracing {
  /** A request begins; null: it is not traced, and what it causes hangs below what it came with. */
  request(method: string, caller: Caller, mark: RequestMark): TracedRequest | null;
  /** A run is accepted. `parent`: of the request that asked for it. */
  run(run_id: string, session_id: string, parent: TraceContext | null): void;
  /** The `traceparent` for a call that is made now; null: it gets none. */
  outgoing(run_id: string, call: Outgoing): string | null;
  /** A webhook is posted something now: below the run that wrote it, where that is known. Null: it gets no `traceparent`. */
  delivery(posting: Posting): TracedPosting | null;
  /** It is over; of it others may still be told. */
  ended(run_id: string): void;
}

/** Runs that are over and whose place is remembered, for what others are told of them afterwards. */
const ENDED_KEPT = 1_000;

/** Where runs that are over belonged, the newest of them. */
export class EndedRuns<T> {
  readonly #all = new Map<string, T>();

  add(run_id: string, place: T): void {
    this.#all.set(run_id, place);
    const [oldest] = this.#all.keys();
    if (this.#all.size > ENDED_KEPT && oldest !== undefined) this.#all.delete(oldest);
  }

  get(run_id: string): T | undefined {
    return this.#all.get(run_id);
  }
}

/** Makes no spans: passes on what came in, so that others can join what they made. */
export class PassedTraces implements Tracing {
  readonly #parents = new Map<string, string>();
  readonly #ended = new EndedRuns<string>();

  request(): null {
    return null;
  }
  run(run_id: string, _session_id: string, parent: TraceContext | null): void {
    if (parent !== null) this.#parents.set(run_id, traceparentOf(parent));
  }
  outgoing(run_id: string): string | null {
    return this.#parents.get(run_id) ?? null;
  }
  delivery({ run_id }: Posting): TracedPosting | null {
    const traceparent = this.#parents.get(run_id ?? "") ?? this.#ended.get(run_id ?? "");
    return traceparent === undefined ? null : { traceparent, end: () => undefined };
  }
  ended(run_id: string): void {
    const parent = this.#parents.get(run_id);
    if (parent === undefined) return;
    this.#parents.delete(run_id);
    this.#ended.add(run_id, parent);
  }
}
