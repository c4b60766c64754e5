import type { Usage } from "../protocol/entities.ts";
import type { GatewayError } from "../protocol/errors.ts";

/** Time, injected: core never reads a clock or sets a timer otherwise. */
export interface Clock {
  /** Milliseconds since 1970, may jump. */
  now(): number;
  /** Milliseconds from some start, never goes back. */
  monotonic(): number;
  /** Calls `task` once after `ms`; 0 or less: in this turn of the event loop, before more is read. The answer cancels it (idempotent). */
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

/** A tool's call as the model made it. */
export interface ToolCall {
  readonly tool_call_id: string;
  readonly name: string;
  /** The model's JSON text. */
  readonly arguments: string;
  /** What the provider wants back with the call, as only it reads it. */
  readonly extra?: string;
}

/** An image as a model is shown it. */
export interface ModelImage {
  readonly name: string;
  readonly media_type: string;
  readonly width: number;
  readonly height: number;
  /** base64 */
  readonly data: string;
}

/** Every call of an assistant's message is answered by a tool's message after it, before anything else is said. */
export type ModelMessage =
  | { readonly role: "system"; readonly content: string }
  | {
      readonly role: "user";
      readonly content: string;
      /** Behind the text; a model that takes none is told of them. */
      readonly images?: readonly ModelImage[];
    }
  | { readonly role: "assistant"; readonly content: string; readonly tool_calls?: readonly ToolCall[] }
  | { readonly role: "tool"; readonly tool_call_id: string; readonly content: string };

/** A function the model may call, as a model is told of it. */
export interface ToolSpec {
  /** `^[A-Za-z0-9_-]{1,64}$`, or two of these with a dot between them: what an MCP server offers. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of an object. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface ModelRequest {
  /** The model's id at the provider, without a provider prefix. */
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  /** Absent or empty: the model may call nothing. */
  readonly tools?: readonly ToolSpec[];
  readonly session_id: string;
  readonly run_id: string;
  /** W3C trace context to send along. */
  readonly traceparent?: string;
}

/**
 * What a model stream yields. Text is well-formed UTF-16 and never splits a surrogate pair between two events.
 * Exactly one of done, error, aborted comes, last.
 */
export type ModelEvent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  /** Whole, in index order, after all text; its id is unique in the answer. */
  | { readonly type: "tool_call"; readonly call: ToolCall }
  | { readonly type: "usage"; readonly usage: Usage }
  /** From a router, before what its provider says: who says it, as "provider/model". */
  | { readonly type: "model"; readonly model: string }
  /** From a router: a model is asked again. What was said before counts for nothing as soon as more is said. */
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

/** How a call is bounded and whose it is. */
export interface ToolContext {
  readonly signal: AbortSignal;
  readonly session_id: string;
  readonly run_id: string;
  /** W3C trace context to send along. */
  readonly traceparent?: string;
}

/** What became of a call: what the model is told of it, at most `limits.tool_result_bytes`. */
export interface ToolOutcome {
  readonly ok: boolean;
  readonly content: string;
  readonly truncated?: boolean;
}

/** Whether a call may be made: at once, after somebody allowed it, or not at all, with what the model is told. */
export type Ruling =
  | { readonly kind: "allow" | "ask"; readonly args: Readonly<Record<string, unknown>> }
  | { readonly kind: "refuse"; readonly content: string };

export type ToolPolicy = "allow" | "ask" | "deny";

/** A tool and what is done when a model calls it. */
export interface ListedTool extends ToolSpec {
  /** Where it comes from: "builtin", "skill", "mcp:NAME", "plugin:NAME". */
  readonly source: string;
  readonly policy: ToolPolicy;
}

/** Something tools come from that may not be there. */
export interface ToolServerState {
  readonly name: string;
  readonly state: "connecting" | "ready" | "failed" | "stopped";
  readonly reason?: string;
  readonly tools: number;
}

/** A tool and what it does. */
export interface Tool extends ToolSpec {
  /** Where it comes from: "builtin", "skill", "mcp:NAME", "plugin:NAME". */
  readonly source: string;
  /** JSON Schema that arguments are checked against, where `parameters` may come from somebody hostile; without it, that. */
  readonly checks?: Readonly<Record<string, unknown>>;
  /** Longest a call may take; without it the toolbox's own bound counts. */
  readonly timeout_ms?: number;
  /** Rejects with an error whose message the model is told. Stops within 100 ms of `signal`, with all it started. */
  run(args: Readonly<Record<string, unknown>>, context: ToolContext): Promise<string>;
}

/** Where tools come from: the built-in ones, the skills, a tool server. What it answers may change at any time. */
export interface ToolSource {
  tools(): readonly Tool[];
  /** What a model is told in its system prompt besides. */
  prompt?(): string;
  states?(): readonly ToolServerState[];
}

/** The tools of this gateway, as runs use them. What it answers may change at any time. */
export interface Toolbox {
  /** What a model is told in its system prompt besides; "" for nothing. */
  prompt(): string;
  /** What a model may call: what the policy denies is not among them. */
  specs(): readonly ToolSpec[];
  /** `granted`: names of tools that were allowed for the session. Never throws. */
  rule(call: ToolCall, granted: ReadonlySet<string>): Ruling;
  /** Never rejects; settles at its deadline, or soon after the signal. */
  call(call: ToolCall, args: Readonly<Record<string, unknown>>, context: ToolContext): Promise<ToolOutcome>;
  list(): { readonly tools: readonly ListedTool[]; readonly servers: readonly ToolServerState[] };
}

/** Of the backups a gateway makes by itself. */
export interface BackupState {
  /** Of the newest one, also where it is not the gateway's own. */
  readonly last_at?: number;
  /** The last attempt failed, and why. */
  readonly failed_at?: number;
  readonly reason?: string;
  readonly next_at: number;
}
