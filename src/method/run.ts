import type { EventRun, Run } from "../protocol/entities.ts";
import { modelList, runGet, runList, runWait } from "../protocol/api/run.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { RunRow } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { NOWHERE, nameFor } from "../core/session.ts";
import type { MethodDeps } from "./deps.ts";
import { published } from "./deps.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { runCreateMethod } from "./run-create.ts";

const WAIT_MS = 30_000;

export function runMethods(deps: MethodDeps): MethodHandler[] {
  return [
    runCreateMethod(deps),
    handle(runGet, async (params, call) => (await find(deps, params.run_id, call.user)).run),
    handle(runWait, async (params, call) => wait(deps, params.run_id, params.timeout_ms ?? WAIT_MS, call)),
    handle(runList, async (params, call) => {
      const session =
        params.session_id === undefined
          ? null
          : await deps.directory.find(call.user, params.session_id, "read");
      const { limit = 50, status, cursor } = params;
      const rows = await deps.store.runs({
        user: call.user,
        shared: deps.directory.sharedWith(call.user),
        limit: limit + 1,
        ...(session !== null && { session: session.id }),
        ...(status !== undefined && { status }),
        ...(cursor !== undefined && { after: readCursor(cursor) }),
      });
      const shown = rows.slice(0, limit);
      const refs = await Promise.all(shown.map((row) => reach(deps, row)));
      const runs = shown.flatMap((row, i) => {
        const ref = refs[i];
        const readable = ref !== null && ref !== undefined && deps.directory.mayRead(ref, call.user);
        return readable ? [view(row, nameFor(ref, call.user))] : [];
      });
      const last = shown.at(-1);
      const next = rows.length > limit && last !== undefined ? cursorOf(last) : undefined;
      return { runs, ...(next !== undefined && { next }) };
    }),
    handle(modelList, () => ({ default: deps.router.default_model, models: [...deps.router.models()] })),
  ];
}

function view(row: RunRow, name: string): Run {
  return { session_id: name, ...(JSON.parse(row.data) as EventRun) };
}

function noRun(): GatewayError {
  return new GatewayError("NOT_FOUND", "no such run", { details: { kind: "run" } });
}

/** Whose a stored run is, once readers are shown what the row says; null: the session is gone. */
async function reach(deps: MethodDeps, row: RunRow): Promise<SessionRef | null> {
  const session = await deps.store.session(row.session);
  if (session === null) return null;
  await published(deps, session, session.head);
  return session;
}

/** A run the user may read. What is not theirs looks like what does not exist. */
async function find(
  deps: MethodDeps,
  run_id: string,
  user: string,
): Promise<{ session: SessionRef; run: Run }> {
  const row = await deps.store.run(run_id);
  // Looked for either way: how long it takes does not tell whether there is something.
  const session = await deps.store.session(row?.session ?? NOWHERE);
  if (row === null || session === null || deps.directory.roleOf(session, user) === null) throw noRun();
  await published(deps, session, session.head);
  return { session, run: view(row, nameFor(session, user)) };
}

async function wait(deps: MethodDeps, run_id: string, timeout_ms: number, call: Call): Promise<Run> {
  const { run, session } = await find(deps, run_id, call.user);
  const runner = deps.runs.get(run_id);
  if (isEnded(run)) return run;
  const { signal } = call.caller;
  await inTime(
    deps,
    timeout_ms,
    signal,
    (over) => runner?.ended ?? endedElsewhere(deps, session, run_id, over),
  );
  // Who may read it is asked again, and only what is published is told.
  return (await find(deps, run_id, call.user)).run;
}

/**
 * Resolves once a run that another node has ended is told to readers here; at once where no node has it. Looks again
 * each time another run of its session begins or ends.
 */
async function endedElsewhere(
  deps: MethodDeps,
  session: SessionRef,
  run_id: string,
  over: Promise<void>,
): Promise<void> {
  const { tails } = deps.journal;
  const tail = await tails.pin(session).catch(() => null);
  if (tail === null) return;
  let isOver = false;
  void over.then(() => (isOver = true));
  const goesOn = (): boolean => !isOver && tails.isElsewhere(session.id);
  try {
    for (let active = tail.row.active_run_id; goesOn(); active = tail.row.active_run_id) {
      const row = await deps.store.run(run_id);
      if (row === null || (JSON.parse(row.data) as EventRun).ended_at !== undefined) return;
      while (tail.row.active_run_id === active && goesOn())
        await Promise.race([tail.reached(tail.head + 1), over]);
    }
  } finally {
    tails.release(session.id);
  }
}

/** Resolves with the work, after `timeout_ms`, or when the caller is gone; keeps nothing of it then. */
async function inTime(
  deps: MethodDeps,
  timeout_ms: number,
  signal: AbortSignal,
  work: (over: Promise<void>) => Promise<void>,
): Promise<void> {
  const over = Promise.withResolvers<void>();
  const cancel = deps.clock.after(timeout_ms, over.resolve);
  const gone = (): void => over.resolve();
  signal.addEventListener("abort", gone, { once: true });
  await Promise.race([work(over.promise), over.promise]);
  over.resolve();
  signal.removeEventListener("abort", gone);
  cancel();
}

function isEnded(run: Run): boolean {
  return run.status !== "queued" && run.status !== "running";
}

function cursorOf(row: RunRow): string {
  return `${(JSON.parse(row.data) as EventRun).created_at}:${row.run_id}`;
}

function readCursor(cursor: string): { created_at: number; id: string } {
  const [at = "", id = ""] = cursor.split(":", 2);
  if (/^\d{1,15}$/.test(at) && id !== "") return { created_at: Number(at), id };
  throw new GatewayError("INVALID_REQUEST", "cursor: send the `next` of the page before, as it was", {
    details: { kind: "cursor" },
  });
}
