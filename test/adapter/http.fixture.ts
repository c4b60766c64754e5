import { createChallenges } from "../../src/auth/challenges.ts";
import { createDoors } from "../../src/auth/doors.ts";
import { systemClock } from "../../src/clock.ts";
import type { Connection } from "../../src/core/connections.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Files } from "../../src/core/attachment.ts";
import type { Clock, Logger } from "../../src/core/ports.ts";
import type { Credential, Principal } from "../../src/core/principal.ts";
import { credentialFromHeader } from "../../src/core/principal.ts";
import { handle } from "../../src/method/registry.ts";
import { authSessionCreate, authSessionRevoke, ticketCreate } from "../../src/protocol/api/auth.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { Scope } from "../../src/protocol/schema.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { TransportContext } from "../../src/transport/context.ts";
import { StrangerBodies } from "../../src/transport/stranger-bodies.ts";
import type { HttpTransport, SocketUpgrades } from "../../src/transport/http.ts";
import { createHttp } from "../../src/transport/http.ts";
import type { Script, TestEngine } from "../support/engine.ts";
import { startEngine } from "../support/engine.ts";
import { consoleStub } from "../support/transport-stub.ts";
import type { EventReader, OpenOptions } from "../support/sse-client.ts";
import { openEvents } from "../support/sse-client.ts";

const SESSION_MS = 86_400_000;

function principal(user: string, scopes: readonly Scope[]): Principal {
  return { user, scopes: new Set(scopes), method: "token", credential: `tok_${user}`, expires_at: null };
}

/** Tokens and whose they are. */
const TOKENS: Readonly<Record<string, Principal>> = {
  owner: principal("owner", SCOPES),
  other: principal("other", SCOPES),
  writer: principal("writer", ["chat.write"]),
};

export interface HttpSetup {
  /** Instead of the domain's. */
  readonly files?: Files;
  readonly script?: Script;
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
  /** auth.mode none. */
  readonly open?: boolean;
  readonly sockets?: boolean;
  /** Devices are accepted. */
  readonly challenge?: boolean;
  readonly allowed_origins?: readonly string[];
}

export interface TestHttp extends AsyncDisposable {
  readonly url: string;
  readonly core: TestEngine;
  readonly http: HttpTransport;
  readonly context: TransportContext;
  readonly presence: { readonly connection: Connection; readonly state: "joined" | "left" }[];
  readonly counted: { readonly limits: string[]; readonly errors: string[]; slow: number };
  /** What was logged as an error. */
  readonly logged: Record<string, unknown>[];
  readonly asked: { readonly credential: Credential; readonly transport: string }[];
  /** Single-use credentials of the owner. */
  readonly tickets: Set<string>;
  status: "healthy" | "degraded" | "draining";
  store: { ok: boolean; reason?: string };
  /** A request as the owner unless another token (or null, for none) is given. */
  ask(verb: string, path: string, options?: AskOptions): Promise<Answer>;
  /** An event stream of the owner, unless the headers say otherwise. */
  open(path: string, options?: OpenOptions): Promise<EventReader>;
  /** A chat.send of the owner, answered once it is committed. */
  send(session_id: string, message?: string): Promise<{ run_id: string; epoch: string; seq: number }>;
}

