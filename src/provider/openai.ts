import type { Endpoint } from "../core/endpoint.ts";
import type { Clock, Logger, ModelEvent, ModelRequest, Provider } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Answer } from "./openai-answer.ts";
import { createAnswer } from "./openai-answer.ts";
import type { Ask } from "./openai-client.ts";
import { createAsk } from "./openai-client.ts";
import type { Key, Keys } from "./keys.ts";
import { createKeys } from "./keys.ts";
import type { Blame } from "./openai-error.ts";
import { fail, faultOfKey, keyHint, late, toGatewayError } from "./openai-error.ts";
import { marked, returned } from "./openai-extra.ts";
import { toolNames } from "./openai-tools.ts";
import { firstToken, readBody } from "./openai-read.ts";
import type { Reach } from "./reach.ts";
import { isProxied, openReach } from "./reach.ts";
import type { Redact } from "./redact.ts";
import { clip, createRedact } from "./redact.ts";
import type { Watchdog } from "./watchdog.ts";
import { createWatchdog, STOPPED } from "./watchdog.ts";

/** One `[llm.providers.NAME]` section. Times are milliseconds; 0 means no bound. */
export interface OpenAiOptions extends Endpoint {
  readonly name: string;
  /** Used in turn, another one where one is limited or refused. None: allowed anywhere but at api.openai.com. */
  readonly api_keys: readonly string[];
  /** The model ids that may be asked for; empty: any. */
  readonly models: readonly string[];
  /** Whether its models take images; default true. */
  readonly images?: boolean;
  /** To a TCP connection, not to its answer. */
  readonly connect_timeout_ms: number;
  /** From the call to the first text or reasoning. */
  readonly first_token_timeout_ms: number;
  /** Between two pieces of text or reasoning after that. */
  readonly idle_timeout_ms: number;
  readonly total_timeout_ms: number;
  /** UTF-8 bytes of text and reasoning of one answer. */
  readonly max_message_bytes: number;
  /** What one event of a stream, or the whole answer of a server that does not stream, may take. */
  readonly max_line_bytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What every call of one provider shares. */
interface Upstream {
  readonly options: OpenAiOptions;
  readonly url: URL;
  readonly ask: Ask;
  readonly keys: Keys;
  readonly redact: Redact;
  /** Why no call can be made; null: one can. */
  readonly missing: string | null;
}

/** One call. */
interface Call {
  readonly asked: ModelRequest;
  readonly dog: Watchdog;
  readonly answer: Answer;
  readonly blame: Blame;
}

/**
 * Any server that speaks OpenAI's Chat Completions.
 * @throws Error when `base_url` is not an http(s) URL, or `api_key_header` no header.
 */
export function createOpenAiProvider(options: OpenAiOptions): Provider {
  const { name, headers, query } = options;
  const url = parseUrl(options);
  const values = options.api_keys.map((key) => key.trim()).filter((key) => key !== "");
  const missing =
    values.length === 0 && url.hostname === "api.openai.com" ? `no API key: set ${keyHint(name)}` : null;
  const ask = createAsk(options);
  const redact = createRedact([...values, ...Object.values(headers), ...Object.values(query)]);
  const { clock, log } = options;
  const keys = createKeys({ provider: name, values, clock, log });
  const upstream: Upstream = { options, url, ask, keys, redact, missing };
  return {
    name,
    state: () => (missing === null ? { name, ready: true } : { name, ready: false, reason: missing }),
    models: () => options.models,
    stream: (asked, { signal }) => stream(upstream, asked, signal),
  };
}

function parseUrl({ name, base_url, api_key_header }: OpenAiOptions): URL {
  if (!/^[\w-]*$/.test(api_key_header)) {
    throw new Error(
      `llm.providers.${name}.api_key_header is no name of a header: set it to one like api-key`,
    );
  }
  const url = URL.parse(base_url);
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new Error(
    `llm.providers.${name}.base_url is not an http(s) URL: set it to one like https://api.openai.com/v1`,
  );
}

async function* stream(
  upstream: Upstream,
  asked: ModelRequest,
  signal: AbortSignal,
): AsyncGenerator<ModelEvent> {
  const { options, redact } = upstream;
  const { name, clock, max_message_bytes } = options;
  const blame: Blame = { name, model: asked.model, redact, clock };
  const dog = createWatchdog(clock, signal);
  const unwatch = watchTotal(options, dog, blame);
  try {
    if (dog.stopped !== null) throw STOPPED;
    yield* call(upstream, {
      asked,
      dog,
      blame,
      answer: createAnswer(max_message_bytes, toolNames(asked.tools ?? [])),
    });
  } catch (cause) {
    if (dog.stopped?.kind === "aborted") {
      yield { type: "aborted" };
      return;
    }
    const error = dog.stopped?.kind === "failed" ? dog.stopped.error : toGatewayError(cause, blame);
    // The connection goes whether or not the reader of the stream ever asks for more.
    dog.stop({ kind: "enough" });
    yield { type: "error", error };
  } finally {
    unwatch();
    dog.stop({ kind: "enough" });
  }
}

/** Up to done; throws for every other end. */
async function* call(upstream: Upstream, asking: Call): AsyncGenerator<ModelEvent> {
  const { options, missing } = upstream;
  const { asked: _asked, ...on } = asking;
  const { answer, blame, dog } = on;
  if (missing !== null) throw fail(blame, missing);
  const reading = { ...options, ...on, started: options.clock.monotonic() };
  try {
    const owed = firstToken(reading);
    dog.expect(owed.due, owed.overdue);
    yield* readBody(await respond(upstream, asking), reading);
  } catch (cause) {
    // With its finish reason an answer is whole, whatever becomes of the connection after it.
    const whole = answer.finish_reason !== null && !(cause instanceof GatewayError);
    if (!whole || dog.stopped?.kind === "aborted") throw cause;
  }
  if (answer.finish_reason === null) throw fail(blame, "the model's stream was cut", { retryable: true });
  if (answer.finish_reason === "error") throw fail(blame, `${blame.name} ended its answer with an error`);
  for (const event of answer.rest()) yield marked(event, blame.name);
  if (dog.stopped?.kind === "aborted") throw STOPPED;
  yield { type: "done", finish_reason: clip(answer.finish_reason, 64) };
}

/** The response to a call, with one key after the other where they are limited or refused. */
async function respond(
  { options, url, ask, keys }: Upstream,
  { asked, dog, blame }: Call,
): Promise<Response> {
  const messages = asked.messages.map((each) => returned(each, options.name, asked.model));
  const tried = new Set<Key>();
  let key = keys.take(tried);
  let failure: unknown;
  while (key !== null) {
    tried.add(key);
    const unwatch = watchConnect(options, url, dog, blame);
    try {
      const response = await dog.race(ask({ ...asked, messages }, key.value, dog.signal)).finally(unwatch);
      keys.worked(key);
      return response;
    } catch (cause) {
      const fault = faultOfKey(cause, options.clock);
      if (fault === null) throw cause;
      if (fault.kind === "limited") keys.limited(key, fault.retry_after_ms);
      else keys.refused(key, fault.why);
      failure = cause;
      key = keys.take(tried);
    }
  }
  throw failure;
}

function watchTotal(options: OpenAiOptions, dog: Watchdog, blame: Blame): () => void {
  const ms = options.total_timeout_ms;
  if (ms === 0) return () => {};
  return options.clock.after(ms, () => dog.stop(late(blame, "total_timeout_ms", ms)));
}

/**
 * `fetch` does not tell a server that cannot be reached from one that takes its time before the first byte (a model
 * being loaded, a request waiting for its turn). A connection of our own does, opened when half the time is gone.
 */
function watchConnect(options: OpenAiOptions, url: URL, dog: Watchdog, blame: Blame): () => void {
  const { clock, connect_timeout_ms: ms } = options;
  // Through a proxy a connection of our own would prove nothing.
  if (ms === 0 || isProxied(process.env)) return () => {};
  let reach: Reach | null = null;
  const cancels = [
    clock.after(Math.floor(ms / 2), () => {
      reach = openReach(url);
    }),
    clock.after(ms, () => {
      if (reach?.connected === false) dog.stop(late(blame, "connect_timeout_ms", ms));
    }),
  ];
  return () => {
    for (const cancel of cancels) cancel();
    reach?.close();
  };
}
