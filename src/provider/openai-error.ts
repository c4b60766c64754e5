import { APIError } from "openai";
import type { Clock } from "../core/ports.ts";
import type { ErrorOptions } from "../protocol/errors.ts";
import { GatewayError } from "../protocol/errors.ts";
import { UpstreamReport } from "./openai-answer.ts";
import type { Redact } from "./redact.ts";
import { clip } from "./redact.ts";
import type { Stop } from "./watchdog.ts";

/** What an error message needs to know of the call that failed. */
export interface Blame {
  /** The provider's name. */
  readonly name: string;
  /** The model's id at the provider. */
  readonly model: string;
  readonly redact: Redact;
  readonly clock: Clock;
}

export type TimeoutSetting =
  | "connect_timeout_ms"
  | "first_token_timeout_ms"
  | "idle_timeout_ms"
  | "total_timeout_ms";

/** The one public line for whatever a call threw. Never holds a key, a header or more than 300 characters. */
export function toGatewayError(cause: unknown, blame: Blame): GatewayError {
  if (cause instanceof GatewayError) return cause;
  if (cause instanceof UpstreamReport) return fromReport(cause.report, blame);
  if (cause instanceof APIError && cause.status !== undefined) return fromStatus(cause.status, cause, blame);
  if (cause instanceof RangeError)
    return fail(blame, `${blame.name} sent too much at once: ${cause.message}`);
  if (cause instanceof SyntaxError) return fail(blame, `${blame.name} sent what is not JSON`);
  return fromConnection(cause instanceof APIError ? cause.cause : cause, blame);
}

export function fail(blame: Blame, message: string, options: ErrorOptions = {}): GatewayError {
  return new GatewayError("UPSTREAM_ERROR", blame.redact(message), {
    ...options,
    details: { provider: blame.name, ...options.details },
  });
}

/** The stop of a call that ran out of the time `setting` gives it. */
export function late(blame: Blame, setting: TimeoutSetting, ms: number): Stop {
  const { name } = blame;
  const happened = {
    connect_timeout_ms: `could not connect to ${name} within ${ms} ms`,
    first_token_timeout_ms: `${name} sent no text within ${ms} ms`,
    idle_timeout_ms: `${name} stopped sending for ${ms} ms`,
    total_timeout_ms: `${name} took longer than ${ms} ms`,
  }[setting];
  const error = new GatewayError("TIMEOUT", `${happened} (llm.providers.${name}.${setting})`, {
    details: { provider: name, setting },
    retryable: setting !== "total_timeout_ms",
    http: 504,
  });
  return { kind: "failed", error };
}

/** What to set so that `name` has a key. */
export function keyHint(name: string): string {
  return name === "openai"
    ? "OPENAI_API_KEY or llm.providers.openai.api_key"
    : `llm.providers.${name}.api_key`;
}

/** What is wrong with the key a call was made with, so that another one may do; null: it is not the key. */
export type KeyFault =
  | { readonly kind: "limited"; readonly retry_after_ms: number | null }
  | { readonly kind: "refused"; readonly why: string };

export function faultOfKey(cause: unknown, clock: Clock): KeyFault | null {
  if (!(cause instanceof APIError)) return null;
  const { status, code, headers } = cause;
  if (status === 401 || status === 403) return { kind: "refused", why: `is refused (${status})` };
  if (status === 402 || code === "insufficient_quota") return { kind: "refused", why: "has nothing left" };
  if (status !== 429) return null;
  return { kind: "limited", retry_after_ms: retryAfter(headers, clock) };
}

function fromStatus(status: number, error: APIError, blame: Blame): GatewayError {
  const { name } = blame;
  const said = messageOf(error.error) || withoutStatus(error.message);
  const because = said === "" ? "" : `: ${said}`;
  const details = { status };
  if (status === 401)
    return fail(blame, `${name} refused the API key (401): check ${keyHint(name)}${because}`, {
      details,
    });
  if (status === 403) {
    return fail(
      blame,
      `${name} does not allow this (403): check ${keyHint(name)} and what it may use${because}`,
      { details },
    );
  }
  if (status === 404) {
    const model = clip(blame.model, 80);
    return fail(
      blame,
      `${name} has no model "${model}" (404): check its name and llm.providers.${name}.base_url${because}`,
      {
        details,
      },
    );
  }
  if (status >= 300 && status < 400) {
    return fail(
      blame,
      `${name} answered with a redirect (${status}): set llm.providers.${name}.base_url to where it leads`,
      {
        details,
      },
    );
  }
  const retryable = status === 408 || status === 409 || status === 429 || status >= 500;
  if (!retryable || error.code === "insufficient_quota") {
    return fail(blame, `${name} refused the request (${status})${because}`, { details });
  }
  const retry_after_ms = retryAfter(error.headers, blame.clock);
  return fail(blame, `${name} ${status === 429 ? "is limiting requests" : "failed"} (${status})${because}`, {
    details,
    retryable,
    ...(retry_after_ms !== null && { retry_after_ms }),
  });
}

/** `{"error": …}` in the middle of a stream, or as a whole answer with status 200. */
function fromReport(report: unknown, blame: Blame): GatewayError {
  const fields = typeof report === "object" && report !== null ? (report as Record<string, unknown>) : {};
  const code = Number(fields["code"] ?? fields["status"]);
  const kind = `${String(fields["type"] ?? "")} ${String(fields["code"] ?? "")}`;
  const passing = /overloaded|server_error|rate_limit|timeout|unavailable/i.test(kind);
  const said = messageOf(report);
  return fail(blame, `${blame.name} reported an error${said === "" ? "" : `: ${said}`}`, {
    retryable: passing || code === 408 || code === 429 || (code >= 500 && code < 600),
  });
}

function fromConnection(cause: unknown, blame: Blame): GatewayError {
  const { name } = blame;
  const code = codeOf(cause);
  if (/CERT|SELF_SIGNED|ALTNAME|ISSUER|SIGNATURE/.test(code)) {
    return fail(
      blame,
      `the certificate of ${name} is not trusted (${code}): check llm.providers.${name}.base_url`,
    );
  }
  if (code === "ECONNRESET") return fail(blame, `${name} broke the connection off`, { retryable: true });
  const why = code === "" ? "" : ` (${code})`;
  return fail(blame, `cannot reach ${name}${why}: check that it runs, and llm.providers.${name}.base_url`, {
    retryable: true,
  });
}

function codeOf(cause: unknown): string {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined;
  return typeof code === "string" ? clip(code, 60) : "";
}

function messageOf(report: unknown): string {
  if (typeof report === "string") return report;
  if (typeof report !== "object" || report === null) return "";
  const message = "message" in report ? report.message : undefined;
  return typeof message === "string" ? message : JSON.stringify(report);
}

/** The SDK puts the status before the body's text. */
function withoutStatus(message: string): string {
  return message.replace(/^\d{3} (?:status code \(no body\))?/, "");
}

/** Milliseconds from now, from `retry-after-ms` or `Retry-After` in seconds or as a date; null where there is neither. */
function retryAfter(headers: Headers | undefined, clock: Clock): number | null {
  const exact = Number(headers?.get("retry-after-ms") ?? NaN);
  if (Number.isFinite(exact) && exact >= 0) return Math.ceil(exact);
  const text = headers?.get("retry-after") ?? "";
  const seconds = text.trim() === "" ? NaN : Number(text);
  if (Number.isFinite(seconds)) return seconds >= 0 ? Math.ceil(seconds * 1000) : null;
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date - clock.now());
}
