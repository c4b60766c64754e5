import type { ErrorBody } from "../../src/protocol/errors.ts";
import type { ConfigTable, RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { EventReader, OpenOptions } from "../support/sse-client.ts";
import { openEvents } from "../support/sse-client.ts";
import type { SocketSetup, TestSocket } from "../support/ws-client.ts";
import { openSocket, RefusedRequest } from "../support/ws-client.ts";

export interface StackOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Sections of the configuration besides [llm]. */
  readonly config?: ConfigTable;
  /** Options of the provider that the model server is behind. */
  readonly provider?: ConfigTable;
  /** Other options of [llm]. */
  readonly llm?: ConfigTable;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly json: any;
}

export interface AskOptions {
  /** Sent as JSON; text as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Somebody with a token. */
export interface Person {
  readonly token: string;
  readonly bearer: { readonly authorization: string };
  /** A socket that is authenticated at its upgrade. With `hello` it says connect, which is answered. */
  connect(hello?: Record<string, unknown>, setup?: SocketSetup): Promise<TestSocket>;
  ask(verb: string, path: string, options?: AskOptions): Promise<Answer>;
  /** A method over REST; its payload. Rejects with RefusedRequest. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  call(method: string, params?: Record<string, unknown>): Promise<any>;
  events(path: string, options?: OpenOptions): Promise<EventReader>;
}

/** A gateway in front of a model server that the test scripts. */
export interface Stack extends AsyncDisposable {
  readonly gateway: RunningGateway;
  readonly model: ModelServer;
  /** The administrator. */
  readonly owner: Person;
  /** Somebody with the token of a grant, as in token.create. */
  guest(grant: Record<string, unknown>): Promise<Person>;
  person(token: string): Person;
}

/** How fast a test makes what it needs is of no concern to it. */
const UNHURRIED = { mutations_per_second: 100_000, mutations_burst: 100_000 };

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const model = await startModelServer();
  const provider = { base_url: model.url(), ...options.provider };
  const llm = {
    ...options.llm,
    default_provider: "test",
    default_model: "fake-1",
    providers: { test: provider },
  };
  const { server = {}, limits = {}, ...sections } = options.config ?? {};
  // What still runs at the end of a test is not waited for.
  const stops = { shutdown_grace_secs: 0, ...(server as ConfigTable) };
  const gateway = await startGateway({
    ...(options.env !== undefined && { env: options.env }),
    config: { llm, server: stops, limits: { ...UNHURRIED, ...(limits as ConfigTable) }, ...sections },
  });
  const person = (token: string): Person => createPerson(gateway, token);
  const owner = person(gateway.token);
  return {
    gateway,
    model,
    owner,
    person,
    async guest(grant) {
      const { token } = await owner.call("token.create", { name: "guest", ...grant });
      return person(token);
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await model[Symbol.asyncDispose]();
    },
  };
}

/** Whoever holds a token of the gateway. */
export function createPerson(gateway: RunningGateway, token: string): Person {
  const bearer = { authorization: `Bearer ${token}` };
  const person: Person = {
    token,
    bearer,
    async connect(hello, setup = {}) {
      const socket = await openSocket(gateway.ws_url, { ...setup, headers: { ...bearer, ...setup.headers } });
      if (hello !== undefined) await socket.request("connect", hello);
      return socket;
    },
    ask: (verb, path, options = {}) =>
      ask(`${gateway.url}${path}`, verb, { ...options, headers: { ...bearer, ...options.headers } }),
    async call(method, params = {}) {
      const { status, json } = await person.ask("POST", `/api/v1/rpc/${method}`, { body: params });
      if (status !== 200) throw new RefusedRequest(json.error);
      return json;
    },
    events: (path, options = {}) =>
      openEvents(`${gateway.url}${path}`, { ...options, headers: { ...bearer, ...options.headers } }),
  };
  return person;
}

/** One HTTP request and its whole answer. */
export async function ask(url: string, verb: string, { body, headers }: AskOptions = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: verb,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = text !== "" && response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : null };
}

