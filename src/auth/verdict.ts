import type { Authenticated, Principal } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";

/**
 * What one kind of credential came to. `guess`: what was shown is none of ours and is still to be counted; null: it
 * says nothing about our secrets.
 */
export type Verdict =
  | Admitted
  | { readonly ok: false; readonly error: GatewayError; readonly guess: string | null };
export type Admitted = Extract<Authenticated, { ok: true }>;

export function admit(principal: Principal): Admitted {
  return { ok: true, principal };
}

export function refuse(message: string, guess: string | null = null): Verdict {
  return { ok: false, error: new GatewayError("UNAUTHORIZED", message), guess };
}
