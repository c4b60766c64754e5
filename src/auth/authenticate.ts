import type { Clock, Logger } from "../core/ports.ts";
import type { Authenticated, Authenticator, Credential, Principal } from "../core/principal.ts";
import { looksIssued } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Found } from "./book.ts";
import type { CredentialBook } from "./credentials.ts";
import { ownerPrincipal } from "./owner.ts";
import type { Tickets } from "./tickets.ts";

export interface AuthenticatorOptions {
  readonly credentials: CredentialBook;
  readonly tickets: Tickets;
  /** auth.mode */
  readonly mode: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Refused logins are logged this seldom, with the number of those in between. */
const LOG_EVERY_MS = 10_000;

/**
 * Decides who somebody is, the same for every transport. What is presented has to be right in every mode: mode none
 * only lets in who presents nothing.
 */
export function createAuthenticator({
  credentials,
  tickets,
  mode,
  clock,
  log,
}: AuthenticatorOptions): Authenticator {
  const anybody: Authenticated = { ok: true, principal: ownerPrincipal("none", null) };
  const tell = sampledLog(clock, log);

  function decide(credential: Credential): Authenticated {
    switch (credential.kind) {
      case "none":
        return mode === "none" ? anybody : refuse(MISSING);
      case "token":
        return fromFound(look(credential.token), "token");
      case "session_token": {
        const found = look(credential.token);
        const other = found.state === "live" && found.principal.method !== "auth_session";
        return other ? refuse(WRONG.session_token) : fromFound(found, "session_token");
      }
      case "ticket": {
        const principal = isText(credential.ticket) ? tickets.redeem(credential.ticket) : null;
        return principal === null ? refuse(WRONG_TICKET) : { ok: true, principal };
      }
      case "password":
        return fromPassword(credential.password, credential.basic === true);
      case "device":
        return refuse(`device keys are not accepted: auth.mode is "${mode}"; give a token`);
    }
  }

  /** With Basic the token may stand in the password's place, whatever a configured one looks like. */
  function fromPassword(password: string, basic: boolean): Authenticated {
    const found = basic ? look(password) : null;
    if (found !== null && (found.state === "live" || looksIssued(password))) return fromFound(found, "token");
    return refuse(`passwords are not accepted: auth.mode is "${mode}"; give a token`);
  }

  function look(secret: string): Found {
    return isText(secret) ? credentials.find(secret) : { state: "unknown" };
  }

  return {
    async authenticate(credential, from) {
      const outcome = decide(credential);
      if (!outcome.ok && credential.kind !== "none") tell({ ...from, credential: credential.kind });
      return outcome;
    },
  };
}

const MISSING =
  'a credential is needed: "Authorization: Bearer TOKEN", or auth_token in connect ("agentbus token create" makes one)';
const WRONG = {
  token: 'this token is wrong, or was rotated or revoked: "agentbus token create" makes one',
  session_token: "this session_token is wrong, or was revoked: log in again",
} as const;
const EXPIRED = {
  token: 'this token has expired: "agentbus token create" makes one',
  session_token: "this session_token has expired: log in again",
} as const;
const WRONG_TICKET =
  "this ticket is wrong, used or too old: ticket.create makes one for a single use within 30 seconds";

function fromFound(found: Found, kind: "token" | "session_token"): Authenticated {
  if (found.state === "live") return admit(found.principal);
  return refuse(found.state === "expired" ? EXPIRED[kind] : WRONG[kind]);
}

function admit(principal: Principal): Authenticated {
  return { ok: true, principal };
}

function refuse(message: string): Authenticated {
  return { ok: false, error: new GatewayError("UNAUTHORIZED", message) };
}

/** What comes off the wire is not what its type says before it was looked at. */
function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function sampledLog(clock: Clock, log: Logger): (fields: Record<string, unknown>) => void {
  let last = Number.NEGATIVE_INFINITY;
  let unsaid = 0;
  return (fields) => {
    const now = clock.monotonic();
    if (now - last < LOG_EVERY_MS) {
      unsaid++;
      return;
    }
    log.warn({ ...fields, ...(unsaid > 0 && { unsaid }) }, "a login was refused");
    last = now;
    unsaid = 0;
  };
}
