import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthenticator } from "../../src/auth/authenticate.ts";
import { createChallenges } from "../../src/auth/challenges.ts";
import type { CredentialBook, CredentialsConfig } from "../../src/auth/credentials.ts";
import { createCredentials } from "../../src/auth/credentials.ts";
import { createDeviceLogin } from "../../src/auth/device-login.ts";
import { Pairing } from "../../src/auth/pairing.ts";
import { Throttle } from "../../src/auth/throttle.ts";
import { createPasswords } from "../../src/auth/passwords.ts";
import type { MemoryTickets } from "../../src/auth/tickets.ts";
import { createTickets } from "../../src/auth/tickets.ts";
import { Audit } from "../../src/core/audit.ts";
import type { Challenger } from "../../src/core/challenge.ts";
import { Journal } from "../../src/core/journal.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { GroupResult, StoreItem } from "../../src/core/operation.ts";
import type { Logger } from "../../src/core/ports.ts";
import type { Store } from "../../src/core/store.ts";
import type { Authenticator, Credential, Principal, TokenGrant } from "../../src/core/principal.ts";
import { SampledLog } from "../../src/core/sampled-log.ts";
import { authSessionMethods } from "../../src/method/auth-session.ts";
import { deviceMethods } from "../../src/method/device.ts";
import { Registry } from "../../src/method/registry.ts";
import { tokenMethods } from "../../src/method/token.ts";
import type { Scope } from "../../src/protocol/schema.ts";
import type { GatewayError } from "../../src/protocol/errors.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";

export const SERVER_ID = "srv_1";
export const FROM = { transport: "ws", remote: "127.0.0.1" };

export interface LogLine extends Record<string, unknown> {
  readonly level: string;
  readonly message: string;
}

/** What outlives a gateway: the store, the data directory and the time. */
export interface Home extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly store: SlowStore;
  readonly data_dir: string;
}

/** A store whose commits a test can hold back or have refused. */
export interface SlowStore extends Store {
  /** Commits wait until `release` is called. */
  hold(): void;
  release(): void;
  /** Storage refuses writes from here on, or takes them again. */
  refuse(yes: boolean): void;
  /** Every item that was committed. */
  readonly committed: StoreItem[];
}

export function slowStore(store: Store): SlowStore {
  const gate = { open: Promise.resolve(), release: (): void => undefined, refusing: false };
  const committed: StoreItem[] = [];
  const own: Partial<SlowStore> = {
    committed,
    hold() {
      gate.open = new Promise((resolve) => (gate.release = resolve));
    },
    release: () => gate.release(),
    refuse: (yes) => void (gate.refusing = yes),
    async commit(group): Promise<GroupResult> {
      await gate.open;
      if (gate.refusing) return { ok: false, refused: "full" };
      committed.push(...group);
      return store.commit(group);
    },
    async probe() {
      if (gate.refusing) throw new Error("full");
      await store.probe();
    },
  };
  return new Proxy(store, {
    get(_target, name) {
      const value: unknown = own[name as keyof SlowStore] ?? store[name as keyof Store];
      return typeof value === "function" ? (value.bind(store) as unknown) : value;
    },
  }) as SlowStore;
}

/** @param make the store, which is not open yet; in memory unless another is given */
export async function newHome(make?: (clock: ManualClock, data_dir: string) => Store): Promise<Home> {
  const clock = manualClock();
  const data_dir = join(await mkdtemp(join(tmpdir(), "agentbus-auth-")), "data");
  const store = slowStore(make?.(clock, data_dir) ?? createMemoryStore({ clock, limits: DEFAULT_LIMITS }));
  await store.open();
  return {
    clock,
    store,
    data_dir,
    [Symbol.asyncDispose]: () => rm(join(data_dir, ".."), { recursive: true, force: true }),
  };
}

/** Everything about credentials, put together as a gateway does it. */
export interface Auth {
  readonly credentials: CredentialBook;
  readonly tickets: MemoryTickets;
  readonly authenticator: Authenticator;
  readonly journal: Journal;
  /** What `start` answered. */
  readonly local: { readonly created: boolean; readonly token: string };
  /** Credential ids that onRevoked was told of. */
  readonly revoked: string[];
  readonly lines: LogLine[];
  readonly throttle: Throttle;
  readonly challenger: Challenger;
  /** How often somebody was told to wait. */
  readonly counted: { readonly throttled: number };
  /** @throws GatewayError as the authenticator answers it */
  login(credential: Credential, remote?: string): Promise<Principal>;
  /** @throws GatewayError as the method answers it */
  request<T = Record<string, unknown>>(principal: Principal, method: string, params?: unknown): Promise<T>;
  /** A token made by the local administrator. */
  token(grant?: Partial<TokenGrant>): Promise<{ token: string; token_id: string; scopes: string[] }>;
  /** As a gateway stops: everything queued is written. */
  stop(): Promise<void>;
}

