import type { Appended } from "../core/append.ts";
import { noAttachment } from "../core/attachment.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import {
  gatewayStops,
  noRoomForFiles,
  quotaReached,
  servedElsewhere,
  changedMeanwhile,
  storageRefuses,
  tooMuchWaits,
} from "../core/outage.ts";
import type { SessionRef } from "../core/session.ts";
import { gone, nameFor, noSession } from "../core/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Call } from "./registry.ts";
import { answerFromPrior } from "./registry.ts";

type Committed = Extract<Appended, { ok: true }>;

export interface CommandAppend {
  readonly session: SessionRef | null;
  readonly events: readonly NewEvent[];
  readonly rows: readonly RowChange[];
  /** What a repeated request with the same key is answered from, JSON; epoch and seq are stored beside it. */
  readonly remember: Record<string, unknown>;
  /** Answers, inside the block that publishes the events. */
  readonly committed: (result: Committed) => unknown;
  /** Gives back what was reserved, when nothing was written. */
  readonly undo?: () => void;
  /** After `undo`, in place of CONFLICT {kind:"exists"}. */
  readonly exists?: () => void;
}

/** Appends the effect of a command: the answer leaves after the commit, and with the effect go its key and its entry in the audit trail. */
export function append(call: Call, journal: Journal, now: number, command: CommandAppend): void {
  try {
    call.requireLive();
  } catch (error) {
    command.undo?.();
    return call.fail(error);
  }
  const rows = [...command.rows];
  if (call.keyed !== null) {
    const answer = JSON.stringify(command.remember);
    rows.push({ kind: "idempotency", ...call.keyed, answer, created_at: now });
  }
  if (call.audited !== null) rows.push(call.audited.row());
  const { besides } = call.caller;
  if (besides !== undefined && command.session !== null) {
    rows.push(...besides(command.remember, nameFor(command.session, call.user)));
  }
  journal.append({
    session: command.session,
    run: null,
    ack: true,
    events: command.events,
    rows,
    settle: (outcome) => {
      if (outcome.ok) {
        call.audited?.written();
        try {
          const payload = command.committed(outcome);
          if (payload !== undefined) call.ok(payload);
        } catch (error) {
          call.fail(error);
        }
        return;
      }
      command.undo?.();
      if (outcome.reason === "idempotent" && outcome.prior !== undefined)
        answerFromPrior(call, outcome.prior);
      else if (outcome.reason === "exists" && command.exists !== undefined) command.exists();
      else call.fail(appendError(outcome, command.session, call.user, journal.limits));
    },
  });
  return call.entered();
}

/** As append; resolves when it is answered, for what has to wait until then. */
export function appendAndWait(
  call: Call,
  journal: Journal,
  now: number,
  command: CommandAppend,
): Promise<void> {
  return new Promise((settled) => {
    append(call, journal, now, {
      ...command,
      committed: (result) => {
        settled();
        return command.committed(result);
      },
      undo: () => {
        settled();
        command.undo?.();
      },
    });
  });
}

/** As appendAndWait, for what no request asked for. @throws GatewayError where nothing was written */
export function appendAlone(journal: Journal, command: CommandAppend): Promise<void> {
  const { session, events, rows } = command;
  return new Promise((resolve, reject) => {
    journal.append({
      session,
      run: null,
      ack: true,
      events,
      rows,
      settle: (outcome) => {
        if (outcome.ok) {
          command.committed(outcome);
          return resolve();
        }
        command.undo?.();
        return reject(appendError(outcome, session, session?.owner ?? "", journal.limits));
      },
    });
  });
}

/** Why nothing was written, for the caller. */
export function appendError(
  outcome: Extract<Appended, { ok: false }>,
  session: SessionRef | null,
  user: string,
  limits: Limits,
): GatewayError {
  switch (outcome.reason) {
    case "storage":
      return storageRefuses();
    case "elsewhere":
      return servedElsewhere();
    case "overloaded":
      return tooMuchWaits(limits);
    case "full":
      return outcome.what === "room" ? noRoomForFiles() : quotaReached(outcome.what ?? "", limits);
    case "attachment":
      return noAttachment();
    case "exists":
      return new GatewayError("CONFLICT", "a session with this id exists already", {
        details: { kind: "exists" },
      });
    case "gone":
      return session === null ? noSession() : gone(session, user);
    case "unknown":
      return noSession();
    case "changed":
      return changedMeanwhile();
    default:
      return gatewayStops();
  }
}
