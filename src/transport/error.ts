import { NotFoundError, ParseError, ValidationError } from "elysia";
import type { RequestMark } from "../core/call.ts";
import { newId } from "../core/id.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Asker } from "../core/stats.ts";
import { GatewayError } from "../protocol/errors.ts";

export interface ErrorDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly count: { error(error: GatewayError, asker: Asker): void };
}

/** A method's refusal on its way out: counted where it was made. */
export class MethodRefusal extends Error {
  readonly error: GatewayError;

  constructor(error: GatewayError) {
    super(error.message);
    this.error = error;
  }
}

/** What a caller may know of anything that was thrown: never a foreign message, never the input. Counted here. */
export function publicError(deps: ErrorDeps, error: unknown, mark?: RequestMark): GatewayError {
  if (error instanceof MethodRefusal) return error.error;
  const known = knownError(error) ?? bug(deps, error, mark);
  deps.count.error(known, {});
  return known;
}

function knownError(error: unknown): GatewayError | null {
  if (error instanceof GatewayError) return error;
  if (error instanceof NotFoundError) {
    return new GatewayError("NOT_FOUND", "no such path, or not with this verb: GET /docs lists them", {
      details: { kind: "path" },
    });
  }
  if (error instanceof ParseError || error instanceof ValidationError) {
    return new GatewayError("INVALID_REQUEST", "the request cannot be read: GET /docs says what is expected");
  }
  return null;
}

function bug(deps: ErrorDeps, error: unknown, mark: RequestMark | undefined): GatewayError {
  const id = newId("req", deps.clock.now());
  deps.log.error(
    { error_id: id, request_id: mark?.request_id, trace_id: mark?.trace?.trace_id, err: error },
    "a request failed unexpectedly",
  );
  return new GatewayError("INTERNAL_ERROR", `something went wrong; the log has it under ${id}`, {
    details: { id },
  });
}

/** `{"error":{…}}` with the error's HTTP status. */
export function errorResponse(error: GatewayError): Response {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (error.retry_after_ms !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(error.retry_after_ms / 1000)));
  }
  if (error.http === 401) headers["www-authenticate"] = 'Bearer realm="agentbus"';
  return new Response(JSON.stringify({ error: error.toBody() }), { status: error.http, headers });
}
