import type { Audit } from "../core/audit.ts";
import type { Journal } from "../core/journal.ts";
import type { Makers } from "../core/maker.ts";
import type { Mirror } from "../core/mirrors.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Store } from "../core/store.ts";
import type { Credentials, Principal } from "../core/principal.ts";
import type { Scope } from "../protocol/schema.ts";
import { AuthSessions } from "./auth-sessions.ts";
import type { Configured, Found } from "./book.ts";
import { Book } from "./book.ts";
import { credentialMirrors } from "./credential-mirrors.ts";
import { DeviceBook } from "./devices.ts";
import type { AuthSessionEntry } from "./entry.ts";
import { AUTH_SESSIONS, authSessionFrom, tokenFrom, TOKENS } from "./entry.ts";
import { createMakers } from "./makers.ts";
import { ownerPrincipal } from "./owner.ts";
import type { Pairing } from "./pairing.ts";
import { digestOf } from "./secret.ts";
import { readTokenFile } from "./token-file.ts";
import { Tokens } from "./tokens.ts";
import { createUsers, ShutUsers, USERS } from "./users.ts";
import { createVouching } from "./vouching.ts";

/** The credential id of the token in the configuration. */
const CONFIGURED = "config";

export interface CredentialsConfig {
  readonly mode: string;
  /** auth.token at first; empty: none. */
  readonly token: string;
  /** Read at each login. */
  readonly session_ttl_secs: number;
  readonly data_dir: string;
}

export interface CredentialsOptions {
  readonly store: Store;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: Audit;
  readonly pairing: Pairing;
  readonly config: CredentialsConfig;
  /** Whom the configuration lets in by themselves, and as what. */
  readonly named: () => ReadonlyMap<string, readonly Scope[]>;
  /**
   * A credential was revoked or rotated, or expired: connections whose principal carries its id and is not live
   * (`isLive`) have to go. Called a turn of the event loop after the request that did it was answered.
   */
  readonly onRevoked: (credential_id: string) => void;
}

/** What `createCredentials` makes: the port of the methods, what the authenticator asks, and a lifetime. */
export interface CredentialBook extends Credentials {
  readonly devices: DeviceBook;
  readonly makers: Makers;
  /**
   * Loads what the store has and sees to it that `<data_dir>/token` holds an administrator's token. Once, after the
   * store was opened and before anything is served. `created`: the token is new, show it once.
   * @throws GatewayError UNAVAILABLE where the file or the store cannot be written
   */
  start(): Promise<{ created: boolean; token: string }>;
  /**
   * A credential of the configuration that has no token, such as the password: before `start`, or in place of the one that
   * stood under its id, with which whatever came in by that one ends.
   */
  stand(configured: Configured): void;
  /** auth.token from here on; empty: none. What came in by another one ends. */
  setToken(token: string): void;
  /** How it follows what other nodes make and end. */
  readonly mirrors: readonly Mirror[];
  /** What ties something to a credential and the secret it has now; null: it does not count. */
  bond(credential: string, id: string): string | null;
  /** Who is behind a credential, with some of its scopes; null: nobody. */
  narrowed(credential: string, scopes: ReadonlySet<Scope>): Principal | null;
  /** Whether a secret lets somebody in, as far as is known here. */
  knows(secret: string): boolean;
  /** What a secret is. Counts as a use of it. */
  find(secret: string): Found;
  /** Queues what was not written yet and stops the timers: before the journal is drained. Idempotent. */
  close(): void;
}

/** What the token of the configuration is, said again each time it may be another. */
function createSetToken(book: Book): (token: string) => void {
  let now = "";
  return (token) => {
    if (token === now) return;
    now = token;
    const principal = ownerPrincipal("token", CONFIGURED);
    book.stand(CONFIGURED, token === "" ? null : { digest: digestOf(token), principal }, true);
  };
}

