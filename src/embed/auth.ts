import type { ErrorCode } from "../protocol/errors.ts";
import type { Scope } from "../protocol/schema.ts";

/** What came of it. Where `success` is true there are `userId`, `method` and `scopes`, else `reason` and `message`. */
export interface AuthResult {
  readonly success: boolean;
  readonly userId?: string;
  /** What they came in with: "token", "password", "device", "tailscale", "auth_session". */
  readonly method?: string;
  readonly scopes?: readonly Scope[];
  /** The device it is, or that logged in for the auth session. */
  readonly deviceId?: string;
  /** When the credential ends, milliseconds since 1970; absent: never. */
  readonly expiresAt?: number;
  /** "UNAUTHORIZED", "RATE_LIMITED" …, as on the wire. */
  readonly reason?: ErrorCode;
  /** For a person. */
  readonly message?: string;
  /** What a program may make of the reason: `kind` and more, as on the wire. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly retryAfterMs?: number;
}

/** Where somebody comes from. Guesses are counted and slowed by it, so say it wherever it is known. */
export interface AuthFrom {
  /** The client's address. Default "local". */
  readonly remote?: string;
  readonly clientId?: string;
}

export interface TailnetAddress {
  /** Of the peer as the connection has it, IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
  /** What a proxy you trust says who it is: then tailscaled has to say the same. */
  readonly login?: string;
}

/** "viewer" reads, "user" also writes, "operator" also looks after clients, "admin" may everything. */
export type Role = "viewer" | "user" | "operator" | "admin";

export interface DeviceGrant {
  /** Ed25519, the 32 bytes in base64url without padding. */
  readonly publicKey: string;
  readonly userId: string;
  /** One of them, or both; without either what the role "user" may. */
  readonly role?: Role;
  readonly scopes?: readonly Scope[];
  readonly name?: string;
  /** Default: the SHA-256 of the key in lowercase hex. */
  readonly deviceId?: string;
}

/** What a device signed besides the nonce and the time. */
export interface DeviceSigned {
  readonly clientId: string;
  /** The Origin header of its page. Default none. */
  readonly origin?: string;
  /** Those it asks for. Default: all it was granted. */
  readonly scopes?: readonly string[];
  /** Its key, where it may be one that is still to be paired. */
  readonly publicKey?: string;
  readonly clientName?: string;
  readonly platform?: string;
  readonly remote?: string;
}

/** What a device has to sign; good once, for `limits.challenge_ttl_ms`. */
export interface AuthChallenge {
  readonly nonce: string;
  readonly serverId: string;
  /** The gateway's time, for the signature's `timestamp`. Milliseconds since 1970, like `expiresAt`. */
  readonly timestamp: number;
  readonly expiresAt: number;
}

/** A user the program vouches for. */
export interface VouchedUser {
  readonly userId: string;
  readonly role?: Role;
  readonly scopes?: readonly Scope[];
}

export interface IssuedSession extends AuthResult {
  readonly sessionId?: string;
  /** The secret; shown this once. */
  readonly sessionToken?: string;
}

/**
 * Who somebody is, by the rules that count over the wire: throttle and audit trail included. A wrong credential is an answer,
 * never an exception.
 * @example
 * const login = await gateway.auth.authenticateToken(token, { remote: request.ip });
 * if (!login.success) return new Response(login.message, { status: 401 });
 */
export interface Auth {
  authenticateToken(token: string, from?: AuthFrom): Promise<AuthResult>;
  authenticatePassword(password: string, from?: AuthFrom): Promise<AuthResult>;
  /** A peer of the tailnet, as tailscaled on this machine knows it. Never one with an address of this machine. */
  authenticateTailscale(peer: TailnetAddress, from?: AuthFrom): Promise<AuthResult>;
  /** @throws GatewayError RATE_LIMITED where too many are out (for one `remote`) */
  challenge(from?: AuthFrom): AuthChallenge;
  /** Admits a device by its key, without pairing. */
  registerDevice(device: DeviceGrant): Promise<AuthResult>;
  /**
   * A device by its signature over `agentbus-device-v1|serverId|deviceId|clientId|origin|scopes|nonce|timestamp`.
   * @param timestamp milliseconds since 1970, within a minute of the gateway's
   */
  authenticateDevice(
    deviceId: string,
    signature: string,
    nonce: string,
    timestamp: number,
    signed: DeviceSigned,
  ): Promise<AuthResult>;
  /**
   * A login that lasts `auth.session_ttl_secs`: of who was authenticated here, ending with that credential, or of a user
   * that the program vouches for.
   */
  createSession(by: AuthResult | VouchedUser): Promise<IssuedSession>;
  validateSession(sessionToken: string, from?: AuthFrom): Promise<AuthResult>;
  /** By its token or its id. */
  revokeSession(session: string): Promise<AuthResult>;
}
