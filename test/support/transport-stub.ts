import type { Caller, Outcome } from "../../src/core/call.ts";
import { createChallenges } from "../../src/auth/challenges.ts";
import { Connections } from "../../src/core/connections.ts";
import type { Connection } from "../../src/core/connections.ts";
import { Hub } from "../../src/core/hub.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Logger } from "../../src/core/ports.ts";
import { RunTimes } from "../../src/core/run-times.ts";
import type { Authenticated, Credential, From, Principal } from "../../src/core/principal.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { TransportContext, TransportOptions } from "../../src/transport/context.ts";
import { StrangerBodies } from "../../src/transport/stranger-bodies.ts";
import { manualClock } from "./clock.ts";
import type { ManualClock } from "./clock.ts";

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

export const OWNER: Principal = {
  user: "owner",
  scopes: new Set(["admin", "chat.read"]),
  method: "token",
  credential: "tok_1",
  expires_at: null,
};

/** What a test looks at, and what it may change while things run. */
export interface TransportStub {
  readonly context: TransportContext;
  readonly clock: ManualClock;
  /** Requests that `dispatch` was given, oldest first. */
  readonly calls: { readonly caller: Caller; readonly method: string; readonly params: unknown }[];
  /** Answers of the method "hold", which answers when the test does. */
  readonly held: ((outcome: Outcome) => void)[];
  /** What the authenticator was asked. */
  readonly asked: ({ readonly credential: Credential } & From)[];
  /** Replaces what the authenticator answers: by default the token "right" and the ticket "once" are the owner's. */
  authenticate: (credential: Credential) => Promise<Authenticated>;
  readonly counted: { readonly limits: string[]; readonly errors: string[]; slow: number };
  readonly presence: { readonly connection: Connection; readonly state: "joined" | "left" }[];
  /** Connections whose subscriptions were ended. */
  readonly unfollowed: Connection[];
  status: "healthy" | "degraded" | "draining";
  refusedHost: GatewayError | null;
  refusedOrigin: GatewayError | null;
}

export interface StubSetup {
  readonly limits?: Partial<Limits>;
  readonly options?: Partial<TransportOptions>;
}

const noFiles = (): Promise<never> => Promise.reject(new Error("no files here"));

export function wrongCredential(): Authenticated {
  return { ok: false, error: new GatewayError("UNAUTHORIZED", "the credential is wrong") };
}

/** A page of one script. */
export function consoleStub(): TransportContext["console"] {
  const files = ["console-1.js", "console-1.css", "icon-1.svg", "icon-1.png", "manifest-1.webmanifest"];
  const [script = "", style = "", icon = "", touch_icon = "", manifest = ""] = files;
  return {
    entry: async () => ({ script, style, icon, touch_icon, manifest }),
    find: async (name, encodings) => {
      if (!files.includes(name)) return null;
      return encodings.includes("gzip")
        ? { body: new Blob([Bun.gzipSync(name)]), encoding: "gzip" }
        : { body: new Blob([name]), encoding: null };
    },
  };
}

/** A context whose methods answer at once: echo (its params), text (JSON text), fail, and hold. */
export function stubTransport(setup: StubSetup = {}): TransportStub {
  const clock = manualClock();
  const options: TransportOptions = {
    name: "agentbus",
    version: "1.2.3",
    node_id: "nod_1",
    sockets: true,
    public_url: "",
    open: false,
    tailnet: false,
    challenge: false,
    password: false,
    heartbeat_interval_secs: 30,
    connection_timeout_secs: 300,
    capabilities: ["chat", "resume"],
    ...setup.options,
  };
  const stub: Omit<TransportStub, "context"> = {
    clock,
    calls: [],
    held: [],
    asked: [],
    authenticate: async (credential) => {
      if (credential.kind === "token" && credential.token === "right") return { ok: true, principal: OWNER };
      if (credential.kind === "ticket" && credential.ticket === "once") return { ok: true, principal: OWNER };
      if (credential.kind === "none" && options.open) {
        return { ok: true, principal: { ...OWNER, method: "none", credential: null } };
      }
      return wrongCredential();
    },
    counted: { limits: [], errors: [], slow: 0 },
    presence: [],
    unfollowed: [],
    status: "healthy",
    refusedHost: null,
    refusedOrigin: null,
  };
  const limits = { ...DEFAULT_LIMITS, ...setup.limits };
  const context: TransportContext = {
    options,
    limits,
    strangers: new StrangerBodies(limits, (address) => address),
    clock: clock,
    log: silent,
    receive: async () => ({ ok: true, payload: {} }),
    addedRoutes: () => [],
    refuseChange: () => null,
    dispatch(caller, { method, params }, answer) {
      stub.calls.push({ caller, method, params });
      if (method === "hold" || method === "run.wait" || method === "chat.abort") stub.held.push(answer);
      else if (method === "text") answer({ ok: true, text: '{"from":"text"}' });
      else if (method === "echo") answer({ ok: true, payload: params });
      else answer({ ok: false, error: new GatewayError("NOT_FOUND", "no such method") });
    },
    definitions: () => [],
    definition: () => undefined,
    events: ["heartbeat"],
    files: { receive: noFiles, open: noFiles },
    authenticator: {
      authenticate(credential, from) {
        stub.asked.push({ credential, ...from });
        return stub.authenticate(credential);
      },
    },
    challenger: createChallenges({
      clock,
      limits: { ...DEFAULT_LIMITS, ...setup.limits },
      server_id: () => "srv_1",
    }),
    credential(authorization) {
      if (authorization === null) return null;
      if (authorization.startsWith("Bearer ")) return { kind: "token", token: authorization.slice(7) };
      return new GatewayError("UNAUTHORIZED", "send Authorization: Bearer TOKEN");
    },
    doors: {
      checkHost: () => stub.refusedHost,
      checkOrigin: () => stub.refusedOrigin,
      corsOrigin: () => null,
      remoteOf: (peer, headers) => headers.get("x-real-ip") ?? peer,
      tailnetOf: () => null,
    },
    connections: new Connections({ limits, networkOf: (address) => address }),
    followers: {
      endAll(connection: Connection) {
        stub.unfollowed.push(connection);
        for (const subscription of connection.subscriptions.values()) subscription.end();
      },
    } as TransportContext["followers"],
    directory: null as unknown as TransportContext["directory"],
    hub: new Hub(),
    console: consoleStub(),
    uptime: () => clock.monotonic() / 1000,
    status: () => stub.status,
    ready: () => ({
      store: { ok: true },
      disk: { ok: true },
      draining: { ok: true },
      provider: { ok: true },
    }),
    times: new RunTimes(),
    metrics: (format) => ({ type: "text/plain", text: `${format}\n` }),
    count: {
      limit: (option) => void stub.counted.limits.push(option),
      error: (error) => {
        stub.counted.errors.push(error.reason);
        if (error.limit !== undefined) stub.counted.limits.push(error.limit);
      },
      slowConsumer: () => void stub.counted.slow++,
    },
    onConnection: (connection, state) => void stub.presence.push({ connection, state }),
  };
  return Object.assign(stub, { context });
}