/** The credentials of this gateway: all of them in memory, every change of them in the journal. */
export function createCredentials(options: CredentialsOptions): CredentialBook {
  const { store, journal, clock, log, audit, pairing, config, onRevoked } = options;
  const shut = new ShutUsers();
  const book = new Book({
    clock,
    isShutOut: (user) => shut.has(user),
    onRevoked,
    onExpired: ({ kind, id, principal: { user } }) => {
      audit.record({ action: `${kind}.expire`, user, target: id });
    },
  });
  const setToken = createSetToken(book);
  setToken(config.token);
  const devices = new DeviceBook({ book, pairing, journal, clock, log });
  const place = (): string => store.cluster?.node() ?? "";
  const tokens = new Tokens({ book, journal, clock, log, data_dir: config.data_dir, place });
  const authSessions = new AuthSessions({
    book,
    clock,
    log,
    ttl_ms: () => config.session_ttl_secs * 1_000,
  });

  /** Whether a stored auth session still belongs to what it was made with. */
  function holds(entry: AuthSessionEntry): boolean {
    if (entry.parent === null) return entry.method === "local" || config.mode === "none";
    return book.bond(entry.parent, entry.id) === entry.bond;
  }

  const local = (): ReturnType<typeof localToken> => localToken(book, tokens, config.data_dir, log);

  return {
    devices,
    users: createUsers({ book, shut, clock }),
    makers: createMakers(book, (user) => shut.has(user), options.named),
    vouching: createVouching(book, (user) => shut.has(user)),
    async start() {
      shut.load(await store.records(USERS));
      for (const row of await store.records(TOKENS)) book.add(tokenFrom(row));
      await devices.start(store);
      // Oldest first: one that another made comes after it.
      for (const row of await store.records(AUTH_SESSIONS)) {
        const entry = authSessionFrom(row, (credential) => book.get(credential)?.principal);
        if (holds(entry)) book.add(entry);
      }
      return local();
    },
    mirrors: credentialMirrors({
      store,
      book,
      holds,
      isHere: (entry) => tokens.isHere(entry),
      onLocalGone: () => {
        local().catch((error: unknown) => log.error({ err: error }, "the local token cannot be made anew"));
      },
    }),
    bond: (credential, id) => book.bond(credential, id),
    narrowed: (credential, scopes) => book.narrowed(credential, scopes),
    knows: (secret) => book.find(secret).state === "live",
    stand: (each) => book.stand(each.principal.credential ?? "", each, false),
    setToken,
    find(secret) {
      const found = book.find(secret);
      if (found.state === "live" && found.entry?.kind === "token") tokens.used(found.entry);
      return found;
    },
    isLive: (of: Principal) => book.isLive(of),
    close() {
      book.close();
      tokens.flush();
      devices.flush();
    },
    ...issued(tokens, authSessions),
  };
}

/** What is issued, and taken back. */
function issued(tokens: Tokens, authSessions: AuthSessions) {
  return {
    createToken: (by, grant) => tokens.create(by, grant),
    tokens: () => tokens.list(),
    rotateToken: (token_id) => tokens.rotate(token_id),
    revokeToken: (token_id) => tokens.revoke(token_id),
    createAuthSession: (by) => authSessions.create(by),
    authSessions: (user) => authSessions.list(user),
    authSession: (auth_session_id) => authSessions.get(auth_session_id),
    authSessionOf: (session_token) => authSessions.find(session_token),
    revokeAuthSession: (auth_session_id) => authSessions.revoke(auth_session_id),
  } satisfies Partial<Credentials>;
}

/** An administrator's token is in the file, the one of before where it counts. */
async function localToken(
  book: Book,
  tokens: Tokens,
  data_dir: string,
  log: Logger,
): Promise<{ created: boolean; token: string }> {
  const kept = readTokenFile(data_dir, log);
  const found = kept === null ? null : book.find(kept);
  if (kept !== null && found?.state === "live" && found.principal.scopes.has("admin")) {
    return { created: false, token: kept };
  }
  return { created: true, token: await tokens.makeLocal() };
}
