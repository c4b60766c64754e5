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
  /** It is over; nothing more is asked about it. */
  ended(run_id: string): void;
}

/** Makes no spans: passes on what came in, so that others can join what they made. */
export class PassedTraces implements Tracing {
  readonly #parents = new Map<string, string>();

  request(): null {
    return null;
  }
  run(run_id: string, _session_id: string, parent: TraceContext | null): void {
    if (parent !== null) this.#parents.set(run_id, traceparentOf(parent));
  }
  outgoing(run_id: string): string | null {
    return this.#parents.get(run_id) ?? null;
  }
  ended(run_id: string): void {
    this.#parents.delete(run_id);
  }
}
