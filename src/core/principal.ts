import type { GatewayError } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";

/** Who is calling, decided once by authentication. */
export interface Principal {
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly method: "none" | "token" | "auth_session";
  /** Id of the credential behind it (token or auth session), so that revoking it reaches open connections; null: none. */
  readonly credential: string | null;
  /** When the credential ends, milliseconds since 1970; null: never. */
  readonly expires_at: number | null;
}

export type Credential =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "session_token"; readonly token: string }
  | { readonly kind: "ticket"; readonly ticket: string }
  | { readonly kind: "password"; readonly password: string }
  | { readonly kind: "device" };

export type Authenticated =
  | { readonly ok: true; readonly principal: Principal }
  | { readonly ok: false; readonly error: GatewayError };

/** The one way in, for every transport. Never throws for a bad credential. */
export interface Authenticator {
  authenticate(credential: Credential, from: { transport: string; remote: string }): Promise<Authenticated>;
}
