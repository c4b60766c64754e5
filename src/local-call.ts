import { expandScopes } from "./auth/scopes.ts";
import type { Caller, Dispatch } from "./core/call.ts";
import type { Principal } from "./core/principal.ts";
import type { Scope } from "./protocol/schema.ts";

/** Somebody on whose behalf the program itself asks. `scopes`: without them, those of the role `user`. */
export function localPrincipal(user: string, scopes?: readonly Scope[]): Principal {
  return {
    user,
    scopes: expandScopes(undefined, scopes),
    method: "local",
    credential: null,
    expires_at: null,
  };
}

/** Runs a method without a transport. @throws GatewayError what it answers */
export async function localCall(
  dispatch: Dispatch,
  caller: Caller,
  method: string,
  params: unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    dispatch(caller, { method, params }, (outcome) => {
      if (!outcome.ok) reject(outcome.error);
      else resolve("text" in outcome ? JSON.parse(outcome.text) : (outcome.payload ?? {}));
    });
  });
}
