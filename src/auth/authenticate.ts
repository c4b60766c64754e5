import type { Authenticator, Credential, TailnetPeer } from "../core/principal.ts";
import { looksIssued } from "../core/principal.ts";
import type { SampledLog } from "../core/sampled-log.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Found } from "./book.ts";
import type { CredentialBook } from "./credentials.ts";
import type { DeviceLogin } from "./device-login.ts";
import { ownerPrincipal } from "./owner.ts";
import type { Passwords } from "./passwords.ts";
import { createMark } from "./secret.ts";
import type { Tailnet } from "./tailnet.ts";
import type { Throttle } from "./throttle.ts";
import { tooManyGuesses } from "./throttle.ts";
import type { Tickets } from "./tickets.ts";
import type { Admitted, Verdict } from "./verdict.ts";
import { admit, refuse } from "./verdict.ts";

export interface AuthenticatorOptions {
  readonly credentials: CredentialBook;
  readonly tickets: Tickets;
  readonly throttle: Throttle;
  /** Null: passwords are not accepted. */
  readonly passwords: Passwords | null;
  /** Null: who comes without a credential is nobody, on the tailnet too. */
  readonly tailnet: Tailnet | null;
  /** Null: device keys are not accepted. */
  readonly devices: DeviceLogin | null;
  /** auth.mode */
  readonly mode: string;
  readonly log: SampledLog;
  /** Somebody was told to wait. */
  readonly onThrottled: () => void;
  /** Resolves once everything is known that another node let in. Costs nothing where there is none. */
  readonly caughtUp: () => Promise<void>;
}

/**
 * Decides who somebody is, the same for every transport. What is presented has to be right in every mode: mode none
 * only lets in who presents nothing. What is right is let in before the throttle is asked; what is wrong reads
 * RATE_LIMITED in place of UNAUTHORIZED once its address has guessed too often.
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { credentials, throttle, log, onThrottled } = options;
  const judge = createJudge(options);
  const mark = createMark();

  /** What a guess reads. One that was answered before tells no more than it did then. */
  function count(error: GatewayError, secret: string, address: string): GatewayError {
    const shown = mark(secret);
    if (throttle.knows(address, shown)) return error;
    const wait = throttle.wait(address);
    if (wait > 0) return tooManyGuesses(wait);
    throttle.wrong(address, shown);
    return error;
  }

  return {
    async authenticate(credential, from) {
      if (!isKnown(options, credential)) await options.caughtUp();
      const verdict = judged(credentials, await judge(credential, from.remote));
      if (verdict.ok) return verdict;
      const { guess } = verdict;
      const error = isText(guess) ? count(verdict.error, guess, from.remote) : verdict.error;
      const throttled = error.reason === "RATE_LIMITED";
      if (throttled) onThrottled();
      if (credential.kind !== "none") {
        const { transport, remote } = from;
        const fields = { transport, remote, credential: credential.kind, ...(throttled && { throttled }) };
        log.warn("login", fields, "a login was refused");
      }
      return { ok: false, error };
    },
  };
}

/** Whether what is presented may be judged by what is known here. */
function isKnown({ credentials, devices }: AuthenticatorOptions, credential: Credential): boolean {
  switch (credential.kind) {
    case "token":
    case "session_token":
      return !isText(credential.token) || credentials.knows(credential.token);
    case "password":
      return (
        credential.basic !== true ||
        !looksIssued(credential.password) ||
        credentials.knows(credential.password)
      );
    case "device":
      return devices === null || devices.knows(credential);
    default:
      return true;
  }
}

/** What is right lets nobody in who was shut out; it says nothing new about the secret. */
function judged(credentials: CredentialBook, verdict: Verdict): Verdict {
  if (!verdict.ok || !credentials.users.isShutOut(verdict.principal.user)) return verdict;
  const error = new GatewayError("UNAUTHORIZED", "this user is disabled: ask an administrator", {
    details: { kind: "disabled" },
  });
  return { ok: false, error, guess: null };
}

