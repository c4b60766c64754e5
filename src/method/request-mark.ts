import type { Asked, Caller, RequestMark } from "../core/call.ts";
import { newId } from "../core/id.ts";
import type { Clock, Logger } from "../core/ports.ts";
import { readTraceparent } from "../core/trace.ts";
import { GatewayError } from "../protocol/errors.ts";

/** What a request is called: as its transport said, or as its frame does. */
export function markOf(caller: Caller, { id, traceparent }: Asked, clock: Clock): RequestMark {
  if (caller.mark !== undefined) return caller.mark;
  return { request_id: id ?? newId("req", clock.now()), trace: readTraceparent(traceparent) };
}

export interface Failed {
  readonly method: string;
  readonly caller: Caller;
  readonly mark: RequestMark;
}

/** What the caller may know of an error: everything of ours, of anything else only an id that is in the log. */
export function publicError(
  { clock, log }: { readonly clock: Clock; readonly log: Logger },
  { method, caller, mark }: Failed,
  error: unknown,
): GatewayError {
  if (error instanceof GatewayError) return error;
  const id = newId("req", clock.now());
  const { request_id, trace } = mark;
  const joins = { request_id, connection_id: caller.connection?.id, trace_id: trace?.trace_id };
  log.error({ method, error_id: id, ...joins, err: error }, "a method failed unexpectedly");
  return new GatewayError("INTERNAL_ERROR", `something went wrong; the log has it under ${id}`, {
    details: { id },
  });
}
