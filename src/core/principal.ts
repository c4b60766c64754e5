import type { authSessionCreate, authSessionList, tokenCreate, tokenList } from "../protocol/api/auth.ts";
import type { DeviceProof } from "../protocol/api/device.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ParamsOf, ResultOf } from "../protocol/methods.ts";
import type { Scope } from "../protocol/schema.ts";
import type { RowChange } from "./operation.ts";
import type { UserBook } from "./users.ts";

/**
 * Who is calling, decided once by authentication. One object per credential and secret: whether it still counts is a
 * question of identity (`Credentials.isLive`), so a rotated secret's principal is never taken for the new one's.
 */
export interface Principal {
  readonly user: string;
  readonly scopes: ReadonlySet<Scope>;
  /** "local": the program that the gateway runs in speaks for the user. */
  readonly method: "none" | "local" | "token" | "auth_session" | "password" | "device" | "tailscale";
  /** Id of the credential behind it (token, auth session, device, "password"), so that revoking it reaches open connections; null: none. */
  readonly credential: string | null;
  /** When the credential ends, milliseconds since 1970; null: never. */
  readonly expires_at: number | null;
  /** With the method "tailscale": the peer, and the login it was let in by. */
  readonly peer?: TailnetPeer;
  /** With the method "auth_session": the device that logged in for it. */
  readonly device?: string;
}

/** The device it is in the end, by its key or by a login made with it; null: none. */
export function deviceOf({ method, credential, device }: Principal): string | null {
  return method === "device" ? credential : (device ?? null);
}

/** Somebody on the tailnet, who may be known without a credential. */
export interface TailnetPeer {
  /** `ip:port`, `[ipv6]:port`; the port is 0 where only a proxy knows it. */
  readonly addr: string;
  /** Who a trusted proxy says it is, which counts only where tailscaled says the same; null: no proxy is between. */
  readonly login: string | null;
}

/** Whether nobody showed a credential: it is where the connection comes from that counts, as with a cookie. */
export function isAmbient({ method }: Principal): boolean {
  return method === "none" || method === "tailscale";
}

export type Credential =
  | { readonly kind: "none"; readonly peer?: TailnetPeer }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "session_token"; readonly token: string }
  | { readonly kind: "ticket"; readonly ticket: string }
  /** `basic`: it came with HTTP Basic, where a token may stand in the password's place. */
  | { readonly kind: "password"; readonly password: string; readonly basic?: true }
  | DeviceCredential;

export interface DeviceCredential {
  readonly kind: "device";
  /** As it came over the wire. */
  readonly proof: DeviceProof;
  /** Signed with it; the Origin header, or "". */
  readonly client_id: string;
  readonly origin: string;
  /** For whoever is asked to pair it. */
  readonly client_name: string;
  readonly platform: string;
  /** Whether the peer was given this nonce, in time, and shows it for the first time. It is used up. */
  readonly spend: (nonce: string) => boolean | Promise<boolean>;
}

export type Authenticated =
  | { readonly ok: true; readonly principal: Principal }
  | { readonly ok: false; readonly error: GatewayError };

/** The one way in, for every transport. Never throws for a bad credential. */
export interface Authenticator {
  authenticate(credential: Credential, from: From): Promise<Authenticated>;
}

/** Where a credential comes from. */
export interface From {
  readonly transport: string;
  readonly remote: string;
  /** What the client calls itself; "": it has not said. */
  readonly client_id?: string;
}

export type TokenGrant = ParamsOf<typeof tokenCreate>;
export type IssuedToken = ResultOf<typeof tokenCreate>;
export type TokenView = ResultOf<typeof tokenList>["tokens"][number];
export type IssuedAuthSession = ResultOf<typeof authSessionCreate>;
export type AuthSessionView = ResultOf<typeof authSessionList>["auth_sessions"][number];

/**
 * A change of the credentials that is still to be written. Exactly one of `commit` and `undo` is called: `commit` in
 * the block that learns that `rows` are committed, where the change takes effect; `undo` when nothing was written.
 */
export interface CredentialChange<T> {
  /** The credential it is about. */
  readonly id: string;
  readonly rows: readonly RowChange[];
  readonly commit: () => T;
  readonly undo: () => void;
}

