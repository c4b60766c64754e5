import { newId } from "../core/id.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import { nothingToCompact } from "../core/summary.ts";
import type { Tail } from "../core/tail.ts";
import { sessionCompact } from "../protocol/api/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./append.ts";
import { requireBudget } from "./budget.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { priorRun } from "./run-create.ts";
import { addRun } from "./send.ts";

/** `session.compact`: the run that summarises is one of the session's lane: it waits, streams, is aborted and ends like any other. */
export function compactMethod(deps: MethodDeps): MethodHandler {
  return handle(
    sessionCompact,
    async (params, call) => {
      const session = await deps.directory.find(call.user, params.session_id, "write");
      await withTail(deps, session, async (tail) => {
        await requireBudget(deps, call);
        if (await isCompact(deps, session)) throw nothingToCompact();
        commitCompact(deps, call, session, tail);
      });
      return undefined;
    },
    async (prior, _params, call) => priorRun(deps, prior, call.user),
  );
}

/** Whether the newest thing in the session is a summary of all the rest, or there is nothing at all. */
async function isCompact({ runs, store }: MethodDeps, session: SessionRef): Promise<boolean> {
  if (runs.of(session.id).length > 0) return false;
  const rows = await store.context(session.id, 2, Number.MAX_SAFE_INTEGER);
  const [newest, before] = rows?.messages.toReversed() ?? [];
  if (newest === undefined) return true;
  const summary = rows?.summary;
  if (newest.message_id !== summary?.message_id) return false;
  const { through, except } = summary.covers;
  return except.length === 0 && (before === undefined || before.message_id === through);
}

/** From here to the journal's queue everything is synchronous, as for chat.send. */
function commitCompact(deps: MethodDeps, call: Call, session: SessionRef, tail: Tail): void {
  const { clock, directory, journal, router, runs } = deps;
  const now = clock.now();
  directory.require(session, call.user, "write");
  const last = runs.of(session.id).at(-1);
  if (last?.kind === "summary") {
    throw new GatewayError("CONFLICT", "the session is being compacted already: wait for that run to end", {
      details: { kind: "state", run_id: last.run_id },
    });
  }
  const model = router.resolve(tail.row.model);
  const reservation = runs.lanes.reserve(session.id, "queue");
  const { status } = reservation;
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  const run = addRun({ run_id: newId("run", now), model, created_at: now }, call, events, rows);
  const { run_id } = run;
  append(call, journal, now, {
    session,
    events,
    rows,
    remember: { run_id, status },
    committed: ({ first_seq, epoch }) => {
      const session_id = nameFor(session, call.user);
      try {
        call.ok({ session_id, run_id, status, epoch, seq: first_seq });
      } finally {
        runs.accept(reservation, { session, run, user: call.user, kind: "summary", mark: call.mark });
      }
    },
    undo: () => reservation.release(),
  });
}