export interface AuthChanges extends Partial<CredentialsConfig> {
  /** For mode "password": one of them. */
  readonly password?: string;
  readonly password_hash?: string;
  /** Whom the configuration lets in by themselves. */
  readonly named?: Readonly<Record<string, readonly Scope[]>>;
  readonly limits?: Partial<Limits>;
}

const PASSWORD = { password: "", password_hash: "" };

export async function startAuth(home: Home, changes: AuthChanges = {}): Promise<Auth> {
  const { clock, store, data_dir } = home;
  const lines: LogLine[] = [];
  const log = memoryLog(lines);
  const limits = { ...DEFAULT_LIMITS, ...changes.limits };
  const revoked: string[] = [];
  const fatal = (error: unknown): void => {
    throw error;
  };
  const nothing = (): void => undefined;
  const journal = new Journal({ store, clock, limits, log, publish: nothing, onStorage: nothing, fatal });
  const audit = new Audit({ journal, clock, log });
  const config = { mode: "token", token: "", session_ttl_secs: 86_400, data_dir, ...PASSWORD, ...changes };
  const named = new Map(Object.entries(changes.named ?? {}));
  const onRevoked = (id: string): void => void revoked.push(id);
  const pairing = new Pairing({ clock, log, limits });
  const credentials = createCredentials({
    store,
    journal,
    clock,
    log,
    audit,
    pairing,
    config,
    onRevoked,
    named: () => named,
  });
  const throttle = new Throttle({ store, journal, clock });
  await throttle.start();
  const { mode, password, password_hash } = config;
  const passwords =
    mode === "password"
      ? createPasswords({ store, journal, throttle, clock, config: { password, password_hash } })
      : null;
  if (passwords !== null) {
    credentials.stand({ digest: await passwords.start(), principal: passwords.principal });
  }
  const local = await credentials.start();
  const tickets = createTickets({ clock, limits, isLive: (principal) => credentials.isLive(principal) });
  const counted = { throttled: 0 };
  const onThrottled = (): void => void counted.throttled++;
  const { devices } = credentials;
  const server_id = (): string => SERVER_ID;
  const challenger = createChallenges({ clock, limits, server_id });
  const authenticator = createAuthenticator({
    credentials,
    tickets,
    throttle,
    passwords,
    tailnet: null,
    devices: mode === "device" ? createDeviceLogin({ devices, pairing, throttle, clock, server_id }) : null,
    mode,
    log: new SampledLog(clock, log),
    onThrottled,
    caughtUp: async () => undefined,
  });
  const deps = { journal, clock, credentials, devices, tickets, caughtUp: async () => undefined };
  const isLive = (principal: Principal): boolean => credentials.isLive(principal);
  const rates = { count: () => null };
  const around = { store, clock, log, audit, isLive, count: nothing, rates, draining: () => false };
  const registry = new Registry(around, [
    ...tokenMethods(deps),
    ...authSessionMethods(deps),
    ...deviceMethods(deps),
  ]);

  async function login(credential: Credential, remote = FROM.remote): Promise<Principal> {
    const outcome = await authenticator.authenticate(credential, { ...FROM, remote });
    if (!outcome.ok) throw outcome.error;
    return outcome.principal;
  }

  function request<T>(principal: Principal, method: string, params: unknown = {}): Promise<T> {
    const signal = new AbortController().signal;
    const caller = {
      principal,
      transport: "rest",
      client_id: "",
      remote: "",
      connection: null,
      signal,
    } as const;
    return new Promise((resolve, reject) => {
      registry.dispatch(caller, { method, params }, (outcome) => {
        if (!outcome.ok) reject(outcome.error);
        else if ("payload" in outcome) resolve(outcome.payload as T);
      });
    });
  }

  return {
    credentials,
    tickets,
    authenticator,
    journal,
    local,
    revoked,
    lines,
    throttle,
    counted,
    challenger,
    login,
    request,
    async token(grant = {}) {
      const admin = await login({ kind: "token", token: local.token });
      return request(admin, "token.create", { name: "laptop", ...grant });
    },
    async stop() {
      throttle.close();
      credentials.close();
      await journal.drained();
      journal.stop();
    },
  };
}

/** The error a promise rejects with, as clients see it. */
export async function refusal(promise: Promise<unknown>): Promise<ReturnType<GatewayError["toBody"]>> {
  const error = await promise.then(
    (value) => {
      throw new Error(`not refused: ${JSON.stringify(value)}`);
    },
    (reason: GatewayError) => reason,
  );
  return error.toBody();
}

export function memoryLog(lines: LogLine[]): Logger {
  const at = (level: string) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ ...fields, level, message });
  };
  const log: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => log,
  };
  return log;
}
