import { createHash } from "node:crypto";
import type { Audit } from "../core/audit.ts";
import type { Delivery, Receive, SendFor } from "../core/automation.ts";
import type { Outcome } from "../core/call.ts";
import { payloadOf } from "../core/call.ts";
import type { Limits } from "../core/limits.ts";
import type { Makers } from "../core/maker.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { Stats } from "../core/stats.ts";
import { GatewayError } from "../protocol/errors.ts";
import { isTooDeep, tooDeep } from "../protocol/frames.ts";
import type { Read } from "./inbound-message.ts";
import { messageOf } from "./inbound-message.ts";
import { Paces } from "./paces.ts";
import { rightsNow } from "./records.ts";
import type { Sealer } from "./sealed.ts";
import type { Verify } from "./signature.ts";
import { newSigningSecret, proves } from "./signature.ts";
import type { StoredHook } from "./stored-hook.ts";

/** Where the proof stands, unless a hook says otherwise. */
export const HEADERS: Readonly<Record<Verify, string>> = {
  token: "authorization",
  hmac: "x-hub-signature-256",
  standard: "webhook-signature",
};

export interface InboundOptions {
  readonly clock: Clock;
  readonly limits: Pick<Limits, "hooks_per_user" | "hook_calls_per_minute" | "message_bytes" | "json_depth">;
  readonly log: Logger;
  readonly audit: Audit;
  readonly sealer: Sealer;
  readonly send: SendFor;
  readonly makers: Makers;
  readonly stats: Pick<Stats, "hook_calls">;
}

/** What takes deliveries in. What is found first is whether the sender has the secret: nothing else is told before. */
export function createReceiver(options: InboundOptions, find: (name: string) => StoredHook | null): Receive {
  const { clock, limits, sealer, audit, makers, log } = options;
  const paces = new Paces(clock, () => limits.hook_calls_per_minute);

  /** Secrets that count now. */
  function secretsOf({ id, secret, previous }: StoredHook): string[] {
    const sealed = previous !== null && previous.until > clock.now() ? [secret, previous.secret] : [secret];
    const found = sealed.map((each) => sealer.open(each, id));
    if (found.includes(null)) {
      log.warn(
        { hook_id: id },
        "the secret of a hook cannot be opened with the key of this gateway: hook.rotate makes a new one",
      );
    }
    return found.filter((each) => each !== null);
  }

  /** Somebody who names a hook that is not there waits as long as for one that is. */
  function isProved(hook: StoredHook | null, { headers, body }: Delivery): hook is StoredHook {
    const now = Math.floor(clock.now() / 1_000);
    const proof = { verify: "hmac", header: HEADERS.hmac, headers, body, now } as const;
    // A token says nothing of the body; it is looked at all the same, for as long as for a signature.
    if (hook === null || hook.verify === "token") proves(NOBODYS, proof);
    if (hook === null) return false;
    const { verify, header } = hook;
    const right = secretsOf(hook).map((secret) => proves(secret, { ...proof, verify, header }));
    return right.includes(true) && hook.enabled;
  }

  const receive: Receive = async (delivery) => {
    const hook = find(delivery.name);
    const { remote, signal } = delivery;
    const credential = hook?.id ?? null;
    const about = { action: "hook.call", transport: "rest", remote, method: "hook", credential };
    try {
      const isRight = isProved(hook, delivery);
      const scopes = isRight ? rightsNow(makers, hook) : "";
      if (!isRight || typeof scopes === "string") {
        audit.tally({ ...about, outcome: "UNAUTHORIZED" });
        return { ok: false, error: unproved() };
      }
      const wait_ms = paces.take(hook.id);
      if (wait_ms > 0) throw tooOften(limits, wait_ms);
      const params = messageOf(hook, read(delivery, limits.json_depth), limits.message_bytes);
      const outcome = await options.send(
        { owner: hook.owner, scopes },
        { client_id: `hook:${hook.name}`, remote, signal, transport: "rest" },
        params,
      );
      const code = outcome.ok ? "ok" : outcome.error.reason;
      audit.tally({ ...about, user: hook.owner, outcome: code });
      return accepted(outcome);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      audit.tally({ ...about, user: hook?.owner ?? "", outcome: error.reason });
      return { ok: false, error };
    }
  };
  return async (delivery) => {
    const outcome = await receive(delivery);
    options.stats.hook_calls[outcome.ok ? "taken" : "refused"]++;
    return outcome;
  };
}

/** What nobody has. */
const NOBODYS = newSigningSecret("hmac");

/** The body as a template sees it: JSON wherever it can be read as that. @throws GatewayError INVALID_REQUEST for what is only called JSON */
function read({ headers, body }: Delivery, json_depth: number): Read {
  const type = (headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const isCalledJson = type === "application/json" || type.endsWith("+json");
  const digest = createHash("sha256").update(body).digest("hex");
  const text = utf8(body);
  const isDeep = isTooDeep(text, json_depth);
  if (isDeep && isCalledJson) throw tooDeep(json_depth);
  // Brackets of a text are none of JSON: of a log with colors none is closed.
  const parsed = isDeep ? undefined : parse(text);
  if (isCalledJson && parsed === undefined && text !== "") throw noJson();
  return { text, digest, headers, body: parsed };
}

function utf8(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw noJson();
  }
}

/** Undefined: it is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Then it is text, or the sender is told.
    return undefined;
  }
}

function noJson(): GatewayError {
  return new GatewayError(
    "INVALID_REQUEST",
    "the body is not JSON in UTF-8; have the sender send application/json, or text as text/plain",
    { details: { kind: "json" } },
  );
}

/** What a sender is told: no more than where its message is. */
function accepted(outcome: Outcome): Outcome {
  if (!outcome.ok) return outcome;
  const { session_id, message_id, run_id, status } = payloadOf(outcome) as Record<string, unknown>;
  return { ok: true, payload: { session_id, message_id, run_id, status } };
}

function unproved(): GatewayError {
  return new GatewayError(
    "UNAUTHORIZED",
    "no hook of this name takes this: look at the name, the secret, the header it stands in, and for signatures the body and the clock",
  );
}

function tooOften({ hook_calls_per_minute }: InboundOptions["limits"], retry_after_ms: number): GatewayError {
  const message = `more than ${hook_calls_per_minute} deliveries a minute (limits.hook_calls_per_minute); nothing was done`;
  return new GatewayError("RATE_LIMITED", message, {
    details: { kind: "rate" },
    limit: { what: "hook_calls_per_minute", limit: hook_calls_per_minute },
    retry_after_ms,
  });
}
