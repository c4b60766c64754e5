import { systemClock } from "../../src/clock.ts";
import type { Caller, Outcome } from "../../src/core/call.ts";
import type { Connection } from "../../src/core/connections.ts";
import type { Frame, Hub } from "../../src/core/hub.ts";
import { newId } from "../../src/core/id.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Clock, Logger, ModelEvent, ModelRequest, ModelRouter, Tool } from "../../src/core/ports.ts";
import type { PriceTable } from "../../src/core/prices.ts";
import { createPrices } from "../../src/core/prices.ts";
import type { UserBounds } from "../../src/core/spending.ts";
import type { Store } from "../../src/core/store.ts";
import type { Principal, Vouching } from "../../src/core/principal.ts";
import type { Subscription } from "../../src/core/subscription.ts";
import type { Engine } from "../../src/engine.ts";
import { createEngine } from "../../src/engine.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { createPolicy } from "../../src/tool/policy.ts";
import { createToolbox } from "../../src/tool/registry.ts";

export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};

/** What the model says to a request, as the stream of a provider. */
export type Script = (request: ModelRequest, signal: AbortSignal) => AsyncIterable<ModelEvent>;

/** A router with one model whose answers are scripted. */
export function scriptedRouter(script: Script): ModelRouter {
  return {
    default_model: "test/model",
    states: () => [{ name: "test", ready: true }],
    models: () => [{ id: "test/model", provider: "test" }],
    resolve: (model) => model ?? "test/model",
    stream: (request, { signal }) => script(request, signal),
  };
}

/** Says the pieces one after the other, a turn of the event loop between them. */
export function says(...pieces: string[]): Script {
  return async function* (_request, signal) {
    for (const text of pieces) {
      await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) return yield { type: "aborted" };
      yield { type: "text", text };
    }
    yield { type: "usage", usage: { input_tokens: 1, output_tokens: pieces.length } };
    yield { type: "done", finish_reason: "stop" };
    return undefined;
  };
}

/** Nobody shares the store. */
const vouching: Vouching = { bond: () => "", admit: () => null };

export interface TestEngine {
  readonly engine: Engine;
  readonly store: Store;
  readonly limits: Limits;
  /** Set when the journal gave up. */
  readonly fatal: { error: unknown };
  connect(user?: string): FakeConnection;
  close(): Promise<void>;
}

export interface TestEngineOptions {
  readonly store?: Store;
  readonly script?: Script;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly storage_stall_ms?: number;
  readonly max_concurrent_runs?: number;
  readonly run_timeout_ms?: number;
  readonly isLive?: (principal: Principal) => boolean;
  readonly tools?: readonly Tool[];
  readonly policy?: Record<string, string>;
  readonly unattended?: "wait" | "deny";
  readonly tool_timeout_ms?: number;
  readonly context_tokens?: number;
  readonly approval_timeout_ms?: number;
  readonly prices?: PriceTable;
  readonly bounds?: (user: string) => Partial<UserBounds>;
  readonly budget?: Partial<Record<"max_turns" | "max_tool_calls" | "max_tokens", number>>;
}

const UNBOUNDED: UserBounds = { day_tokens: 0, month_tokens: 0, day_cost: 0, month_cost: 0 };

/** The real domain over a store (in memory unless another is given) and a scripted model. */
export async function startEngine(options: TestEngineOptions = {}): Promise<TestEngine> {
  const limits: Limits = { ...DEFAULT_LIMITS, mutations_burst: 100_000, ...options.limits };
  const clock = options.clock ?? systemClock;
  const store = options.store ?? createMemoryStore({ clock, limits });
  const opened = await store.open();
  const fatal: { error: unknown } = { error: null };
  const engine = createEngine({
    plugins: () => [],
    backup: () => null,
    lowDisk: () => null,
    configuration: {
      state: () => ({ file: null, loaded_at: 0, hash: "", restart_needed: [], failure: null }),
      reload: () => ({ changed: [], restart_needed: [] }),
    },
    name: "agentbus",
    version: "0.0.0",
    store,
    router: scriptedRouter(options.script ?? says("hello", " ", "world")),
    clock,
    limits,
    log: options.log ?? silentLog,
    toolbox: createToolbox({
      sources: [{ tools: () => options.tools ?? [] }],
      policy: createPolicy(options.policy ?? { "*": "allow" }),
      timeout_ms: options.tool_timeout_ms ?? 60_000,
      limits,
      clock,
      log: silentLog,
    }),
    costs: {
      costOf: createPrices(options.prices ?? {}),
      currency: "EUR",
      boundsOf: (user) => ({ ...UNBOUNDED, ...options.bounds?.(user) }),
    },
    settings: {
      on_busy: "queue",
      budget: { max_turns: 25, max_tool_calls: 100, max_tokens: 0, ...options.budget },
      context_tokens: options.context_tokens ?? 0,
      approval_timeout_ms: options.approval_timeout_ms ?? 600_000,
      unattended: options.unattended ?? "wait",
      system_prompt: "",
      run_timeout_ms: options.run_timeout_ms ?? 60_000,
      max_concurrent_runs: options.max_concurrent_runs ?? 64,
      event_grace_ms: 600_000,
      storage_stall_ms: options.storage_stall_ms ?? 30_000,
    },
    capabilities: [],
    credentials: () => ({ isLive: options.isLive ?? (() => true), vouching }),
    fatal: (error) => (fatal.error = error),
  });
  await engine.recover(opened);
  return {
    engine,
    store,
    limits,
    fatal,
    connect: (user = "owner") => new FakeConnection(engine, user),
    async close() {
      await engine.drain(0);
      await store.close();
    },
  };
}

