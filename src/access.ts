import { createAuthenticator } from "./auth/authenticate.ts";
import { createChallenges } from "./auth/challenges.ts";
import type { CredentialBook, CredentialsConfig } from "./auth/credentials.ts";
import { createCredentials } from "./auth/credentials.ts";
import { isLocalAddress } from "./auth/address.ts";
import { createDeviceLogin } from "./auth/device-login.ts";
import type { Doors } from "./auth/doors.ts";
import { createDoors } from "./auth/doors.ts";
import { Pairing } from "./auth/pairing.ts";
import type { Passwords } from "./auth/passwords.ts";
import { createPasswords, hashPassword } from "./auth/passwords.ts";
import { expandScopes, listScopes } from "./auth/scopes.ts";
import { Tailnet } from "./auth/tailnet.ts";
import { watchTailnet } from "./auth/tailnet-watch.ts";
import { NoAnswer, whois } from "./auth/tailscaled.ts";
import { Throttle } from "./auth/throttle.ts";
import type { Tickets } from "./auth/tickets.ts";
import { createSharedChallenges } from "./auth/shared-challenges.ts";
import { createSharedTickets } from "./auth/shared-tickets.ts";
import { createTickets } from "./auth/tickets.ts";
import type { Config } from "./config.ts";
import { acceptsTailscale } from "./config/tailscale.ts";
import { configured } from "./config/error.ts";
import type { Audit } from "./core/audit.ts";
import type { Live } from "./core/live.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Authenticator, Principal, TokenGrant } from "./core/principal.ts";
import type { Engine } from "./engine.ts";
import { listenersOf } from "./listeners.ts";
import { authSessionMethods } from "./method/auth-session.ts";
import { deviceMethods } from "./method/device.ts";
import { tokenMethods } from "./method/token.ts";
import { GatewayError } from "./protocol/errors.ts";
import type { LiveConfig } from "./settings.ts";
import type { Scope } from "./protocol/schema.ts";

interface Around {
  /** Whether an address is this machine's own. */
  readonly isLocal?: ((address: string) => boolean) | undefined;
  /** A key that all nodes on the store have, once it is open. */
  readonly keyFor: (purpose: string) => Buffer;
}

/** Who may come in: constructs the auth ring over an engine and adds its methods. */
export function createAccess(
  engine: Engine,
  { live, config }: LiveConfig,
  clock: Clock,
  log: Logger,
  { isLocal = isLocalAddress, keyFor }: Around,
) {
  const { journal, store, audit, server_id } = engine;
  const { limits } = config;
  const isLive = (principal: Principal): boolean => credentials.isLive(principal);
  const pairing = new Pairing({ clock, log, limits });
  const named = live.derive(namedUsers);
  const credentials = createCredentials({
    store,
    journal,
    clock,
    log,
    audit,
    pairing,
    config: credentialsConfig(config),
    named: () => named.now,
    onRevoked: (id) => closeRevoked(engine, id, isLive),
  });
  live.onReplaced((next) => credentials.setToken(next.auth.token));
  engine.mirrors.add(...credentials.mirrors);
  const caughtUp = (): Promise<void> => engine.mirrors.caughtUp();
  const memory = createTickets({ clock, limits, isLive });
  const tickets =
    store.cluster === undefined
      ? memory
      : createSharedTickets({ store, journal, credentials, memory, caughtUp });
  const own = createChallenges({ clock, limits, server_id });
  const key = (): Buffer => keyFor("challenges");
  const challenger =
    store.cluster === undefined ? own : createSharedChallenges({ journal, clock, limits, own, key });
  const login = createLogin({ engine, live, clock, log, credentials, tickets, pairing, isLocal });
  const methods = { journal, clock, credentials, devices: credentials.devices, tickets, caughtUp };
  for (const method of [
    ...tokenMethods(methods),
    ...authSessionMethods(methods),
    ...deviceMethods(methods),
  ]) {
    engine.registry.add(method);
  }
  /** Filled once the listeners have theirs. */
  const ports: number[] = [];
  const doors = createLiveDoors(live, ports);
  return {
    /** With everything that is opened and closed along with them. */
    credentials: {
      ...credentials,
      async start() {
        await login.start();
        return credentials.start();
      },
      close() {
        engine.mirrors.close();
        login.close();
        credentials.close();
      },
    } satisfies CredentialBook,
    named: () => named.now,
    authenticator: audited(login.authenticator, audit),
    challenger,
    doors,
    ports,
  };
}

/** @param config reads as it is now */
function credentialsConfig(config: Config): CredentialsConfig {
  const { mode, token } = config.auth;
  return {
    mode,
    token,
    data_dir: config.server.data_dir,
    get session_ttl_secs() {
      return config.auth.session_ttl_secs;
    },
  };
}

/** Who the configuration itself lets in. */
function namedUsers({ auth }: Config): ReadonlyMap<string, readonly Scope[]> {
  const named = new Map<string, readonly Scope[]>();
  for (const { user, role } of acceptsTailscale(auth) ? Object.values(auth.tailscale.users) : []) {
    named.set(user, listScopes(new Set([...(named.get(user) ?? []), ...expandScopes(role)])));
  }
  return named;
}

interface LoginParts {
  readonly engine: Engine;
  readonly live: Live<Config>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly credentials: CredentialBook;
  readonly tickets: Tickets;
  readonly pairing: Pairing;
  readonly isLocal: (address: string) => boolean;
}

