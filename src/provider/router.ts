import type { Clock, Logger, ModelEvent, ModelRequest, ModelRouter, Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { FindModel, Target } from "./names.ts";
import { createFindModel } from "./names.ts";
import { pause } from "./pause.ts";
import { clip } from "./redact.ts";

export interface RouterOptions {
  /** Those there are now. */
  readonly providers: () => readonly Provider[];
  /** Where names without a configured prefix go. */
  readonly default_provider: string;
  /** Where a run without a choice of its own goes now: a name that is found. */
  readonly default_model: () => string;
  /** Names tried in this order when a model fails before its first token. */
  readonly fallback: readonly string[];
  /** How often one model is asked again before its first token; for all providers, or by name. */
  readonly max_retries: number | Readonly<Record<string, number>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random?: () => number;
}

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 8_000;
/** What an upstream may make a run wait by Retry-After. */
const RETRY_AFTER_MAX_MS = 30_000;

export interface Router extends ModelRouter {
  /** @throws Error, one line that says what to set, when a name in the options leads nowhere. */
  check(): void;
}

/** In its streams `retrying.attempt` counts from 1 how often a model was asked again, fallbacks included. */
export function createRouter(options: RouterOptions): Router {
  const { providers, default_provider } = options;
  const find = createFindModel(providers, default_provider);
  return {
    get default_model() {
      const name = options.default_model();
      const whole = name.startsWith(`${default_provider}/`) ? name : `${default_provider}/${name}`;
      return found(find, name)?.name ?? whole;
    },
    states: () => providers().map((provider) => provider.state()),
    models: () => known(providers(), foundAll(find, [options.default_model(), ...options.fallback])),
    resolve: (model) => find(model === null || model === "" ? options.default_model() : model).name,
    check() {
      configured(find, "llm.default_model", options.default_model());
      for (const name of options.fallback) configured(find, "llm.fallback", name);
    },
    stream(request, { signal }) {
      let first: Target;
      try {
        first = find(request.model);
      } catch (cause) {
        return failed(cause);
      }
      const others = foundAll(find, options.fallback).filter(({ name }) => name !== first.name);
      return tryAll(options, [first, ...others], request, signal);
    },
  };
}

function configured(find: FindModel, option: string, name: string): void {
  try {
    find(name);
  } catch (cause) {
    if (cause instanceof GatewayError && cause.reason === "UNAVAILABLE") throw cause;
    throw new Error(`${option}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Null: it leads nowhere now. */
function found(find: FindModel, name: string): Target | null {
  try {
    return find(name);
  } catch {
    // Of a provider that was taken out; who asks for it by name is told so.
    return null;
  }
}

function foundAll(find: FindModel, names: readonly string[]): Target[] {
  return names.flatMap((name) => found(find, name) ?? []);
}

/** The models of every list, and those of the configuration that are on none. */
function known(providers: readonly Provider[], named: readonly Target[]): { id: string; provider: string }[] {
  const ids = new Map<string, string>();
  for (const provider of providers) {
    for (const model of provider.models()) ids.set(`${provider.name}/${model}`, provider.name);
  }
  for (const { name, provider } of named) ids.set(name, provider.name);
  return Array.from(ids, ([id, provider]) => ({ id, provider }));
}

async function* failed(cause: unknown): AsyncGenerator<ModelEvent> {
  const error =
    cause instanceof GatewayError
      ? cause
      : new GatewayError("INTERNAL_ERROR", "no model could be chosen", { cause });
  yield { type: "error", error };
}

/** Each target with its retries, in order, until one says something. */
async function* tryAll(
  options: RouterOptions,
  targets: readonly Target[],
  request: ModelRequest,
  signal: AbortSignal,
): AsyncGenerator<ModelEvent> {
  const failures: GatewayError[] = [];
  let attempt = 0;
  let index = 0;
  let retry = 0;
  while (!signal.aborted) {
    const target = targets[index];
    if (target === undefined) {
      yield { type: "error", error: summed(failures, targets) };
      return;
    }
    const failure = yield* tryOnce(options.log, target, request, signal);
    if (failure === null) return;
    if (signal.aborted) break;
    if (failure.retryable && retry < retriesOf(options, target.provider.name)) {
      yield { type: "retrying", attempt: ++attempt, reason: failure.message };
      await pause(options.clock, delayFor(retry++, failure, options.random), signal);
      continue;
    }
    failures.push(failure);
    index++;
    retry = 0;
    const next = targets[index];
    if (next === undefined) continue;
    yield { type: "retrying", attempt: ++attempt, reason: clip(`${failure.message}; trying ${next.name}`) };
  }
  yield { type: "aborted" };
}

/** One call. Answers with the error of one that failed before it said anything; null where the stream has ended. */
async function* tryOnce(
  log: Logger,
  { provider, model, name }: Target,
  request: ModelRequest,
  signal: AbortSignal,
): AsyncGenerator<ModelEvent, GatewayError | null> {
  let begun = false;
  let isNamed = false;
  try {
    for await (const event of provider.stream({ ...request, model }, { signal })) {
      if (event.type === "error" && !begun) return event.error;
      if (!isNamed && event.type !== "aborted") yield { type: "model", model: name };
      isNamed = true;
      yield event;
      if (event.type === "done" || event.type === "error" || event.type === "aborted") return null;
      begun ||= event.type === "text" || event.type === "reasoning" || event.type === "tool_call";
    }
    throw new Error("the stream ended without an end");
  } catch (cause) {
    log.error({ run_id: request.run_id, model: name, err: cause }, "a provider broke its contract");
    const error = new GatewayError(
      "INTERNAL_ERROR",
      `provider ${provider.name} failed unexpectedly; the log says how`,
    );
    if (!begun) return error;
    yield { type: "error", error };
    return null;
  }
}

function retriesOf({ max_retries }: RouterOptions, provider: string): number {
  return typeof max_retries === "number" ? max_retries : (max_retries[provider] ?? 0);
}

/** Exponential with full jitter, but never sooner than the upstream asked for. */
function delayFor(retry: number, failure: GatewayError, random: () => number = Math.random): number {
  const spread = random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** retry);
  return Math.max(Math.round(spread), Math.min(failure.retry_after_ms ?? 0, RETRY_AFTER_MAX_MS));
}

/** The error of the model that was asked for, and what became of those tried in its place. */
function summed(failures: readonly GatewayError[], targets: readonly Target[]): GatewayError {
  const [first, ...others] = failures;
  if (first === undefined) throw new Error("nothing failed");
  if (others.length === 0) return first;
  const rest = others.map((error, index) => `${targets[index + 1]?.name}: ${error.message}`);
  const { reason, retryable, details, retry_after_ms, http } = first;
  return new GatewayError(reason, clip([first.message, ...rest].join("; ")), {
    retryable,
    http,
    ...(details !== undefined && { details }),
    ...(retry_after_ms !== undefined && { retry_after_ms }),
  });
}
