import type { Principal, TicketIssuer } from "../core/principal.ts";
import {
  authSessionCreate,
  authSessionList,
  authSessionRevoke,
  authSessionValidate,
  ticketCreate,
} from "../protocol/api/auth.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import type { CredentialDeps } from "./token.ts";
import { notThere, settle } from "./token.ts";

export interface AuthSessionDeps extends CredentialDeps {
  readonly tickets: TicketIssuer;
  /** Resolves once everything is known that another node let in. */
  readonly caughtUp: () => Promise<void>;
}

/** Logins and tickets: everybody's own; an administrator sees and ends those of others too. */
export function authSessionMethods(deps: AuthSessionDeps): MethodHandler[] {
  const { credentials, tickets, caughtUp } = deps;
  return [
    handle(authSessionCreate, (_params, call) => {
      mayPassOn(call.caller.principal);
      return settle(deps, call, credentials.createAuthSession(call.caller.principal), (issued) => issued);
    }),
    handle(authSessionValidate, async ({ session_token }, call) => {
      if (credentials.authSessionOf(session_token) === null) await caughtUp();
      const found = credentials.authSessionOf(session_token);
      if (found === null || !mayTouch(call.caller.principal, found.user)) return { valid: false };
      return { valid: true, user: found.user, scopes: found.scopes, expires_at: found.expires_at };
    }),
    handle(authSessionList, (_params, call) => {
      const { principal } = call.caller;
      return { auth_sessions: credentials.authSessions(isAdmin(principal) ? null : principal.user) };
    }),
    handle(authSessionRevoke, ({ auth_session_id }, call) => {
      const { principal } = call.caller;
      const id = auth_session_id ?? ownId(principal);
      const found = credentials.authSession(id);
      const change =
        found !== null && mayTouch(principal, found.user) ? credentials.revokeAuthSession(id) : null;
      if (change === null) return notThere(call);
      return settle(deps, call, change, () => ({ revoked: true }));
    }),
    handle(ticketCreate, (_params, call) => {
      mayPassOn(call.caller.principal);
      return tickets.issue(call.caller.principal);
    }),
  ];
}

/** Who a peer of the tailnet is belongs to its connection, and ends with it. @throws GatewayError FORBIDDEN */
function mayPassOn({ peer }: Principal): void {
  if (peer === undefined) return;
  throw new GatewayError(
    "FORBIDDEN",
    "a peer of the tailnet needs neither tickets nor logins, and cannot pass itself on: an administrator makes tokens",
    { details: { kind: "tailscale" } },
  );
}

/** @throws GatewayError INVALID_REQUEST where the request came with something else than an auth session. */
function ownId(principal: Principal): string {
  if (principal.method === "auth_session" && principal.credential !== null) return principal.credential;
  throw new GatewayError(
    "INVALID_REQUEST",
    "this request did not come with a session_token: say auth_session_id",
    {
      details: { kind: "auth_session" },
    },
  );
}

function isAdmin(principal: Principal): boolean {
  return principal.scopes.has("admin");
}

function mayTouch(principal: Principal, user: string): boolean {
  return principal.user === user || isAdmin(principal);
}
