import type { DeviceView } from "../core/devices.ts";
import type { RowChange } from "../core/operation.ts";
import type { RecordRow } from "../core/record.ts";
import type { AuthSessionView, CredentialChange, Principal, TokenView } from "../core/principal.ts";
import { deviceOf } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { LastUse } from "./last-use.ts";
import { lastUse } from "./last-use.ts";
import { listScopes, storedScopes } from "./scopes.ts";
import { digestOf } from "./secret.ts";

/** A token in memory. */
export interface TokenEntry extends LastUse {
  readonly kind: "token";
  readonly id: string;
  readonly digest: Buffer;
  readonly principal: Principal;
  readonly name: string;
  /** Whether it is the one whose secret stands in a data directory. */
  readonly local: boolean;
  /** The node whose directory that is; "": no other shares the store. */
  readonly place: string;
  readonly created_at: number;
}

/** A device in memory. */
export interface DeviceEntry extends LastUse {
  readonly kind: "device";
  /** The device_id. */
  readonly id: string;
  /** Random, drawn when it was admitted: stands for a secret where logins are tied to one (`bondOf`). */
  readonly digest: Buffer;
  /** With everything it was granted. */
  readonly principal: Principal;
  readonly key: Buffer;
  readonly created_at: number;
  name: string;
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

export type Entry = TokenEntry | AuthSessionEntry | DeviceEntry;

interface StoredToken {
  readonly name: string;
  readonly user: string;
  readonly scopes: readonly string[];
  readonly digest: string;
  readonly local: boolean;
  readonly place?: string;
  readonly created_at: number;
  readonly last_used_at: number | null;
}
interface StoredDevice {
  readonly name: string;
  readonly user: string;
  readonly scopes: readonly string[];
  readonly digest: string;
  readonly public_key: string;
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
export const DEVICES = "device";

/**
 * An auth session stores this, made from its parent's digest: once the parent has another secret it no longer fits,
 * so a restart cannot bring back a login whose token was rotated or whose configured token was changed.
 */
export function bondOf(parent: Buffer, id: string): string {
  return digestOf(`${parent.toString("hex")}\n${id}`).toString("hex");
}

export function tokenRecord(entry: TokenEntry): RecordRow {
  const { id, digest, principal, name, local, place, created_at, last_used_at } = entry;
  const { user, expires_at } = principal;
  const scopes = listScopes(principal.scopes);
  const data: StoredToken = {
    name,
    user,
    scopes,
    digest: digest.toString("hex"),
    local,
    ...(place !== "" && { place }),
    created_at,
    last_used_at,
  };
  return { collection: TOKENS, id, owner: user, data: JSON.stringify(data), expires_at };
}

export function tokenFrom(row: RecordRow): TokenEntry {
  const stored = JSON.parse(row.data) as StoredToken;
  const { name, user, scopes, digest, local, place = "", created_at, last_used_at } = stored;
  const { id, expires_at } = row;
  return {
    kind: "token",
    id,
    digest: Buffer.from(digest, "hex"),
    principal: { user, scopes: storedScopes(scopes), method: "token", credential: id, expires_at },
    name,
    local,
    place,
    created_at,
    ...lastUse(last_used_at, row.data),
  };
}

export function deviceRecord(entry: DeviceEntry): RecordRow {
  const { id, digest, principal, key, name, created_at, last_used_at } = entry;
  const { user } = principal;
  const data: StoredDevice = {
    name,
    user,
    scopes: listScopes(principal.scopes),
    digest: digest.toString("hex"),
    public_key: key.toString("base64url"),
    created_at,
    last_used_at,
  };
  return { collection: DEVICES, id, owner: user, data: JSON.stringify(data), expires_at: null };
}

export function deviceFrom({ id, data }: RecordRow): DeviceEntry {
  const { name, user, scopes, digest, public_key, created_at, last_used_at } = JSON.parse(
    data,
  ) as StoredDevice;
  return {
    kind: "device",
    id,
    digest: Buffer.from(digest, "hex"),
    principal: { user, scopes: storedScopes(scopes), method: "device", credential: id, expires_at: null },
    key: Buffer.from(public_key, "base64url"),
    name,
    created_at,
    ...lastUse(last_used_at, data),
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

/** `parentOf`: who is behind a credential that is loaded already. */
export function authSessionFrom(
  row: RecordRow,
  parentOf: (credential: string) => Principal | undefined,
): AuthSessionEntry {
  const { user, scopes, digest, method, created_at, parent, bond } = JSON.parse(
    row.data,
  ) as StoredAuthSession;
  const { id, expires_at } = row;
  const by = parent === null ? undefined : parentOf(parent);
  const device = by === undefined ? null : deviceOf(by);
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
      ...(device !== null && { device }),
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

export function viewDevice(entry: DeviceEntry): DeviceView {
  const { id, key, name, principal, created_at, last_used_at } = entry;
  return {
    device_id: id,
    public_key: key.toString("base64url"),
    name,
    user: principal.user,
    scopes: listScopes(principal.scopes),
    created_at,
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

/** A change that keeps every other one of the same entry away until it is settled. */
export function changing<T>(
  entry: TokenEntry | DeviceEntry,
  rows: readonly RowChange[],
  commit: () => T,
): CredentialChange<T> {
  entry.changing = true;
  return { id: entry.id, rows, commit, undo: () => (entry.changing = false) };
}

/** What somebody reads who comes in between. */
export function isChanging(what: "token" | "device"): GatewayError {
  return new GatewayError("CONFLICT", `another change of this ${what} is being written: try again`, {
    details: { kind: "busy" },
    retryable: true,
    retry_after_ms: 100,
  });
}
