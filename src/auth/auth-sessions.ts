import { newId } from "../core/id.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { AuthSessionView, CredentialChange, IssuedAuthSession, Principal } from "../core/principal.ts";
import { deviceOf } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Book } from "./book.ts";
import type { AuthSessionEntry } from "./entry.ts";
import { AUTH_SESSIONS, authSessionRecord, viewAuthSession } from "./entry.ts";
import { listScopes } from "./scopes.ts";
import { digestOf, newSecret } from "./secret.ts";

const MAX_PER_USER = 1_000;

export interface AuthSessionsOptions {
  readonly book: Book;
  readonly clock: Clock;
  readonly log: Logger;
  readonly ttl_ms: () => number;
}

/** The auth sessions in the book: logins that end by themselves, or with the credential they were made with. */
export class AuthSessions {
  readonly #options: AuthSessionsOptions;

  constructor(options: AuthSessionsOptions) {
    this.#options = options;
  }

  create(by: Principal): CredentialChange<IssuedAuthSession> {
    const { book, clock, log, ttl_ms } = this.#options;
    const now = clock.now();
    const id = newId("aus", now);
    const bond = book.isLive(by) ? book.bond(by.credential, id) : null;
    if (bond === null) throw hasEnded();
    if (this.#of(by.user).length >= MAX_PER_USER) {
      throw new GatewayError(
        "CONFLICT",
        `full: ${by.user} has ${MAX_PER_USER} auth sessions already; revoke some first`,
        {
          details: { kind: "full" },
          limit: { what: "auth_sessions_per_user", limit: MAX_PER_USER },
        },
      );
    }
    const secret = newSecret("ags_");
    const expires_at = Math.min(now + ttl_ms(), by.expires_at ?? Number.POSITIVE_INFINITY);
    const { user, scopes, method, credential: parent } = by;
    const device = deviceOf(by);
    const entry: AuthSessionEntry = {
      kind: "auth_session",
      id,
      digest: digestOf(secret),
      principal: {
        user,
        scopes,
        method: "auth_session",
        credential: id,
        expires_at,
        ...(device !== null && { device }),
      },
      method,
      created_at: now,
      parent,
      bond,
    };
    return {
      id,
      rows: [{ kind: "record.put", record: authSessionRecord(entry) }],
      commit: () => {
        // What it was made with may have ended on the way; its row no longer fits then, and is not loaded again.
        if (!book.isLive(by)) throw hasEnded();
        book.add(entry);
        log.info({ auth_session_id: id, user, method }, "a login began");
        return {
          auth_session_id: id,
          session_token: secret,
          user,
          scopes: listScopes(scopes),
          expires_at,
        };
      },
      undo: () => undefined,
    };
  }

  /** Those of a user, or everybody's (null), oldest first. */
  list(user: string | null): AuthSessionView[] {
    return this.#of(user).map(viewAuthSession);
  }

  get(auth_session_id: string): AuthSessionView | null {
    const entry = this.#options.book.get(auth_session_id);
    if (entry?.kind !== "auth_session" || !this.#options.book.holds(entry.principal)) return null;
    return viewAuthSession(entry);
  }

  /** By its secret. */
  find(session_token: string): AuthSessionView | null {
    const { book } = this.#options;
    const found = book.find(session_token);
    if (found.state !== "live" || found.entry?.kind !== "auth_session") return null;
    return book.isLive(found.principal) ? viewAuthSession(found.entry) : null;
  }

  revoke(auth_session_id: string): CredentialChange<void> | null {
    const { book, log } = this.#options;
    const entry = book.get(auth_session_id);
    if (entry?.kind !== "auth_session") return null;
    return {
      id: auth_session_id,
      rows: [{ kind: "record.drop", collection: AUTH_SESSIONS, id: auth_session_id }],
      commit: () => {
        book.end(auth_session_id);
        log.info({ auth_session_id, user: entry.principal.user }, "a login was ended");
      },
      undo: () => undefined,
    };
  }

  #of(user: string | null): AuthSessionEntry[] {
    return [...this.#options.book.entries()]
      .filter((entry) => entry.kind === "auth_session")
      .filter((entry) => user === null || entry.principal.user === user);
  }
}

function hasEnded(): GatewayError {
  return new GatewayError("UNAUTHORIZED", "the credential of this request has ended: log in again");
}
