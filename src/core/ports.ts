import type { Role, Usage } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";

/** Time, injected: core never reads a clock or sets a timer otherwise. */
export interface Clock {
  /** Milliseconds since 1970, may jump. */
  now(): number;
  /** Milliseconds from some start, never goes back. */
  monotonic(): number;
  /** Calls `task` once after `ms`, which may be past; the answer cancels it (idempotent). */
  after(ms: number, task: () => void): () => void;
  /** Calls `task` every `ms` until cancelled. */
  every(ms: number, task: () => void): () => void;
}

export interface Logger {
  debug(fields: Record<string, unknown>, message: string): void;
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
  child(fields: Record<string, unknown>): Logger;
}

export interface ModelMessage {
  readonly role: Role;
  readonly content: string;
}

export interface ModelRequest {
  /** The model's id at the provider, without a provider prefix. */
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  readonly session_id: string;
  readonly run_id: string;
}

/**
 * What a model stream yields. Text is well-formed UTF-16 and never splits a surrogate pair between two events.
 * Exactly one of done, error, aborted comes, last.
 */
export type ModelEvent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  | { readonly type: "usage"; readonly usage: Usage }
  /** Only before the first text or reasoning. */
  | { readonly type: "retrying"; readonly attempt: number; readonly reason: string }
  | { readonly type: "done"; readonly finish_reason: string }
  | { readonly type: "error"; readonly error: GatewayError }
  | { readonly type: "aborted" };

export interface ProviderState {
  readonly name: string;
  readonly ready: boolean;
  readonly reason?: string;
}

export interface Provider {
  readonly name: string;
  state(): ProviderState;
  /** Model ids known without asking the network. */
  models(): readonly string[];
  /** Never throws, in any phase; aborts within a tick of `signal`, upstream included. */
  stream(request: ModelRequest, options: { signal: AbortSignal }): AsyncIterable<ModelEvent>;
}

/** Picks a provider for a model name and retries, within the same contract as a provider's stream. */
export interface ModelRouter {
  /** The full name ("provider/model") a run without a choice of its own uses. */
  readonly default_model: string;
  states(): readonly ProviderState[];
  models(): readonly { readonly id: string; readonly provider: string }[];
  /** The full name a request for `model` resolves to. @throws GatewayError INVALID_REQUEST {kind:"model"} where it is not allowed. */
  resolve(model: string | null): string;
  stream(request: ModelRequest, options: { signal: AbortSignal }): AsyncIterable<ModelEvent>;
}
