import type { Static } from "@sinclair/typebox";
import { Type } from "@sinclair/typebox";

/**
 * The closed table of everything that can go wrong on the wire.
 * `http` is the REST status, `status` the number in the error body, `close` the socket's close code where the
 * error ends the connection. Codes are stable; messages are not.
 */
export const ERRORS = {
  INVALID_REQUEST: { http: 400, status: 4000, close: 4000, retryable: false },
  UNAUTHORIZED: { http: 401, status: 4001, close: 4001, retryable: false },
  FORBIDDEN: { http: 403, status: 4003, close: 4003, retryable: false },
  NOT_FOUND: { http: 404, status: 4004, close: 4000, retryable: false },
  TIMEOUT: { http: 408, status: 4008, close: 4008, retryable: true },
  CONFLICT: { http: 409, status: 4009, close: 4000, retryable: false },
  GONE: { http: 410, status: 4010, close: 4000, retryable: false },
  TOO_LARGE: { http: 413, status: 4013, close: 1009, retryable: false },
  IDEMPOTENCY_MISMATCH: { http: 422, status: 4022, close: 4000, retryable: false },
  RATE_LIMITED: { http: 429, status: 4029, close: 4029, retryable: true },
  SLOW_CONSUMER: { http: 503, status: 4030, close: 4030, retryable: true },
  INTERNAL_ERROR: { http: 500, status: 5000, close: 1011, retryable: false },
  UPSTREAM_ERROR: { http: 502, status: 5002, close: 1011, retryable: false },
  UNAVAILABLE: { http: 503, status: 5003, close: 1013, retryable: true },
} as const satisfies Record<string, { http: number; status: number; close: number; retryable: boolean }>;

export type ErrorCode = keyof typeof ERRORS;

export const ErrorBody = Type.Object({
  code: Type.String(),
  status: Type.Integer(),
  message: Type.String(),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  retryable: Type.Boolean(),
  retry_after_ms: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type ErrorBody = Static<typeof ErrorBody>;

export interface ErrorOptions {
  details?: Record<string, unknown>;
  retryable?: boolean;
  retry_after_ms?: number;
  /** The bound that was reached: told as `details.what` and `details.limit`, and counted under its name. */
  limit?: { what: string; limit: number };
  /** Overrides the table's HTTP status, where one code has two (schema failures are 422, a refused Host is 421). */
  http?: number;
  /** Overrides the table's close code, where a client should come back although the code as such means stop. */
  close?: number;
  cause?: unknown;
}

/** An error a caller may read. `message` is public; the cause goes to the log only. */
export class GatewayError extends Error {
  // Not called `code`: Elysia takes a `code` field for the name of one of its own errors.
  readonly reason: ErrorCode;
  readonly details: Record<string, unknown> | undefined;
  readonly retryable: boolean;
  readonly retry_after_ms: number | undefined;
  readonly http: number;
  /** The option whose bound was reached; undefined: none was. */
  readonly limit: string | undefined;
  readonly close: number;

  constructor(reason: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GatewayError";
    this.reason = reason;
    this.details = options.limit === undefined ? options.details : { ...options.details, ...options.limit };
    this.limit = options.limit?.what;
    this.retryable = options.retryable ?? ERRORS[reason].retryable;
    this.retry_after_ms = options.retry_after_ms;
    this.http = options.http ?? ERRORS[reason].http;
    this.close = options.close ?? ERRORS[reason].close;
  }

  /** The body every transport answers with. */
  toBody(): ErrorBody {
    return {
      code: this.reason,
      status: ERRORS[this.reason].status,
      message: this.message,
      ...(this.details && { details: this.details }),
      retryable: this.retryable,
      ...(this.retry_after_ms !== undefined && { retry_after_ms: this.retry_after_ms }),
    };
  }
}

/** Close codes after which a client comes back by itself; every other one means stop. */
export const RECONNECT_CLOSE_CODES: ReadonlySet<number> = new Set([
  1001, 1006, 1011, 1012, 1013, 4008, 4029, 4030,
]);
