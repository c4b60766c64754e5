import type { ErrorBody, ErrorCode } from "../protocol/errors.ts";

/**
 * What went wrong: a code of the gateway's own table, or one of the client's.
 * UNREACHABLE: no gateway answers there. CLOSED: the connection ended before the answer, so the outcome of a request
 * that changes something is open. ABORTED: the caller's signal, or disconnect().
 */
export type ClientErrorCode = ErrorCode | "UNREACHABLE" | "CLOSED" | "ABORTED";

export class ClientError extends Error {
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
    this.name = "ClientError";
    this.code = code;
    this.details = more.details ?? {};
    this.retryable = more.retryable ?? false;
    this.retry_after_ms = more.retry_after_ms;
  }
}

/** The error of a `res` frame or of a REST answer. */
export function toClientError(body: ErrorBody): ClientError {
  const { details, retryable, retry_after_ms } = body;
  // A newer gateway may know codes this client does not.
  return new ClientError(body.code as ErrorCode, body.message, { details, retryable, retry_after_ms });
}
