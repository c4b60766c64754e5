import type { RecordRow } from "../core/operation.ts";
import type { AuthSessionView, Principal, TokenView } from "../core/principal.ts";
import { listScopes, storedScopes } from "./scopes.ts";
import { digestOf } from "./secret.ts";

/** A token in memory. */
export interface TokenEntry {
  readonly kind: "token";
  readonly id: string;
  readonly digest: Buffer;
  readonly principal: Principal;
  readonly name: string;
  /** Whether it is the one whose secret stands in the data directory. */
  readonly local: boolean;
  readonly created_at: number;
  /** Milliseconds since 1970; null: never. */
  last_used_at: number | null;
  /** What the store knows of last_used_at. */
  stored_used_at: number | null;
  /** When that was written, by the monotonic clock. */
  stored_at: number;
  /** A change of it is on its way to the store: nothing else of it may be written, or one would undo the other. */
  changing: boolean;
}

/** An auth session in memory. */
export interface AuthSessionEntry {
  readonly kind: "auth_session";
  readonly id: string;
  readonly digest: Buffer;
  readonly principal: Principal;
  /** How its user had come in when it was made. */
  readonly method: string;
  readonly created_at: number;
  /** Id of the credential it was made with and ends with; null: made where none was needed. */
  readonly parent: string | null;
  /** Ties it to the secret its parent had: see `bondOf`. */
  readonly bond: string;
}

export type Entry = TokenEntry | AuthSessionEntry;

interface StoredToken {
  readonly name: string;
  readonly user: string;
  readonly scopes: readonly string[];
  readonly digest: string;
  readonly local: boolean;
  readonly created_at: number;
  readonly last_used_at: number | null;
}
interface StoredAuthSession {
  readonly user: string;
  readonly scopes: readonly string[];
  readonly digest: string;
  readonly method: string;
  readonly created_at: number;
  readonly parent: string | null;
  readonly bond: string;
}

export const TOKENS = "token";
export const AUTH_SESSIONS = "auth_session";

/**
 * An auth session stores this, made from its parent's digest: once the parent has another secret it no longer fits,
 * so a restart cannot bring back a login whose token was rotated or whose configured token was changed.
 */
export function bondOf(parent: Buffer, id: string): string {
  return digestOf(`${parent.toString("hex")}\n${id}`).toString("hex");
}

export function tokenRecord(entry: TokenEntry): RecordRow {
  const { id, digest, principal, name, local, created_at, last_used_at } = entry;
  const { user, expires_at } = principal;
  const scopes = listScopes(principal.scopes);
  const data: StoredToken = {
    name,
    user,
    scopes,
    digest: digest.toString("hex"),
    local,
    created_at,
    last_used_at,
  };
  return { collection: TOKENS, id, owner: user, data: JSON.stringify(data), expires_at };
}

export function tokenFrom(row: RecordRow): TokenEntry {
  const { name, user, scopes, digest, local, created_at, last_used_at } = JSON.parse(row.data) as StoredToken;
  const { id, expires_at } = row;
  return {
    kind: "token",
    id,
    digest: Buffer.from(digest, "hex"),
    principal: { user, scopes: storedScopes(scopes), method: "token", credential: id, expires_at },
    name,
    local,
    created_at,
    last_used_at,
    stored_used_at: last_used_at,
    stored_at: Number.NEGATIVE_INFINITY,
    changing: false,
  };
}

export function authSessionRecord(entry: AuthSessionEntry): RecordRow {
  const { id, digest, principal, method, created_at, parent, bond } = entry;
  const { user, expires_at } = principal;
  const scopes = listScopes(principal.scopes);
  const data: StoredAuthSession = {
    user,
    scopes,
    digest: digest.toString("hex"),
    method,
    created_at,
    parent,
    bond,
  };
  return { collection: AUTH_SESSIONS, id, owner: user, data: JSON.stringify(data), expires_at };
}

export function authSessionFrom(row: RecordRow): AuthSessionEntry {
  const { user, scopes, digest, method, created_at, parent, bond } = JSON.parse(
    row.data,
  ) as StoredAuthSession;
  const { id, expires_at } = row;
  return {
    kind: "auth_session",
    id,
    digest: Buffer.from(digest, "hex"),
    principal: {
      user,
      scopes: storedScopes(scopes),
      method: "auth_session",
      credential: id,
      expires_at,
    },
    method,
    created_at,
    parent,
    bond,
  };
}

/** A token as it is shown: without its secret. */
export function viewToken(entry: TokenEntry): TokenView {
  const { id, name, principal, created_at, last_used_at } = entry;
  return {
    token_id: id,
    name,
    user: principal.user,
    scopes: listScopes(principal.scopes),
    created_at,
    ...(principal.expires_at !== null && { expires_at: principal.expires_at }),
    ...(last_used_at !== null && { last_used_at }),
  };
}

export function viewAuthSession(entry: AuthSessionEntry): AuthSessionView {
  const { id, principal, method, created_at } = entry;
  return {
    auth_session_id: id,
    user: principal.user,
    scopes: listScopes(principal.scopes),
    method,
    created_at,
    expires_at: principal.expires_at ?? Number.MAX_SAFE_INTEGER,
  };
}
