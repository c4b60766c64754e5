import type { Principal, TokenGrant } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";
import { SCOPES } from "../protocol/schema.ts";

type RoleName = NonNullable<TokenGrant["role"]>;

const USER: readonly Scope[] = ["chat.read", "chat.write", "tools.approve", "sessions.manage"];

/** What each role may do. */
export const ROLE_SCOPES: Readonly<Record<RoleName, readonly Scope[]>> = {
  viewer: ["chat.read"],
  user: USER,
  operator: [...USER, "system.read", "clients.manage", "devices.manage", "events.broadcast"],
  admin: SCOPES,
};

/** What a grant without role and scopes gives. */
const DEFAULT_ROLE: RoleName = "user";

/** The scopes of a role and those named besides, together; `admin` means every scope, neither the role `user`. */
export function expandScopes(role?: RoleName, scopes?: readonly Scope[]): ReadonlySet<Scope> {
  const base = role ?? (scopes === undefined ? DEFAULT_ROLE : undefined);
  const granted = new Set<Scope>([...(base === undefined ? [] : ROLE_SCOPES[base]), ...(scopes ?? [])]);
  return granted.has("admin") ? new Set(SCOPES) : granted;
}

/** What `by` grants with a role and scopes. @throws GatewayError FORBIDDEN for scopes `by` lacks */
export function grantedBy(by: Principal, role?: RoleName, scopes?: readonly Scope[]): ReadonlySet<Scope> {
  const granted = expandScopes(role, scopes);
  const missing = listScopes(granted).filter((scope) => !by.scopes.has(scope));
  if (missing.length === 0) return granted;
  throw new GatewayError("FORBIDDEN", `you cannot grant what you do not have: ${missing.join(", ")}`, {
    details: { kind: "scope", scope: missing[0] },
  });
}

/** A set as it is stored and shown: always in the same order. */
export function listScopes(scopes: ReadonlySet<Scope>): Scope[] {
  return SCOPES.filter((scope) => scopes.has(scope));
}

/** Scopes as they were stored, without those this version does not know. */
export function storedScopes(names: readonly string[]): ReadonlySet<Scope> {
  return expandScopes(
    undefined,
    SCOPES.filter((scope) => names.includes(scope)),
  );
}

/** The role that allows just these; null: none does. */
export function roleWith(scopes: readonly string[]): RoleName | null {
  const names = Object.keys(ROLE_SCOPES) as RoleName[];
  const same = (role: RoleName): boolean =>
    ROLE_SCOPES[role].length === scopes.length && ROLE_SCOPES[role].every((scope) => scopes.includes(scope));
  return names.find(same) ?? null;
}
