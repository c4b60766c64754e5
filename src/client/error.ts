import type { ErrorBody, ErrorCode } from "../protocol/errors.ts";

/**
 * What went wrong: a code of the gateway's own table, or one of the client's.
 * UNREACHABLE: no gateway answers there. CLOSED: the connection ended before the answer, so the outcome of a request
 * that changes something is open. ABORTED: the caller's signal, or disconnect().
 */
export type ClientErrorCode = ErrorCode | "UNREACHABLE" | "CLOSED" | "ABORTED";

export class ClientError extends Error {
  override readonly name: string = "ClientError";
  readonly code: ClientErrorCode;
  readonly details: Record<string, unknown>;
  /** The same request may succeed later. */
  readonly retryable: boolean;
  readonly retry_after_ms: number | undefined;

  constructor(
    code: ClientErrorCode,
    message: string,
    more: {
      details?: Record<string, unknown> | undefined;
      retryable?: boolean;
      retry_after_ms?: number | undefined;
    } = {},
  ) {
    super(message);
    this.code = code;
    this.details = more.details ?? {};
    this.retryable = more.retryable ?? false;
    this.retry_after_ms = more.retry_after_ms;
  }
}

/** The gateway said so. */
export class GatewayError extends ClientError {
  override readonly name = "GatewayError";
}

/** There is no connection, or it ended before the answer: UNREACHABLE or CLOSED. */
export class ConnectionError extends ClientError {
  override readonly name = "ConnectionError";

  constructor(code: "UNREACHABLE" | "CLOSED", message: string, retryable = true) {
    super(code, message, { retryable });
  }
}

/** No answer came in time. Whether the gateway did what was asked is open. */
export class TimeoutError extends ClientError {
  override readonly name = "TimeoutError";

  constructor(message: string) {
    super("TIMEOUT", message, { retryable: true });
  }
}

/** The caller's signal, or disconnect(). Named as what fetch throws. */
export class AbortedError extends ClientError {
  override readonly name = "AbortError";

  constructor(message = "the caller stopped waiting") {
    super("ABORTED", message);
  }
}

/** The error of a `res` frame or of a REST answer. */
export function toClientError(body: ErrorBody): GatewayError {
  const { details, retryable, retry_after_ms } = body;
  // A newer gateway may know codes this client does not.
  return new GatewayError(body.code as ErrorCode, body.message, { details, retryable, retry_after_ms });
}
