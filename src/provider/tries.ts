import type { Clock, Logger, ModelEvent, ModelRequest } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { attempt } from "./attempt.ts";
import type { Gate, Gates } from "./gates.ts";
import { nextTry } from "./gates.ts";
import type { Target } from "./names.ts";
import { pause } from "./pause.ts";
import { clip } from "./redact.ts";

export interface TriesOptions {
  /** How long a model, and those asked in its place, have to begin an answer, all attempts and waits together; 0: no bound. */
  readonly retry_deadline_ms: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random?: () => number;
}

const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 8_000;
/** What an upstream may make a run wait by Retry-After. */
const RETRY_AFTER_MAX_MS = 30_000;

/** What is asked, of whom. */
export interface Routing {
  readonly options: TriesOptions;
  readonly gates: Gates;
  /** In the order they are tried. */
  readonly targets: readonly Target[];
  readonly request: ModelRequest;
  readonly signal: AbortSignal;
}

/** Each target with its retries, in order, until one has answered to the end. */
export async function* tryAll(routing: Routing): AsyncGenerator<ModelEvent> {
  const { options, gates, request, signal } = routing;
  const { clock, log } = options;
  const deadline_ms = options.retry_deadline_ms || Infinity;
  let due = clock.monotonic() + deadline_ms;
  let attempts = 0;
  let retry = 0;
  const first = nextOf(routing, undefined);
  const failures: Failure[] = [...first.passed];
  let { target } = first;
  while (target !== undefined && !signal.aborted) {
    const gate = gates.of(target.provider);
    const failed = yield* attempt({ clock, log, target, gate, request, signal, due, deadline_ms });
    if (failed === null) return;
    if (signal.aborted) break;
    const { error, begun } = failed;
    const { run_id } = request;
    log.debug({ run_id, model: target.name, code: error.reason, attempt: attempts + 1 }, error.message);
    // An answer that breaks off has used up none of the time that is there for getting one.
    if (begun) due = clock.monotonic() + deadline_ms;
    const left = due - clock.monotonic();
    const isFinal = left <= 0 || error.reason === "TOO_LARGE";
    const next = isFinal ? { target: undefined, passed: [] } : nextOf(routing, target);
    const wait = waitFor(options, error, { gate, retry, left, isLast: next.target === undefined });
    if (wait !== null) {
      retry++;
      yield { type: "retrying", attempt: ++attempts, reason: error.message };
      await pause(clock, wait, signal);
      continue;
    }
    failures.push({ target, error }, ...next.passed);
    retry = 0;
    ({ target } = next);
    if (target === undefined) continue;
    yield { type: "retrying", attempt: ++attempts, reason: clip(`${error.message}; trying ${target.name}`) };
  }
  if (signal.aborted) return yield { type: "aborted" };
  const error = summed(failures);
  const { run_id, model } = request;
  // Of providers that are known to fail the log has said so, once.
  const isNews = failures.some((each) => gates.of(each.target.provider).circuit.open === null);
  const fields = { run_id, model, code: error.reason, retryable: error.retryable };
  if (isNews) log.warn(fields, error.message);
  else log.debug(fields, error.message);
  yield { type: "error", error };
  return undefined;
}

/** The next one to ask after `last`: the first that is not known to fail, past those that are, or else the first. */
function nextOf(
  { targets, gates }: Routing,
  last: Target | undefined,
): { readonly target: Target | undefined; readonly passed: readonly Failure[] } {
  const rest = targets.slice(last === undefined ? 0 : targets.indexOf(last) + 1);
  const at = Math.max(
    0,
    rest.findIndex(({ provider }) => gates.of(provider).circuit.admits),
  );
  const passed = rest.slice(0, at).map((target) => ({ target, error: passedOver(target, gates) }));
  return { target: rest[at], passed };
}

function passedOver({ provider }: Target, gates: Gates): GatewayError {
  const { reason = "", retry_ms = 0 } = gates.of(provider).circuit.open ?? {};
  return new GatewayError(
    "UPSTREAM_ERROR",
    clip(`${provider.name} is failing, ${nextTry(retry_ms)}: ${reason}`),
    {
      details: { provider: provider.name },
      retryable: true,
      retry_after_ms: retry_ms,
    },
  );
}

/** How long to wait before the same model is asked again; null: it is not. */
function waitFor(
  options: TriesOptions,
  error: GatewayError,
  at: { readonly gate: Gate; readonly retry: number; readonly left: number; readonly isLast: boolean },
): number | null {
  const { gate, retry, left, isLast } = at;
  if (!error.retryable || retry >= gate.bounds.max_retries) return null;
  const wait = delayFor(retry, error, options.random);
  if (wait >= left) return null;
  // Where another model can answer, nobody waits for one that is slow, known to fail or wants to be left alone.
  const patient = error.reason !== "TIMEOUT" && gate.circuit.admits && wait <= BACKOFF_MAX_MS;
  return isLast || patient ? wait : null;
}

/** Exponential with full jitter, but never sooner than the upstream asked for. */
function delayFor(retry: number, failure: GatewayError, random: () => number = Math.random): number {
  const spread = random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** retry);
  return Math.max(Math.round(spread), Math.min(failure.retry_after_ms ?? 0, RETRY_AFTER_MAX_MS));
}

interface Failure {
  readonly target: Target;
  readonly error: GatewayError;
}

/** The error of the model that was asked for, and what became of those tried in its place. */
function summed(failures: readonly Failure[]): GatewayError {
  const [first, ...others] = failures;
  if (first === undefined) throw new Error("nothing failed");
  if (others.length === 0) return first.error;
  const rest = others.map(({ target, error }) => `${target.name}: ${error.message}`);
  const { message, reason, retryable, details, retry_after_ms, http } = first.error;
  return new GatewayError(reason, clip([message, ...rest].join("; ")), {
    retryable,
    http,
    ...(details !== undefined && { details }),
    ...(retry_after_ms !== undefined && { retry_after_ms }),
  });
}
