import { expandScopes, listScopes } from "../auth/scopes.ts";
import type { Access } from "../access.ts";
import type { Authenticated, Credential, Principal } from "../core/principal.ts";
import { deviceOf } from "../core/principal.ts";
import { authSessionCreate, authSessionRevoke } from "../protocol/api/auth.ts";
import { deviceRegister } from "../protocol/api/device.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Local } from "./local.ts";
import { localPrincipal } from "../local-call.ts";
import type { Auth, AuthFrom, AuthResult, VouchedUser } from "./auth.ts";

/** What the calls work with. `principalOf`: who a result of `authenticate` is; undefined: it is none. */
interface AuthParts {
  readonly local: Local;
  readonly access: Access;
  readonly authenticate: (credential: Credential, from: AuthFrom) => Promise<AuthResult>;
  readonly principalOf: (result: object) => Principal | undefined;
}

export function createAuth(local: Local, access: Access, tailnet: boolean): Auth {
  /** Who the results of this gateway are. */
  const principals = new WeakMap<object, Principal>();

  function settled(result: Authenticated): AuthResult {
    if (!result.ok) return refused(result.error);
    const admitted = admittedAs(result.principal);
    principals.set(admitted, result.principal);
    return admitted;
  }

  function authenticate(
    credential: Credential,
    { remote = "local", clientId = "" }: AuthFrom,
  ): Promise<AuthResult> {
    const from = { transport: "local", remote, client_id: clientId };
    return answered(local, async () => settled(await access.authenticator.authenticate(credential, from)));
  }

  const parts = { local, access, authenticate, principalOf: (result: object) => principals.get(result) };
  return { ...proofs(parts, tailnet), ...devices(parts), ...logins(parts) };
}

function proofs(
  { local, access: { challenger }, authenticate }: AuthParts,
  tailnet: boolean,
): Pick<Auth, "authenticateToken" | "authenticatePassword" | "authenticateTailscale" | "challenge"> {
  return {
    authenticateToken: (token, from = {}) => authenticate({ kind: "token", token }, from),
    authenticatePassword: (password, from = {}) => authenticate({ kind: "password", password }, from),
    async authenticateTailscale({ address, port, login = "" }, from = {}) {
      const none = refused(new GatewayError("UNAUTHORIZED", NO_TAILNET));
      if (!tailnet) return none;
      const host = address.includes(":") ? `[${address}]` : address;
      const peer = { addr: `${host}:${port}`, login: login === "" ? null : login };
      const result = await authenticate({ kind: "none", peer }, { remote: address, ...from });
      // Mode none lets in whoever shows nothing, which says nothing about the tailnet.
      return result.success && result.method !== "tailscale" ? none : result;
    },
    challenge({ remote = "local" } = {}) {
      local.requireRunning();
      const { nonce, server_id, ts, expires_at } = challenger.issue(remote);
      return { nonce, serverId: server_id, timestamp: ts, expiresAt: expires_at };
    },
  };
}

function devices({
  local,
  access: { challenger, credentials },
  authenticate,
}: AuthParts): Pick<Auth, "registerDevice" | "authenticateDevice"> {
  return {
    registerDevice: ({ publicKey, userId, role, scopes, name, deviceId }) =>
      answered(local, async () => {
        const granted = listScopes(expandScopes(role, scopes));
        const named = {
          ...(name !== undefined && { name }),
          ...(deviceId !== undefined && { device_id: deviceId }),
        };
        const params = { public_key: publicKey, user: userId, scopes: granted, ...named };
        const device = await local.call(deviceRegister, params);
        return {
          success: true,
          userId: device.user,
          method: "device",
          scopes: granted,
          deviceId: device.device_id,
        };
      }),
    authenticateDevice(deviceId, signature, nonce, timestamp, signed) {
      const { clientId, origin = "", scopes = [], clientName = "", platform = "", remote = "local" } = signed;
      const known = credentials.devices.devices().find(({ device_id }) => device_id === deviceId);
      const public_key = signed.publicKey ?? known?.public_key ?? "";
      const proof = { device_id: deviceId, public_key, signature, nonce, timestamp, scopes: [...scopes] };
      const spend = (said: string): boolean | Promise<boolean> => challenger.spend(said);
      const about = { client_id: clientId, client_name: clientName, platform, origin };
      return authenticate({ kind: "device", proof, ...about, spend }, { remote, clientId });
    },
  };
}

function logins({
  local,
  access: { credentials },
  authenticate,
  principalOf,
}: AuthParts): Pick<Auth, "createSession" | "validateSession" | "revokeSession"> {
  return {
    createSession: (by) =>
      answered(local, async () => {
        const principal = principalOf(by) ?? vouched(by);
        if (principal === null) return refused(new GatewayError("UNAUTHORIZED", NOBODY));
        const issued = await local.call(authSessionCreate, {}, principal);
        const { auth_session_id, session_token, user, expires_at } = issued;
        return {
          success: true,
          userId: user,
          method: "auth_session",
          scopes: listScopes(principal.scopes),
          ...deviceIn(principal),
          expiresAt: expires_at,
          sessionId: auth_session_id,
          sessionToken: session_token,
        };
      }),
    validateSession: (token, from = {}) => authenticate({ kind: "session_token", token }, from),
    revokeSession: (session) =>
      answered(local, async () => {
        const found = credentials.authSessionOf(session) ?? credentials.authSession(session);
        if (found === null)
          return refused(new GatewayError("NOT_FOUND", "there is no such login, or it has ended"));
        await local.call(authSessionRevoke, { auth_session_id: found.auth_session_id });
        return { success: true, userId: found.user, method: "auth_session" };
      }),
  };
}

const NO_TAILNET =
  "peers of the tailnet are not accepted: set auth.allow_tailscale, and who they are in auth.tailscale.users";
const NOBODY = "a login is of somebody: give the result of a successful authentication, or { userId, role }";

/** What is refused is answered; what is a bug is thrown. */
async function answered<T extends AuthResult>(
  local: Local,
  work: () => Promise<T | AuthResult>,
): Promise<T | AuthResult> {
  try {
    local.requireRunning();
    return await work();
  } catch (error) {
    if (error instanceof GatewayError) return refused(error);
    throw error;
  }
}

function vouched(by: AuthResult | VouchedUser): Principal | null {
  const { success, userId, scopes, role } = by as AuthResult & VouchedUser;
  if (success !== undefined || typeof userId !== "string" || userId === "") return null;
  return localPrincipal(userId, listScopes(expandScopes(role, scopes)));
}

function admittedAs(principal: Principal): AuthResult {
  const { user, method, scopes, expires_at } = principal;
  return {
    success: true,
    userId: user,
    method,
    scopes: listScopes(scopes),
    ...deviceIn(principal),
    ...(expires_at !== null && { expiresAt: expires_at }),
  };
}

function deviceIn(principal: Principal): { readonly deviceId?: string } {
  const deviceId = deviceOf(principal);
  return deviceId === null ? {} : { deviceId };
}

function refused({ reason, message, details, retry_after_ms }: GatewayError): AuthResult {
  return {
    success: false,
    reason,
    message,
    ...(details !== undefined && { details }),
    ...(retry_after_ms !== undefined && { retryAfterMs: retry_after_ms }),
  };
}
