import type { Principal } from "../core/principal.ts";
import { expandScopes } from "./scopes.ts";

/** The user of the configured token, of the local one, of the password and of mode none. */
export const OWNER = "owner";

/** The owner, with every scope. */
export function ownerPrincipal(method: "none" | "token" | "password", credential: string | null): Principal {
  return { user: OWNER, scopes: expandScopes("admin"), method, credential, expires_at: null };
}