const readers = new WeakMap<Hub, Map<string, Set<FakeConnection>>>();

function topicsOf(hub: Hub): Map<string, Set<FakeConnection>> {
  const known = readers.get(hub);
  if (known !== undefined) return known;
  const topics = new Map<string, Set<FakeConnection>>();
  readers.set(hub, topics);
  hub.addListener({
    publish(topic, frame) {
      for (const connection of topics.get(topic) ?? []) connection.send(frame);
    },
  });
  return topics;
}

/** A connection in memory: what it was sent, in order, answers included. */
export class FakeConnection implements Connection {
  readonly id = newId("con", Date.now());
  readonly transport = "ws";
  readonly remote = "127.0.0.1";
  readonly connected_at = Date.now();
  readonly last_activity = Date.now();
  readonly client_id: string;
  readonly client_name = "";
  readonly version = "";
  readonly platform = "";
  readonly capabilities: string[] = [];
  readonly subscriptions = new Map<string, Subscription>();
  readonly principal: Principal;
  state: Connection["state"] = "connected";
  /** Every frame and answer, as text, in the order they were handed over. */
  readonly sent: string[] = [];
  /** Bytes the peer has not taken; a test sets it to play a slow reader. */
  pending = 0;
  readonly #engine: Engine;
  readonly #waiting: { below: number; wake: () => void }[] = [];
  readonly #abort = new AbortController();

  constructor(engine: Engine, user: string) {
    this.#engine = engine;
    this.client_id = this.id;
    this.principal = { user, scopes: new Set(SCOPES), method: "token", credential: null, expires_at: null };
    engine.connections.add(this);
    engine.changes.connection(this, "joined");
  }

  get closed(): boolean {
    return this.state === "closing";
  }
  send(frame: Frame): void {
    if (!this.closed) this.sent.push(frame.text);
  }
  buffered(): number {
    return this.pending;
  }
  drained(below: number): Promise<void> {
    if (this.pending < below || this.closed) return Promise.resolve();
    return new Promise((wake) => this.#waiting.push({ below, wake }));
  }
  /** The peer took everything. */
  drain(): void {
    this.pending = 0;
    for (const each of this.#waiting.splice(0)) each.wake();
  }
  follow(topic: string): void {
    const topics = topicsOf(this.#engine.hub);
    const set = topics.get(topic) ?? new Set();
    set.add(this);
    topics.set(topic, set);
  }
  unfollow(topic: string): void {
    topicsOf(this.#engine.hub).get(topic)?.delete(this);
  }
  close(): void {
    if (this.closed) return;
    this.state = "closing";
    this.#abort.abort();
    this.#engine.followers.endAll(this);
    this.#engine.connections.remove(this);
    this.#engine.changes.connection(this, "left");
    this.drain();
  }

  get caller(): Caller {
    return {
      principal: this.principal,
      transport: "ws",
      client_id: this.client_id,
      remote: this.remote,
      connection: this,
      signal: this.#abort.signal,
    };
  }

  /** Sends a request; resolves with the payload. @throws GatewayError as the method answers it */
  request<T = Record<string, unknown>>(method: string, params: unknown = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#engine.registry.dispatch(this.caller, { method, params }, (outcome: Outcome) => {
        const text = outcome.ok ? ("text" in outcome ? outcome.text : JSON.stringify(outcome.payload)) : "";
        this.sent.push(
          outcome.ok ? `{"type":"res","ok":true,"payload":${text}}` : '{"type":"res","ok":false}',
        );
        if (outcome.ok) resolve(JSON.parse(text) as T);
        else reject(outcome.error);
      });
    });
  }

  /** Everything sent so far, parsed. */
  frames(): ReceivedFrame[] {
    return this.sent.map((text) => JSON.parse(text) as ReceivedFrame);
  }
  /** Durable events sent so far. */
  events(): ReceivedFrame[] {
    return this.frames().filter((frame) => frame.seq !== undefined);
  }
}

export interface ReceivedFrame {
  readonly type: string;
  readonly event: string;
  readonly session_id: string;
  readonly epoch: string;
  readonly seq?: number;
  readonly ts: number;
  readonly run_id?: string;
  readonly ok?: boolean;
  readonly payload: Record<string, unknown>;
}

/** Resolves when the condition holds; looks again after every turn of the event loop. */
export async function until(
  condition: () => boolean,
  what = "the condition",
  timeout_ms = 10_000,
): Promise<void> {
  const end = Date.now() + timeout_ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not come true within ${timeout_ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
