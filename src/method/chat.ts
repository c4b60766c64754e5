import type { Static } from "@sinclair/typebox";
import { newId } from "../core/id.ts";
import type { NewEvent, RowChange } from "../core/operation.ts";
import type { Runner } from "../core/runner.ts";
import { NOWHERE, nameFor } from "../core/session.ts";
import { chatAbort, chatHistory, chatInject } from "../protocol/api/chat.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append } from "./append.ts";
import { hooked } from "./before-message.ts";
import type { MethodDeps } from "./deps.ts";
import { history } from "./history.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { addMessage, namedFiles, requireSomething } from "./message.ts";
import { priorSession, sendMethod } from "./send.ts";
import { bounded, boundedJson } from "./text.ts";

export function chatMethods(deps: MethodDeps): MethodHandler[] {
  return [
    sendMethod(deps),
    handle(chatHistory, (params, call) => history(deps, params, call)),
    handle(chatAbort, async (params, call) => abort(deps, params, call)),
    handle(
      chatInject,
      async (params, call) => inject(deps, params, call),
      async (prior, _params, call) => {
        const { message_id } = JSON.parse(prior.answer) as { message_id: string };
        const session = await priorSession(deps, prior, call.user);
        return {
          session_id: nameFor(session, call.user),
          message_id,
          epoch: prior.epoch ?? "",
          seq: prior.seq,
        };
      },
    ),
  ];
}

async function inject(
  deps: MethodDeps,
  params: Static<typeof chatInject.params>,
  call: Call,
): Promise<undefined> {
  const said = bounded(params.content, "message_bytes", deps.limits);
  const metadata = boundedJson(params.metadata, "metadata_bytes", deps.limits);
  const files = await namedFiles(deps, call.user, params.attachments);
  requireSomething("content", said, files);
  if (files.length > 0 && params.role !== "user") throw onlyUsers();
  const content = deps.hooks.has.before_message
    ? await hooked(deps, call, { ...params, makes: false, content: said })
    : said;
  const session = await deps.directory.find(call.user, params.session_id, "write");
  const now = deps.clock.now();
  const message_id = newId("msg", now);
  const events: NewEvent[] = [];
  const rows: RowChange[] = [];
  const message = {
    message_id,
    role: params.role,
    content,
    files,
    run_id: null,
    timestamp: now,
    metadata,
  };
  addMessage(message, { at: now, run_id: null, user: call.user }, events, rows);
  append(call, deps.journal, now, {
    session,
    events,
    rows,
    remember: { message_id },
    committed: ({ first_seq, epoch }) => ({
      session_id: nameFor(session, call.user),
      message_id,
      epoch,
      seq: first_seq,
    }),
  });
  return undefined;
}

function onlyUsers(): GatewayError {
  return new GatewayError("INVALID_REQUEST", "only messages of role user have attachments", {
    details: { kind: "schema", path: "attachments" },
    http: 422,
  });
}

async function abort(deps: MethodDeps, params: Static<typeof chatAbort.params>, call: Call) {
  const found = await stoppable(deps, params, call.user);
  const run_ids = await settled(found, call);
  const runners = found.filter(({ run_id }) => run_ids.includes(run_id));
  const stopped = deps.runs.stop(runners, { status: "aborted", ended_by: call.user });
  call.entered();
  if (runners.length > 0 && deps.journal.refused !== null) {
    throw new GatewayError(
      "UNAVAILABLE",
      "the run is stopped; its end is recorded once storage takes writes again",
      {
        details: { kind: "storage" },
      },
    );
  }
  await stopped;
  // For another node: some were ended before, or ended by themselves while it was written down which they are.
  const isRelayed = call.caller.relayed !== undefined;
  const rows = await Promise.all((isRelayed ? run_ids : []).map((run_id) => deps.store.run(run_id)));
  const ended = rows.flatMap((row) => (row?.status === "aborted" ? row.run_id : []));
  const all = isRelayed ? ended : runners.map(({ run_id }) => run_id);
  return { run_ids: all, status: all.length > 0 ? ("aborted" as const) : ("idle" as const) };
}

/** What is ended for another node: where that is done again, what was to be ended the first time, and no run that began since. */
async function settled(runners: readonly Runner[], { caller }: Call): Promise<readonly string[]> {
  const ids = runners.map(({ run_id }) => run_id);
  return caller.relayed === undefined ? ids : caller.relayed.settle(ids);
}

async function stoppable(
  deps: MethodDeps,
  params: Static<typeof chatAbort.params>,
  user: string,
): Promise<Runner[]> {
  if ((params.run_id === undefined) === (params.session_id === undefined)) {
    throw new GatewayError("INVALID_REQUEST", "give run_id or session_id, one of the two", {
      details: { kind: "schema" },
    });
  }
  if (params.session_id !== undefined) {
    const session = await deps.directory.find(user, params.session_id, "write");
    // Messages that are on their way into the log were sent before.
    await deps.runs.lanes.reserved(session.id);
    deps.directory.require(session, user, "write");
    const runners = deps.runs.of(session.id);
    return params.queued === "keep" ? runners.filter((runner) => runner.isStarted) : runners;
  }
  const run_id = params.run_id ?? "";
  const runner = deps.runs.get(run_id);
  const mine = runner !== undefined && deps.directory.mayRead(runner.session, user);
  // Another's run is looked for like one that is not there, so that the answer takes as long.
  const session_id = mine ? runner.session.id : ((await deps.store.run(run_id))?.session ?? NOWHERE);
  const session = await deps.directory.lookup(user, session_id).catch(noneWhereGone);
  if (session === null) throw new GatewayError("NOT_FOUND", "no such run", { details: { kind: "run" } });
  deps.directory.require(session, user, "write");
  return runner === undefined ? [] : [runner];
}

/** The runs of a deleted session went with it. */
function noneWhereGone(error: unknown): null {
  if (error instanceof GatewayError && error.reason === "GONE") return null;
  throw error;
}