export interface AskOptions {
  readonly token?: string | null;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly body: any;
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

/** The HTTP transport on a port of its own, over the real domain with its store in memory. */
export async function startHttp(setup: HttpSetup = {}): Promise<TestHttp> {
  const { clock = systemClock, script, limits } = setup;
  const core = await startEngine({
    clock,
    ...(script !== undefined && { script }),
    ...(limits !== undefined && { limits }),
  });
  const state: State = {
    status: "healthy",
    store: { ok: true },
    presence: [],
    counted: { limits: [], errors: [], slow: 0 },
    logged: [],
    asked: [],
    tickets: new Set(),
  };
  addAuthMethods(core.engine, state.tickets);
  const ports: number[] = [];
  const context = contextOf(core, clock, setup, state, ports);
  const http = createHttp(context, noSockets);
  const { url, port } = await http.listen("127.0.0.1", 0);
  ports.push(port);
  core.engine.hub.addListener(http.listener);
  return Object.assign(state, {
    url,
    core,
    http,
    context,
    ask: (verb: string, path: string, options: AskOptions = {}) => ask(verb, url + path, options),
    open: (path: string, options: OpenOptions = {}) =>
      openEvents(url + path, { ...options, headers: { ...bearer("owner"), ...options.headers } }),
    async send(session_id: string, message = "hello") {
      const sender = core.connect("owner");
      const params = { session_id, message, subscribe: false };
      const sent = await sender.request<{ run_id: string; epoch: string; seq: number }>("chat.send", params);
      sender.close();
      return sent;
    },
    async [Symbol.asyncDispose]() {
      await http.stop();
      await core.close();
    },
  });
}

type State = Pick<TestHttp, "status" | "store" | "presence" | "counted" | "logged" | "asked" | "tickets">;

function contextOf(
  core: TestEngine,
  clock: Clock,
  setup: HttpSetup,
  state: State,
  ports: readonly number[],
): TransportContext {
  const { engine, limits } = core;
  const { open = false, sockets = true, allowed_origins = [] } = setup;
  const log: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: () => undefined,
    error: (fields, message) => void state.logged.push({ ...fields, message }),
    child: () => log,
  };
  return {
    options: {
      name: "agentbus",
      version: "1.2.3",
      node_id: "nod_1",
      sockets,
      public_url: "",
      open,
      tailnet: false,
      challenge: setup.challenge ?? false,
      password: false,
      heartbeat_interval_secs: 30,
      connection_timeout_secs: 300,
      capabilities: [],
    },
    limits,
    strangers: new StrangerBodies(limits, (address) => address),
    clock,
    log,
    dispatch: engine.registry.dispatch,
    definitions: () => engine.registry.definitions(),
    definition: (name) => engine.registry.get(name),
    receive: async () => ({ ok: true, payload: {} }),
    addedRoutes: () => [],
    refuseChange: (caller) => engine.registry.refuseChange(caller),
    events: [],
    files: setup.files ?? engine.files,
    authenticator: {
      async authenticate(credential, { transport }) {
        state.asked.push({ credential, transport });
        const found = whose(credential, state.tickets, open);
        if (found !== null) return { ok: true, principal: found };
        return { ok: false, error: new GatewayError("UNAUTHORIZED", "the credential is wrong") };
      },
    },
    challenger: createChallenges({
      clock,
      limits,
      server_id: () => "srv_1",
    }),
    credential(header) {
      if (header === null) return null;
      const read = credentialFromHeader(header);
      return read.ok ? read.credential : read.error;
    },
    doors: createDoors({
      hosts: ["127.0.0.1"],
      ports: () => ports,
      public_url: "",
      allowed_origins,
      trusted_proxies: [],
    }),
    connections: engine.connections,
    followers: engine.followers,
    directory: engine.directory,
    hub: engine.hub,
    console: consoleStub(),
    uptime: () => 1.5,
    status: () => state.status,
    ready: () => ({
      store: state.store,
      disk: { ok: true },
      draining: { ok: state.status !== "draining" },
      provider: { ok: false, reason: "no API key" },
    }),
    times: engine.times,
    metrics: null,
    count: {
      limit: (option) => void state.counted.limits.push(option),
      error: (error) => {
        state.counted.errors.push(error.reason);
        if (error.limit !== undefined) state.counted.limits.push(error.limit);
      },
      slowConsumer: () => void state.counted.slow++,
    },
    onConnection: (connection, what) => void state.presence.push({ connection, state: what }),
  };
}

async function ask(verb: string, url: string, options: AskOptions): Promise<Answer> {
  const { token = "owner", body, headers = {} } = options;
  const response = await fetch(url, {
    method: verb,
    redirect: "manual",
    headers: {
      ...(token !== null && bearer(token)),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json" && text !== "";
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** WebSockets have tests of their own: here an upgrade is only seen to arrive. */
const noSockets: SocketUpgrades<unknown> = {
  upgrade: () => new Response("upgrade", { status: 418 }),
  websocket: { message: () => undefined },
  listenerFor: () => ({ publish: () => undefined }),
};

function whose(credential: Credential, tickets: Set<string>, open: boolean): Principal | null {
  switch (credential.kind) {
    case "none":
      return open ? (TOKENS["owner"] ?? null) : null;
    case "token":
    case "session_token":
      return TOKENS[credential.token] ?? null;
    case "password":
      return credential.password === "opensesame" ? (TOKENS["owner"] ?? null) : null;
    case "ticket":
      return tickets.delete(credential.ticket) ? (TOKENS["owner"] ?? null) : null;
    default:
      return null;
  }
}

function addAuthMethods(engine: TestEngine["engine"], tickets: Set<string>): void {
  const now = (): number => Date.now();
  engine.registry.add(
    handle(ticketCreate, () => {
      const ticket = `t${tickets.size}`;
      tickets.add(ticket);
      return { ticket, expires_at: now() + 30_000 };
    }),
  );
  engine.registry.add(
    handle(authSessionCreate, (_params, call) => ({
      auth_session_id: "aus_1",
      session_token: "ags_1",
      user: call.user,
      scopes: [...call.caller.principal.scopes],
      expires_at: now() + SESSION_MS,
    })),
  );
  engine.registry.add(handle(authSessionRevoke, () => ({ revoked: true })));
}
