import type { Static } from "@sinclair/typebox";
import { isGatewaySessionId, newEpoch } from "../core/id.ts";
import type { IdempotencyRow, ItemResult, SessionRow } from "../core/operation.ts";
import { servedElsewhere, storageRefuses } from "../core/outage.ts";
import { Serial } from "../core/serial.ts";
import type { SessionRef } from "../core/session.ts";
import { gone, nameFor, noSession, sessionPayload, sessionView } from "../core/session.ts";
import { lengthUtf8, wellFormed } from "../core/text.ts";
import type { Session } from "../protocol/entities.ts";
import {
  sessionCreate,
  sessionFork,
  sessionGet,
  sessionList,
  sessionUpdate,
} from "../protocol/api/session.ts";
import { GatewayError } from "../protocol/errors.ts";
import { append, appendAndWait } from "./append.ts";
import { compactMethod } from "./compact.ts";
import type { MethodDeps } from "./deps.ts";
import { published, withTail } from "./deps.ts";
import { findOrMake } from "./name.ts";
import type { Call } from "./registry.ts";
import type { MethodHandler } from "./registry.ts";
import { answerFromPrior } from "./registry.ts";
import { handle } from "./registry.ts";
import { priorSession } from "./send.ts";
import { titleMethod } from "./title.ts";
import type { Limits } from "../core/limits.ts";
import { quotaReached } from "../core/outage.ts";
import { bounded, boundedJson, boundedTitle } from "./text.ts";

const LIST_BYTES = 256 * 1024;

export function sessionMethods(deps: MethodDeps): MethodHandler[] {
  const updates = new Serial();
  const again = async (prior: IdempotencyRow, _params: unknown, call: Call): Promise<Session> =>
    storedSession(deps, await priorSession(deps, prior, call.user), call.user);
  return [
    handle(sessionCreate, async (params, call) => create(deps, params, call), again),
    handle(sessionGet, async (params, call) => {
      const session = await deps.directory.find(call.user, params.session_id, "read");
      return storedSession(deps, session, call.user);
    }),
    handle(
      sessionUpdate,
      async (params, call) => {
        const session = await deps.directory.find(call.user, params.session_id, "write");
        // Each change is made on top of the one before it.
        await updates.run(session.id, () => update(deps, params, call, session));
        return undefined;
      },
      again,
    ),
    handle(sessionFork, async (params, call) => fork(deps, params, call), again),
    compactMethod(deps),
    titleMethod(deps, {
      rename: (session, title, call) =>
        updates.run(session.id, () => update(deps, { session_id: session.id, title }, call, session)),
      again,
    }),
    handle(sessionList, async (params, call) => list(deps, params, call)),
  ];
}

/** A session as its readers know it now. @throws GatewayError NOT_FOUND, GONE */
async function storedSession(deps: MethodDeps, session: SessionRef, user: string): Promise<Session> {
  const row = await deps.store.session(session.id);
  deps.directory.require(session, user, "read");
  if (row === null) throw noSession();
  await published(deps, session, row.head);
  return sessionView(row, nameFor(row, user));
}

async function create(
  deps: MethodDeps,
  params: Static<typeof sessionCreate.params>,
  call: Call,
): Promise<undefined> {
  const { limits, router } = deps;
  const { session_id: id, title, model, system_prompt: prompt } = params;
  if (id !== undefined && isGatewaySessionId(id)) {
    throw new GatewayError(
      "INVALID_REQUEST",
      'an id that begins with "ses_" is made by the gateway: choose another',
      { details: { kind: "session_id" } },
    );
  }
  const settings = {
    owner: call.user,
    title: boundedTitle(title ?? "", limits),
    model: model === undefined ? null : router.resolve(wellFormed(model)),
    system_prompt: prompt === undefined ? null : bounded(prompt, "system_prompt_bytes", limits),
    metadata: boundedJson(params.metadata, "metadata_bytes", limits),
  };
  return findOrMake(deps, call.user, id, {
    make: (session) => commitCreate(deps, call, session, settings),
    found: () => {
      throw new GatewayError("CONFLICT", `you have a session "${id}" already`, {
        details: { kind: "exists" },
      });
    },
    revive: true,
  });
}

type Settings = Pick<SessionRow, "owner" | "title" | "model" | "system_prompt" | "metadata">;

function commitCreate(deps: MethodDeps, call: Call, session: SessionRef, settings: Settings): undefined {
  const { clock, directory, journal, changes } = deps;
  const now = clock.now();
  const row = { ...settings, created_at: now };
  const payload = sessionPayload({ ...row, archived: false });
  append(call, journal, now, {
    session,
    events: [{ type: "session.created", ts: now, run_id: null, payload }],
    rows: [{ kind: "session.create", ...row, name: session.name, epoch: newEpoch(), revive: true }],
    remember: {},
    committed: ({ first_seq, epoch, tail }) => {
      const { id, name } = session;
      const state = { floor: 0, head: first_seq, updated_at: now, message_count: 0 };
      const made = { ...row, id, name, epoch, ...state, archived: false, active_run_id: null };
      if (tail !== null) changes.touch(session, tail);
      return sessionView(made, nameFor(session, call.user));
    },
    undo: () => directory.forget(session),
  });
  return undefined;
}