/** The authenticator, with what the mode accepts besides the credentials the gateway issues. */
function createLogin(parts: LoginParts) {
  const { engine, live, clock, credentials, tickets, pairing, isLocal } = parts;
  const { journal, store, stats, sampled, server_id } = engine;
  const { auth } = live.now;
  const throttle = new Throttle({ store, journal, clock });
  const passwords = accepts(auth, "password") ? createLivePasswords(parts, throttle) : null;
  const devices = accepts(auth, "device")
    ? createDeviceLogin({ devices: credentials.devices, pairing, throttle, clock, server_id })
    : null;
  const tailnet = acceptsTailscale(auth)
    ? new Tailnet({ ...auth.tailscale, isLocal, clock, log: sampled })
    : null;
  live.onReplaced((next) => tailnet?.setUsers(next.auth.tailscale.users));
  let unwatch = (): void => undefined;
  return {
    authenticator: createAuthenticator({
      credentials,
      tickets,
      throttle,
      passwords,
      devices,
      tailnet,
      mode: auth.mode,
      log: sampled,
      onThrottled: () => void stats.throttled++,
      caughtUp: () => engine.mirrors.caughtUp(),
    }),
    async start(): Promise<void> {
      await throttle.start();
      if (passwords !== null) {
        credentials.stand({ digest: await passwords.start(), principal: passwords.principal });
      }
      if (tailnet === null) return;
      unwatch = watchTailnet({ tailnet, connections: () => engine.connections.all(), clock });
    },
    close(): void {
      unwatch();
      throttle.close();
    },
  };
}

export type Access = ReturnType<typeof createAccess>;

/** The password of the configuration that counts. Another one counts once it is hashed, which takes a moment. */
function createLivePasswords({ engine, live, clock, log, credentials }: LoginParts, throttle: Throttle) {
  const { store, journal } = engine;
  const make = ({ password, password_hash }: Config["auth"]): Passwords =>
    createPasswords({ store, journal, throttle, clock, config: { password, password_hash } });
  let now = make(live.now.auth);
  live.onReplaced(({ auth }, before) => {
    if (auth.password === before.auth.password && auth.password_hash === before.auth.password_hash) return;
    const next = make(auth);
    next.start().then(
      (digest) => {
        now = next;
        credentials.stand({ digest, principal: next.principal });
      },
      (error: unknown) => log.error({ err: error }, "the new password cannot be used: the last one stays"),
    );
  });
  return {
    get principal() {
      return now.principal;
    },
    refusal: (password, address) => now.refusal(password, address),
    start: () => now.start(),
  } satisfies Passwords;
}

/** Those of the configuration that counts. */
function createLiveDoors(live: Live<Config>, ports: readonly number[]): Doors {
  const doors = live.derive((config) => doorsOf(config, ports));
  return {
    checkHost: (host) => doors.now.checkHost(host),
    checkOrigin: (request) => doors.now.checkOrigin(request),
    corsOrigin: (origin) => doors.now.corsOrigin(origin),
    remoteOf: (peer, headers) => doors.now.remoteOf(peer, headers),
    tailnetOf: (peer, headers) => doors.now.tailnetOf(peer, headers),
  };
}

/** `ports` is read at every request. */
function doorsOf(config: Config, ports: readonly number[]): Doors {
  const { public_url, allowed_origins, trusted_proxies } = config.server;
  const hosts = listenersOf(config).map((listener) => listener.host);
  return configured(() =>
    createDoors({ hosts, ports: () => ports, public_url, allowed_origins, trusted_proxies }),
  );
}

/** Whether a kind of credential is accepted besides those the gateway issues. */
export function accepts({ mode, modes }: Config["auth"], kind: "password" | "device"): boolean {
  return mode === kind || (mode === "multi" && modes.includes(kind));
}

/** Every login goes into the audit trail, right or wrong; who presents nothing where something is needed tries none. */
function audited(authenticator: Authenticator, audit: Audit): Authenticator {
  return {
    async authenticate(credential, from) {
      const result = await authenticator.authenticate(credential, from);
      const { transport, remote, client_id = "" } = from;
      const where = { action: "login", transport, remote, client_id };
      if (result.ok) {
        const { user, method, credential: id } = result.principal;
        audit.tally({ ...where, user, method, credential: id });
      } else if (credential.kind !== "none") {
        audit.tally({ ...where, method: credential.kind, outcome: result.error.reason });
      }
      return result;
    },
  };
}

/** What `auth.password_hash` takes for a password, a PHC string. */
export function passwordHash(password: string): Promise<string> {
  return hashPassword(password);
}

/** What a role and scopes allow together; without either, what the role `user` does. */
export function scopesOf(grant: Pick<TokenGrant, "role" | "scopes">): Scope[] {
  return listScopes(expandScopes(grant.role, grant.scopes));
}

/** Why tailscaled behind a socket cannot say who a peer is; null: it can. */
export async function tailscaledFailure(socket: string, clock: Clock): Promise<string | null> {
  try {
    // Of nobody it says that there is no such peer, which is an answer.
    await whois(socket, "127.0.0.1:1", clock);
    return null;
  } catch (error) {
    if (error instanceof NoAnswer) return error.message;
    throw error;
  }
}

/** What a connection reads whose credential ended. */
export function revoked(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "the credential of this connection was revoked or has expired");
}

/** A credential ended: every connection that was let in by it goes. */
function closeRevoked(engine: Engine, credential: string, isLive: (principal: Principal) => boolean): void {
  for (const connection of engine.connections.all()) {
    const { principal } = connection;
    if (principal === null || principal.credential !== credential || isLive(principal)) continue;
    connection.close(revoked());
  }
}