/** The error a request is refused with. Rejects when it is not. */
export async function refusal(work: Promise<unknown>): Promise<ErrorBody> {
  const outcome = await work.then(
    (payload) => ({ payload }),
    (error: unknown) => ({ error }),
  );
  if (!("error" in outcome)) throw new Error(`it was not refused: ${JSON.stringify(outcome.payload)}`);
  const { error } = outcome;
  if (!(error instanceof RefusedRequest)) throw error;
  const { code, status, message, details, retryable, retry_after_ms } = error;
  return {
    code,
    status,
    message,
    retryable,
    ...(details !== undefined && { details }),
    ...(retry_after_ms !== undefined && { retry_after_ms }),
  };
}

/** A run once it has ended. */
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export async function ended(person: Person, run_id: string): Promise<any> {
  for (;;) {
    const run = await person.call("run.wait", { run_id, timeout_ms: 10_000 });
    if (run.status !== "queued" && run.status !== "running") return run;
  }
}

/** Says a message and waits for its run; what chat.send answered and the run. */
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export async function say(person: Person, params: Record<string, unknown>): Promise<{ sent: any; run: any }> {
  const sent = await person.call("chat.send", params);
  return { sent, run: await ended(person, sent.run_id) };
}

/** Resolves when no run is left, so that the next script is for the next message. */
export async function idle({ owner }: Stack): Promise<void> {
  const runs = async (): Promise<{ active: number; queued: number }> =>
    (await owner.call("system.status")).runs;
  await eventually(runs, ({ active, queued }) => active + queued === 0);
}

/** Asks again until the answer passes. */
export async function eventually<T>(
  read: () => Promise<T> | T,
  passes: (value: T) => boolean,
  timeout_ms = 10_000,
): Promise<T> {
  const end = Date.now() + timeout_ms;
  for (;;) {
    const value = await read();
    if (passes(value)) return value;
    if (Date.now() > end) throw new Error(`not within ${timeout_ms} ms; the last: ${JSON.stringify(value)}`);
    await Bun.sleep(2);
  }
}

/** The durable events a socket read of a session, oldest first. */
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export function log(socket: TestSocket, session_id: string): any[] {
  return socket.frames
    .map(({ json }) => json)
    .filter((frame) => frame.session_id === session_id && frame.seq !== undefined);
}

export function typesOf(frames: readonly { readonly event: string }[]): string[] {
  return frames.map(({ event }) => event);
}

/** A frame as a test looks into it. */
export interface SeenFrame {
  readonly event: string;
  readonly ts: number;
  readonly seq: number;
  readonly run_id?: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly payload: any;
}

const END = /^run\.(completed|failed|aborted|interrupted)$/;

export function isEnd({ event }: { readonly event: string }): boolean {
  return END.test(event);
}

/** Sends over a socket and reads up to the end of the run; the durable events of that run. */
export async function watchRun(socket: TestSocket, session_id: string, message = "go"): Promise<SeenFrame[]> {
  const { run_id } = await socket.request("chat.send", { session_id, message });
  await socket.next(({ json }) => json.run_id === run_id && isEnd(json), 15_000);
  return log(socket, session_id).filter((frame) => frame.run_id === run_id);
}

/** An answer that has begun with "so far" and does not end by itself, and a socket that follows it. */
export async function answering(
  stack: Stack,
  session_id: string,
): Promise<{ socket: TestSocket; run_id: string }> {
  stack.model.reply().text("so far").hang();
  const socket = await stack.owner.connect();
  const { run_id } = await socket.request("chat.send", { session_id, message: "first" });
  await socket.nextEvent("message.delta");
  return { socket, run_id };
}

/** The run that the last of these ended. */
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export function runOf(frames: readonly SeenFrame[]): any {
  const last = frames.at(-1);
  if (last === undefined || !isEnd(last)) throw new Error("the run has not ended");
  return last.payload.run;
}
