import type { Clock, Logger, ModelEvent, ModelRequest } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Gate } from "./gates.ts";
import type { Target } from "./names.ts";

export interface AttemptOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly target: Target;
  readonly gate: Gate;
  readonly request: ModelRequest;
  readonly signal: AbortSignal;
  /** Monotonic milliseconds by which the answer has to begin; Infinity: no bound. */
  readonly due: number;
  /** What `due` was made of, for the error. */
  readonly deadline_ms: number;
}

export interface Failed {
  readonly error: GatewayError;
  /** Whether some of an answer came before it. */
  readonly begun: boolean;
}

/** One call, when there is a place for it. Answers with how it failed; null where the stream has ended otherwise. */
export async function* attempt(options: AttemptOptions): AsyncGenerator<ModelEvent, Failed | null> {
  const { gate, signal, clock, due } = options;
  const settle = gate.circuit.begin();
  const over = new AbortController();
  const stop = (): void => over.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const cancel = due === Infinity ? () => undefined : clock.after(Math.max(0, due - clock.monotonic()), stop);
  let leave: () => void = () => undefined;
  try {
    const place = await gate.places.take(over.signal);
    if (place === "full") return { error: crowded(options.target.provider.name), begun: false };
    if (place === null) {
      if (!signal.aborted) return { error: waited(options), begun: false };
      yield { type: "aborted" };
      return null;
    }
    leave = place;
    const failed = yield* read(options, over.signal, settle, cancel);
    if (failed !== null) settle(counts(failed.error) ? { reason: failed.error.message } : "unknown");
    return failed;
  } finally {
    settle("unknown");
    leave();
    cancel();
    signal.removeEventListener("abort", stop);
  }
}

/** The provider's stream. `begins` is called with its first text, reasoning or call: nothing is due any more. */
async function* read(
  { log, target, request, signal, deadline_ms }: AttemptOptions,
  over: AbortSignal,
  settle: (went: "answers" | "done") => void,
  begins: () => void,
): AsyncGenerator<ModelEvent, Failed | null> {
  const { provider, model, name } = target;
  let begun = false;
  let isNamed = false;
  try {
    for await (const event of provider.stream({ ...request, model }, { signal: over })) {
      if (event.type === "error") return { error: event.error, begun };
      const isLate = event.type === "aborted" && over.aborted && !signal.aborted;
      if (isLate) return { error: late(target, deadline_ms), begun };
      if (!isNamed && event.type !== "aborted") yield { type: "model", model: name };
      isNamed = true;
      if (!begun && (event.type === "text" || event.type === "reasoning" || event.type === "tool_call")) {
        begun = true;
        begins();
        settle("answers");
      }
      if (event.type === "done") settle("done");
      yield event;
      if (event.type === "done" || event.type === "aborted") return null;
    }
    throw new Error("the stream ended without an end");
  } catch (cause) {
    log.error({ run_id: request.run_id, model: name, err: cause }, "a provider broke its contract");
    const said = `provider ${provider.name} failed unexpectedly; the log says how`;
    return { error: new GatewayError("INTERNAL_ERROR", said), begun };
  }
}

/** Answers that say something of this one request only, in the range of the caller's mistakes. */
const PROVIDERS_FAULT: ReadonlySet<unknown> = new Set([401, 402, 407, 408, 429]);

/** Whether other calls are likely to fail as well. */
function counts({ reason, details }: GatewayError): boolean {
  const status = details?.["status"];
  if (reason === "TOO_LARGE" || reason === "UNAVAILABLE") return false;
  return typeof status !== "number" || status < 400 || status >= 500 || PROVIDERS_FAULT.has(status);
}

function late({ provider: { name } }: Target, ms: number): GatewayError {
  return new GatewayError(
    "TIMEOUT",
    `${name} did not begin its answer in time: all attempts have ${Math.round(ms / 1_000)} s (llm.retry_deadline_secs)`,
    { details: { provider: name, setting: "retry_deadline_secs" }, retryable: true, http: 504 },
  );
}

function waited({ target, deadline_ms }: AttemptOptions): GatewayError {
  const { name } = target.provider;
  return new GatewayError(
    "UNAVAILABLE",
    `${name} was busy with other runs for ${Math.round(deadline_ms / 1_000)} s ` +
      `(llm.providers.${name}.max_concurrent, llm.retry_deadline_secs)`,
    { details: { provider: name, setting: "max_concurrent" }, retryable: true },
  );
}

function crowded(name: string): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    `too many runs wait for ${name} already (llm.providers.${name}.max_concurrent)`,
    { details: { provider: name, setting: "max_concurrent" }, retryable: true },
  );
}
