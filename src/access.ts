import { createAuthenticator } from "./auth/authenticate.ts";
import type { CredentialBook } from "./auth/credentials.ts";
import { createCredentials } from "./auth/credentials.ts";
import { createDoors } from "./auth/doors.ts";
import { createPasswords, hashPassword } from "./auth/passwords.ts";
import { expandScopes, listScopes } from "./auth/scopes.ts";
import { Throttle } from "./auth/throttle.ts";
import { createTickets } from "./auth/tickets.ts";
import type { Config } from "./config.ts";
import { configured } from "./config/error.ts";
import type { Audit } from "./core/audit.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Authenticator, Principal, TokenGrant } from "./core/principal.ts";
import type { Engine } from "./engine.ts";
import { listenersOf } from "./listeners.ts";
import { authSessionMethods } from "./method/auth-session.ts";
import { tokenMethods } from "./method/token.ts";
import { GatewayError } from "./protocol/errors.ts";
import type { Scope } from "./protocol/schema.ts";

/** Who may come in: constructs the auth ring over an engine and adds its methods. */
export function createAccess(engine: Engine, config: Config, clock: Clock, log: Logger) {
  const { journal, store, stats, audit, sampled } = engine;
  const { mode, token, session_ttl_secs, password, password_hash } = config.auth;
  const { data_dir, public_url, allowed_origins, trusted_proxies } = config.server;
  const isLive = (principal: Principal): boolean => credentials.isLive(principal);
  const credentials = createCredentials({
    store,
    journal,
    clock,
    log,
    audit,
    config: { mode, token, session_ttl_secs, data_dir },
    onRevoked: (id) => closeRevoked(engine, id, isLive),
  });
  const tickets = createTickets({ clock, limits: config.limits, isLive });
  const throttle = new Throttle({ store, journal, clock });
  const passwords = acceptsPassword(config.auth)
    ? createPasswords({ store, journal, throttle, clock, config: { password, password_hash } })
    : null;
  const onThrottled = (): void => void stats.throttled++;
  const authenticator = audited(
    createAuthenticator({
      credentials,
      tickets,
      throttle,
      passwords,
      mode,
      log: sampled,
      onThrottled,
    }),
    audit,
  );
  const methods = { journal, clock, credentials };
  for (const method of [...tokenMethods(methods), ...authSessionMethods({ ...methods, tickets })]) {
    engine.registry.add(method);
  }
  /** Filled once the listeners have theirs. */
  const ports: number[] = [];
  const hosts = listenersOf(config).map((listener) => listener.host);
  const doors = configured(() =>
    createDoors({ hosts, ports: () => ports, public_url, allowed_origins, trusted_proxies }),
  );
  return {
    /** With everything that is opened and closed along with them. */
    credentials: {
      ...credentials,
      async start() {
        await throttle.start();
        if (passwords !== null) {
          credentials.stand({ digest: await passwords.start(), principal: passwords.principal });
        }
        return credentials.start();
      },
      close() {
        throttle.close();
        credentials.close();
      },
    } satisfies CredentialBook,
    authenticator,
    doors,
    ports,
  };
}

export type Access = ReturnType<typeof createAccess>;

function acceptsPassword({ mode, modes }: Config["auth"]): boolean {
  return mode === "password" || (mode === "multi" && modes.includes("password"));
}

/** Every login goes into the audit trail, right or wrong; who presents nothing where something is needed tries none. */
function audited(authenticator: Authenticator, audit: Audit): Authenticator {
  return {
    async authenticate(credential, from) {
      const result = await authenticator.authenticate(credential, from);
      const { transport, remote } = from;
      const where = { action: "login", transport, remote };
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