/** Compares what was presented with what the gateway issued, and with the password. */
function createJudge({ credentials, tickets, passwords, tailnet, devices, mode }: AuthenticatorOptions) {
  const anybody: Admitted = admit(ownerPrincipal("none", null));

  function fromSecret(secret: string, kind: "token" | "session_token"): Verdict {
    const found = look(secret);
    if (found.state === "live") return admit(found.principal);
    // It was right once: whoever has it did not guess it.
    return found.state === "expired" ? refuse(EXPIRED[kind]) : refuse(WRONG[kind], secret);
  }

  function fromSession(secret: string): Verdict {
    const found = look(secret);
    const other = found.state === "live" && found.principal.method !== "auth_session";
    return other ? refuse(WRONG.session_token) : fromSecret(secret, "session_token");
  }

  async function fromTicket(ticket: string): Promise<Verdict> {
    const principal = isText(ticket) ? await tickets.redeem(ticket) : null;
    return principal === null ? refuse(WRONG_TICKET, ticket) : admit(principal);
  }

  /** With Basic the token may stand in the password's place, whatever a configured one looks like. */
  async function fromPassword(password: string, basic: boolean, address: string): Promise<Verdict> {
    const asToken = basic ? fromSecret(password, "token") : null;
    if (asToken !== null && (asToken.ok || looksIssued(password))) return asToken;
    if (passwords === null) {
      const message = `passwords are not accepted: auth.mode is "${mode}"; give a token`;
      return refuse(message, basic ? password : null);
    }
    if (!isText(password)) return refuse("the password is empty");
    const error = await passwords.refusal(password, address);
    return error === null ? admit(passwords.principal) : { ok: false, error, guess: null };
  }

  async function fromPeer(tailnet: Tailnet, peer: TailnetPeer): Promise<Verdict> {
    const found = await tailnet.identify(peer);
    if (typeof found === "object") return admit(found);
    return refuse(found === "stranger" ? `${MISSING}, ${NOT_LISTED}` : `${MISSING}: ${NOT_KNOWN}`);
  }

  function look(secret: string): Found {
    return isText(secret) ? credentials.find(secret) : { state: "unknown" };
  }

  return (credential: Credential, address: string): Verdict | Promise<Verdict> => {
    switch (credential.kind) {
      case "none":
        if (mode === "none") return anybody;
        if (tailnet === null || credential.peer === undefined) return refuse(MISSING);
        return fromPeer(tailnet, credential.peer);
      case "token":
        return fromSecret(credential.token, "token");
      case "session_token":
        return fromSession(credential.token);
      case "ticket":
        return unlessUntold(fromTicket(credential.ticket));
      case "password":
        return fromPassword(credential.password, credential.basic === true, address);
      case "device":
        return devices === null ? refuse(noDevices(mode)) : unlessUntold(devices.judge(credential, address));
    }
  };
}

/** Where the store does not tell whether something was used, nobody is let in by it, and it was no guess. */
function unlessUntold(verdict: Promise<Verdict>): Promise<Verdict> {
  return verdict.catch((error: unknown) => {
    if (!(error instanceof GatewayError)) throw error;
    return { ok: false, error, guess: null };
  });
}

const MISSING =
  'a credential is needed: "Authorization: Bearer TOKEN", or auth_token in connect ("agentbus token create" makes one)';
const NOT_LISTED = "or a login of the tailnet that auth.tailscale.users lists";
const NOT_KNOWN = "tailscaled does not say who you are, agentbus doctor on the gateway's machine tells why";
const WRONG = {
  token: 'this token is wrong, or was rotated or revoked: "agentbus token create" makes one',
  session_token: "this session_token is wrong, or was revoked: log in again",
} as const;
const EXPIRED = {
  token: 'this token has expired: "agentbus token create" makes one',
  session_token: "this session_token has expired: log in again",
} as const;
function noDevices(mode: string): string {
  return `device keys are not accepted: auth.mode is "${mode}"; give a token`;
}
const WRONG_TICKET =
  "this ticket is wrong, used or too old: ticket.create makes one for a single use within 30 seconds";

/** What comes off the wire is not what its type says before it was looked at. */
function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
