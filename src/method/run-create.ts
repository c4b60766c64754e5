import type { Static } from "@sinclair/typebox";
import { newId } from "../core/id.ts";
import type { IdempotencyRow, NewEvent, RowChange } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { Tail } from "../core/tail.ts";
import { wellFormed } from "../core/text.ts";
import { runCreate } from "../protocol/api/run.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { ResultOf } from "../protocol/methods.ts";
import { append } from "./append.ts";
import { requireBudget } from "./budget.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { addRun, priorSession } from "./send.ts";

type Create = Static<typeof runCreate.params>;

/** `run.create`: the run is one of the session's lane, like one that a message started. */
export function runCreateMethod(deps: MethodDeps): MethodHandler {
  return handle(
    runCreate,
    async (params, call) => {
      const session = await deps.directory.find(call.user, params.session_id, "write");
      await withTail(deps, session, async (tail) => {
        await requireBudget(deps, call);
        await requireHistory(deps, session);
        commitRun(deps, params, call, session, tail);
      });
      return undefined;
    },
    async (prior, _params, call) => priorRun(deps, prior, call.user),
  );
}

/** The answer to a repeated request for a run, from what was stored with the first one's effect. */
export async function priorRun(
  deps: MethodDeps,
  prior: IdempotencyRow,
  user: string,
): Promise<ResultOf<typeof runCreate>> {
  const { run_id, status } = JSON.parse(prior.answer) as { run_id: string; status: "started" | "queued" };
  const session_id = nameFor(await priorSession(deps, prior, user), user);
  return { session_id, run_id, status, epoch: prior.epoch ?? "", seq: prior.seq };
}

/** @throws GatewayError CONFLICT where nothing was said yet */
async function requireHistory({ store }: MethodDeps, session: SessionRef): Promise<void> {
  const rows = await store.context(session.id, 1, Number.MAX_SAFE_INTEGER);
  if ((rows?.messages.length ?? 0) > 0) return;
  throw new GatewayError("CONFLICT", "nothing was said in this session yet: there is nothing to answer", {
    details: { kind: "state" },
  });
}

/** From here to the journal's queue everything is synchronous, as for chat.send. */
function commitRun(deps: MethodDeps, params: Create, call: Call, session: SessionRef, tail: Tail): void {
  const { clock, directory, journal, router, runs } = deps;
  const { on_busy } = deps.settings;
  const now = clock.now();
  directory.require(session, call.user, "write");
  const asked = params.model === undefined ? tail.row.model : wellFormed(params.model);
  const model = router.resolve(asked);
  // There is no message that could be put into the run that answers.
  const reservation = runs.lanes.reserve(session.id, on_busy === "steer" ? "queue" : on_busy);
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
      try {
        call.ok({ session_id: nameFor(session, call.user), run_id, status, epoch, seq: first_seq });
      } finally {
        runs.accept(reservation, { session, run, user: call.user, mark: call.mark });
      }
    },
    undo: () => reservation.release(),
  });
}