async function update(
  deps: MethodDeps,
  params: Static<typeof sessionUpdate.params>,
  call: Call,
  session: SessionRef,
): Promise<void> {
  const { clock, directory, limits, router, journal } = deps;
  await withTail(deps, session, async (tail) => {
    directory.require(session, call.user, "write");
    const { row } = tail;
    const next = {
      owner: row.owner,
      title: params.title === undefined ? row.title : boundedTitle(params.title, limits),
      model:
        params.model === undefined
          ? row.model
          : params.model === ""
            ? null
            : router.resolve(wellFormed(params.model)),
      system_prompt:
        params.system_prompt === undefined
          ? row.system_prompt
          : bounded(params.system_prompt, "system_prompt_bytes", limits) || null,
      metadata:
        params.metadata === undefined ? row.metadata : boundedJson(params.metadata, "metadata_bytes", limits),
      archived: params.archived ?? row.archived,
      created_at: row.created_at,
    };
    const now = clock.now();
    const { title, model, system_prompt, metadata, archived } = next;
    await appendAndWait(call, journal, now, {
      session,
      events: [{ type: "session.updated", ts: now, run_id: null, payload: sessionPayload(next) }],
      rows: [{ kind: "session.update", title, model, system_prompt, metadata, archived }],
      remember: {},
      committed: ({ first_seq }) => {
        const row = { ...tail.row, ...next, head: first_seq, updated_at: now };
        return sessionView(row, nameFor(session, call.user));
      },
    });
  });
}

/** Copies in groups into a session nobody sees before the last one. */
async function fork(
  deps: MethodDeps,
  params: Static<typeof sessionFork.params>,
  call: Call,
): Promise<Session | undefined> {
  const { clock, directory, journal, limits } = deps;
  const from = await directory.find(call.user, params.session_id, "read");
  const title = await withTail(deps, from, (tail) => tail.row.title);
  directory.require(from, call.user, "read");
  call.requireLive();
  if (journal.refused !== null) throw storageRefuses();
  const now = clock.now();
  const into: SessionRef = { id: directory.newId(), owner: call.user, name: null };
  const item = {
    kind: "copy" as const,
    from: from.id,
    message_id: params.message_id ?? null,
    into: into.id,
    owner: call.user,
    epoch: newEpoch(),
    title,
    created_at: now,
    max_rows: limits.maintenance_rows,
    remember:
      call.keyed === null
        ? null
        : { ...call.keyed, answer: JSON.stringify({ session_id: into.id }), created_at: now },
  };
  call.entered();
  for (;;) {
    const result = await journal.run(item);
    if (result.ok && "done" in result && result.done) break;
    const ended = result.ok ? endedMeanwhile(deps, from, call) : null;
    if (result.ok && ended === null) continue;
    // What was copied before belongs to nobody.
    deps.maintenance.erase(into.id);
    if (result.ok) throw ended;
    if (result.prior !== undefined) {
      answerFromPrior(call, result.prior);
      return undefined;
    }
    throw forkError(result, from, call.user, deps.limits);
  }
  directory.adopt(into);
  const made = await storedSession(deps, into, call.user);
  void tell(deps, into);
  return made;
}

/** Why a copy that is under way must not go on; null: it may. */
function endedMeanwhile({ directory }: MethodDeps, from: SessionRef, call: Call): unknown {
  try {
    call.requireLive();
    directory.require(from, call.user, "read");
    return null;
  } catch (error) {
    return error;
  }
}

/** session.changed for a session that was made without an event. Whether it can be sent changes nothing about that. */
async function tell(deps: MethodDeps, session: SessionRef): Promise<void> {
  const { tails } = deps.journal;
  const tail = await tails.pin(session).catch(() => null);
  if (tail === null) return;
  deps.changes.touch(session, tail);
  tails.release(session.id);
}

function forkError(
  { reason, what }: Extract<ItemResult, { ok: false }>,
  from: SessionRef,
  user: string,
  limits: Limits,
): GatewayError {
  if (reason === "full") return quotaReached(what ?? "", limits);
  if (reason === "gone") return gone(from, user);
  if (reason === "elsewhere") return servedElsewhere();
  return new GatewayError("NOT_FOUND", "no such message in this session", { details: { kind: "message" } });
}

async function list(deps: MethodDeps, params: Static<typeof sessionList.params>, call: Call) {
  const { limit = 50 } = params;
  const rows = await deps.store.sessions({
    user: call.user,
    shared: deps.directory.sharedWith(call.user),
    limit: limit + 1,
    ...(params.cursor !== undefined && { after: readCursor(params.cursor) }),
    ...(params.query !== undefined && { query: params.query }),
    ...(params.archived !== undefined && { archived: params.archived }),
    ...(params.updated_after !== undefined && { updated_after: params.updated_after }),
  });
  const page = rows.slice(0, limit);
  for (const row of page) await published(deps, row, row.head);
  const sessions: Session[] = [];
  // What stands around the sessions, and the cursor.
  let bytes = 256;
  let shown = 0;
  for (const row of page) {
    const { system_prompt: _hidden, ...session } = sessionView(row, nameFor(row, call.user));
    bytes += lengthUtf8(JSON.stringify(session)) + 1;
    if (sessions.length > 0 && bytes > LIST_BYTES) break;
    shown++;
    // It may have been taken back while the others were waited for.
    if (deps.directory.mayRead(row, call.user)) sessions.push(session);
  }
  const last = rows[shown - 1];
  const more = rows.length > shown && last !== undefined;
  return { sessions, ...(more && { next: `${last.updated_at}:${last.id}` }) };
}

function readCursor(cursor: string): { updated_at: number; id: string } {
  const [at = "", id = ""] = cursor.split(":", 2);
  if (!/^\d{1,15}$/.test(at) || id === "") {
    throw new GatewayError("INVALID_REQUEST", "cursor: send the `next` of the page before, as it was", {
      details: { kind: "cursor" },
    });
  }
  return { updated_at: Number(at), id };
}
