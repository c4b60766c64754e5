import { parseArgs } from "node:util";
import type { Script } from "./model-script.ts";
import { script } from "./model-script.ts";
import type { Left, RawHttp, RawRequest, RawResponse } from "./raw-http.ts";
import { listenHttp } from "./raw-http.ts";
import type { Wheel } from "./wheel.ts";
import { createWheel } from "./wheel.ts";

/** One chat completion the server was asked for. */
export interface ModelCall {
  /** What it was asked at, with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever the client sent, for a test to look into
  readonly body: any;
  /** How the stream of it went: aborted means the client left before the answer had ended. */
  readonly state: "open" | "ended" | "aborted";
  /** Deltas sent so far. */
  readonly tokens: number;
}

export interface ModelServerOptions {
  readonly port?: number;
  readonly hostname?: string;
  /** What an unscripted request is answered with: so many tokens `t0 t1 t2 …` */
  readonly tokens?: number;
  /** … one per so many milliseconds. */
  readonly pace_ms?: number;
  readonly models?: readonly string[];
  /** False: calls are counted but not kept, for long runs under load. */
  readonly keep?: boolean;
}

type Call = { -readonly [K in keyof ModelCall]: ModelCall[K] };

/** Without `options`, on a free port of 127.0.0.1. */
export async function startModelServer(options: ModelServerOptions = {}): Promise<ModelServer> {
  return new ModelServer(options);
}

/** A fake OpenAI-compatible model server over real HTTP, scripted by the test that started it. */
export class ModelServer implements AsyncDisposable {
  /** Every chat completion asked for, oldest first. */
  readonly requests: ModelCall[] = [];
  readonly #options: ModelServerOptions;
  readonly #listener: RawHttp;
  readonly #wheel = createWheel();
  readonly #scripts: Script[] = [];
  readonly #checks = new Set<() => void>();
  #otherwise: (call: ModelCall) => Script;
  #asked = 0;
  #open = 0;
  #aborted = 0;

  constructor(options: ModelServerOptions) {
    const { hostname = "127.0.0.1", port = 0, tokens = 20, pace_ms = 0 } = options;
    this.#options = { ...options, hostname };
    this.#otherwise = () => script().tokens(tokens, { everyMs: pace_ms });
    this.#listener = listenHttp({ hostname, port }, (request, response) => this.#answer(request, response));
  }

  /** The base_url to configure; ends in /v1. */
  url(): string {
    return `http://${this.#options.hostname}:${this.#listener.port}/v1`;
  }
  /** Streams being written now. */
  get open(): number {
    return this.#open;
  }
  /** Streams the client left before their end. */
  get aborted(): number {
    return this.#aborted;
  }
  /** Chat completions asked for in all. */
  get asked(): number {
    return this.#asked;
  }
  /** Sockets accepted in all. */
  get connections(): number {
    return this.#listener.accepted;
  }

  /** A script for the next request that has none yet; requests take scripts in the order they were made. */
  reply(): Script {
    const made = script();
    this.#scripts.push(made);
    return made;
  }

  /** What answers requests that no script is left for, with one made by `script()`. */
  otherwise(answer: (call: ModelCall) => Script): void {
    this.#otherwise = answer;
  }

  /** Resolves when `count` chat completions in all were asked for. */
  waitForRequests(count: number): Promise<void> {
    return this.#until(() => this.#asked >= count);
  }
  /** Resolves when `count` streams in all were left by the client. */
  waitForAbort(count = 1): Promise<void> {
    return this.#until(() => this.#aborted >= count);
  }
  /** Resolves when no stream is open. */
  waitForIdle(): Promise<void> {
    return this.#until(() => this.#open === 0);
  }

  /** Closes the port and resets every socket. */
  stop(): void {
    this.#listener.stop();
    this.#wheel.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!holds()) return;
        this.#checks.delete(check);
        resolve();
      };
      this.#checks.add(check);
      check();
    });
  }

  #changed(): void {
    for (const check of this.#checks) check();
  }

  #answer(request: RawRequest, response: RawResponse): Left {
    if (request.method === "POST" && request.path.split("?", 1)[0]?.endsWith("/chat/completions") === true)
      return this.#complete(request, response);
    const known = request.method === "GET" && request.path === "/v1/models";
    const models = (this.#options.models ?? ["test-model"]).map((id) => ({
      id,
      object: "model",
      owned_by: "test",
    }));
    const body = known ? { object: "list", data: models } : { error: { message: `no ${request.path} here` } };
    response.send(known ? 200 : 404, { "content-type": "application/json" }, JSON.stringify(body));
    return () => {};
  }

  #complete({ path, headers, body }: RawRequest, response: RawResponse): Left {
    const call: Call = { path, headers, body: JSON.parse(body), state: "open", tokens: 0 };
    if (this.#options.keep !== false) this.requests.push(call);
    this.#asked++;
    this.#open++;
    const close = (state: "ended" | "aborted") => {
      call.state = state;
      this.#open--;
      if (state === "aborted") this.#aborted++;
      this.#changed();
    };
    const next = this.#scripts.shift() ?? this.#otherwise(call);
    const answer = call.body.stream === true ? next : next.whole();
    const stop = play(answer, call, response, this.#wheel, () => close("ended"));
    this.#changed();
    return () => {
      stop();
      close("aborted");
    };
  }
}

/** Writes an answer, waiting on the wheel; the answer stops it. `ended` is called where the server ends it itself. */
function play(
  answer: Script,
  call: { tokens: number; readonly body: { model?: unknown } },
  response: RawResponse,
  wheel: Wheel,
  ended: () => void,
): () => void {
  const model = String(call.body.model);
  const opening = answer.opening(model);
  if (opening.kind === "whole") {
    response.send(opening.status, opening.headers, opening.body);
    ended();
    return () => {};
  }
  if (opening.kind === "stream") response.head(200, { "content-type": "text/event-stream" });

  const actions = answer.actions(model)[Symbol.iterator]();
  let cancel = () => {};
  let due = performance.now();
  const later = (ms: number, task: () => void) => {
    due += ms;
    cancel = wheel.at(due, task);
  };
  const pour = (text: string) => {
    while (response.drained && !response.closed) response.write(text);
    due = performance.now();
    if (!response.closed) later(5, () => pour(text));
  };
  const step = (): void => {
    while (!response.closed) {
      const next = actions.next();
      if (next.done === true) return;
      const action = next.value;
      if (action.kind === "hang") return;
      if (action.kind === "wait") return later(action.ms, step);
      if (action.kind === "pour") return pour(action.text);
      if (action.kind === "write") {
        if (opening.kind === "stream") response.write(action.text);
        if (action.token) call.tokens++;
        continue;
      }
      response[action.kind]();
      ended();
    }
  };
  step();
  return () => cancel();
}

/** `bun model-server.ts --port 0 --tokens 100 --pace 40` prints `{"url": …}` and serves until it is killed. */
if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      tokens: { type: "string", default: "100" },
      pace: { type: "string", default: "40" },
    },
  });
  const model = await startModelServer({
    port: Number(values.port),
    tokens: Number(values.tokens),
    pace_ms: Number(values.pace),
    keep: false,
  });
  console.log(JSON.stringify({ url: model.url() }));
}