/** What one node tells another of whom it let in, who may come in no more by the time that it is heard. */
export interface Vouching {
  /** Ties a request to the secret of its caller; "": none was issued to them. */
  bond(principal: Principal, id: string): string;
  /** Who that is here, with no more scopes than they have now; null: what they came in with has ended. */
  admit(shown: Principal, id: string, bond: string): Principal | null;
}

/** The tokens and auth sessions the gateway issued. */
export interface Credentials {
  /** @throws GatewayError FORBIDDEN for scopes `by` lacks, CONFLICT {kind:"full"}. */
  createToken(by: Principal, grant: TokenGrant): CredentialChange<IssuedToken>;
  /** Oldest first. */
  tokens(): TokenView[];
  /** @throws GatewayError NOT_FOUND, CONFLICT {kind:"busy"}. */
  rotateToken(token_id: string): CredentialChange<IssuedToken>;
  /** Null: no such token. @throws GatewayError CONFLICT {kind:"busy"}. */
  revokeToken(token_id: string): CredentialChange<void> | null;
  /**
   * A login of `by`'s user and scopes that ends with the credential behind `by`, whatever ends that.
   * Throws GatewayError UNAUTHORIZED when it has ended already (also from `commit`), CONFLICT {kind:"full"}.
   */
  createAuthSession(by: Principal): CredentialChange<IssuedAuthSession>;
  /** Those of a user, or everybody's (null), oldest first. */
  authSessions(user: string | null): AuthSessionView[];
  /** By its id; null: there is none. */
  authSession(auth_session_id: string): AuthSessionView | null;
  /** The auth session a session_token is the secret of; null: it is none, or has ended. */
  authSessionOf(session_token: string): AuthSessionView | null;
  /** Null: no such auth session. */
  revokeAuthSession(auth_session_id: string): CredentialChange<void> | null;
  readonly users: UserBook;
  /** Whether the credential behind a principal still counts, with the secret it was shown by, and its user does. */
  isLive(principal: Principal): boolean;
  readonly vouching: Vouching;
}

export interface IssuedTicket {
  readonly ticket: string;
  /** Milliseconds since 1970. */
  readonly expires_at: number;
}

/** Makes single-use credentials. */
export interface TicketIssuer {
  /** @throws GatewayError RATE_LIMITED {kind:"tickets"}, UNAVAILABLE where it has to be stored and cannot be. */
  issue(principal: Principal): IssuedTicket | Promise<IssuedTicket>;
}

export type ReadHeader =
  | { readonly ok: true; readonly credential: Credential }
  | { readonly ok: false; readonly error: GatewayError };

/** The user Basic goes by; who somebody is comes from the credential. */
const BASIC_USER = "gateway";

/** Whether a text has the form of a secret the gateway issues. */
export function looksIssued(secret: string): boolean {
  return /^ag[bs]_[A-Za-z0-9_-]{43}$/.test(secret);
}

/** What an Authorization header presents; null is `{kind:"none"}`. Malformed ones are UNAUTHORIZED. Never throws. */
export function credentialFromHeader(authorization: string | null): ReadHeader {
  if (authorization === null) return { ok: true, credential: { kind: "none" } };
  const [, scheme = "", value = ""] = /^\s*([A-Za-z]+) +(\S+)\s*$/.exec(authorization) ?? [];
  switch (scheme.toLowerCase()) {
    case "bearer":
      return { ok: true, credential: { kind: "token", token: value } };
    case "basic":
      return fromBasic(value);
    default:
      return malformed('send "Authorization: Bearer TOKEN", or Basic with the user "gateway"');
  }
}

function fromBasic(value: string): ReadHeader {
  const text = decodeBase64(value);
  const colon = text?.indexOf(":") ?? -1;
  if (text === null || colon < 0) return malformed("the Basic credential is not base64 of user:password");
  if (text.slice(0, colon) !== BASIC_USER) return malformed(`the Basic user is "${BASIC_USER}"`);
  const secret = text.slice(colon + 1);
  if (secret === "") return malformed("the Basic password is empty");
  if (looksIssued(secret)) return { ok: true, credential: { kind: "token", token: secret } };
  return { ok: true, credential: { kind: "password", password: secret, basic: true } };
}

function decodeBase64(value: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    // Neither base64 nor UTF-8: the caller answers for both alike.
    return null;
  }
}

function malformed(message: string): ReadHeader {
  return { ok: false, error: new GatewayError("UNAUTHORIZED", message) };
}
