import type { Ending } from "../core/ending.ts";
import type { Caller, Outcome, RequestMark } from "../core/call.ts";
import { payloadOf } from "../core/call.ts";
import { noSession } from "../core/session.ts";
import type { Principal } from "../core/principal.ts";
import type { ErrorBody, ErrorCode } from "../protocol/errors.ts";
import { ERRORS, GatewayError } from "../protocol/errors.ts";
import { keyOf } from "./idempotency.ts";
import type { Scope } from "../protocol/schema.ts";

/** Ids of what a request makes: whoever asked knows them before it is carried out. */
export interface MadeIds {
  readonly message_id: string;
  readonly run_id: string;
}

/** A request as one node hands it to another. */
export interface RelayedRequest extends MadeIds {
  readonly method: string;
  readonly params: unknown;
  readonly caller: Pick<Caller, "transport" | "client_id" | "remote">;
  readonly principal: Pick<Principal, "user" | "method" | "credential" | "expires_at" | "device"> & {
    readonly scopes: readonly Scope[];
  };
  /** Of what the caller showed. */
  readonly bond: string;
  /** On what it acts; absent: it was not carried out yet, or acts on nothing that others may come to. */
  readonly acts_on?: readonly string[];
  readonly mark: RequestMark;
}

export function relayedBody(
  { principal, transport, client_id, remote }: Caller,
  mark: RequestMark,
  asked: Omit<RelayedRequest, "caller" | "principal" | "mark">,
): string {
  const { user, method, credential, expires_at, device, scopes } = principal;
  const who = {
    user,
    method,
    credential,
    expires_at,
    scopes: [...scopes],
    ...(device !== undefined && { device }),
  };
  const { request_id, trace } = mark;
  const body: RelayedRequest = {
    ...asked,
    caller: { transport, client_id, remote },
    principal: who,
    mark: { request_id, trace },
  };
  return JSON.stringify(body);
}

/** That a session is let go: its runs end so, or, with null, there are none. */
export interface Yield {
  readonly ending: Ending | null;
}

export function yieldBody(ending: Ending | null): () => string {
  const body: Yield = { ending };
  return () => JSON.stringify(body);
}

/** @throws Error where it is neither */
export function readRelayed(body: string): RelayedRequest | Yield {
  const asked = JSON.parse(body) as RelayedRequest | Yield | null;
  if (asked === null || typeof asked !== "object" || !("method" in asked || "ending" in asked))
    throw new Error("it is neither a request nor asks for a session");
  return asked;
}

/** Whose idempotency key the id of a call is while it is carried out; null: they gave one of their own. */
export function keyHolder(asked: RelayedRequest | Yield): string | null {
  return "method" in asked && keyOf(asked.params) === null ? asked.principal.user : null;
}

/** What is answered about a session that is not there any more: to delete it is done. */
export function outcomeOfGone(asked: Pick<RelayedRequest, "method"> | Yield): Outcome {
  const isDone = "method" in asked && asked.method === "session.delete";
  return isDone ? { ok: true, payload: {} } : { ok: false, error: noSession() };
}

type Answer = { readonly payload: unknown } | { readonly error: ErrorBody };

export function relayedAnswer(outcome: Outcome): string {
  const answer: Answer = outcome.ok ? { payload: payloadOf(outcome) } : { error: outcome.error.toBody() };
  return JSON.stringify(answer);
}

export function readAnswer(text: string): Outcome {
  const answer = JSON.parse(text) as Answer;
  if ("payload" in answer) return { ok: true, payload: answer.payload };
  const { code, message, details, retryable, retry_after_ms } = answer.error;
  const reason = code in ERRORS ? (code as ErrorCode) : "INTERNAL_ERROR";
  const error = new GatewayError(reason, message, {
    retryable,
    ...(details !== undefined && { details }),
    ...(retry_after_ms !== undefined && { retry_after_ms }),
  });
  return { ok: false, error };
}
