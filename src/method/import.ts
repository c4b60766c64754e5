import type { Static } from "@sinclair/typebox";
import { newEpoch, newId } from "../core/id.ts";
import { IMPORTED, importerOf, isImporter } from "../core/importing.ts";
import type { NewEvent, RowChange, SessionRow } from "../core/operation.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor, sessionPayload } from "../core/session.ts";
import { wellFormed } from "../core/text.ts";
import { sessionImport } from "../protocol/api/import.ts";
import { GatewayError } from "../protocol/errors.ts";
import { appendAlone } from "./append.ts";
import type { MethodDeps } from "./deps.ts";
import { withTail } from "./deps.ts";
import { importedMessage } from "./import-message.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";
import { endSession } from "./session-end.ts";
import { bounded, boundedJson, boundedTitle } from "./text.ts";

/** Sessions of one user that may be coming in at once. */
const OPEN_PER_USER = 4;
/** One that nothing came of for so long is given up, and nothing of it stays. */
const IDLE_MS = 120_000;
const LOOK_MS = 30_000;
/** One that nobody goes on with, whichever process had it. */
const LEFT_MS = 10 * 60_000;
const LISTED = 100;

type Params = Static<typeof sessionImport.params>;
type About = NonNullable<Params["session"]>;

interface Open {
  readonly import_id: string;
  readonly user: string;
  readonly session: SessionRef;
  readonly about: About;
  messages: number;
  used: number;
  /** Requests are done one after the other. */
  busy: boolean;
}

export interface Imports {
  readonly method: MethodHandler;
  /** Erases what the last process did not bring to an end. */
  recover(): Promise<void>;
  close(): void;
}

/** Sessions that come in from files. */
export function createImports(deps: MethodDeps): Imports {
  const open = new Map<string, Open>();
  const giveUp = (each: Open): void => {
    open.delete(each.import_id);
    void discard(deps, each.session);
  };
  const cancels = [
    deps.clock.every(LOOK_MS, () => {
      for (const each of open.values())
        if (!each.busy && deps.clock.monotonic() - each.used > IDLE_MS) giveUp(each);
    }),
    deps.clock.every(LEFT_MS, () => void discardLeft(deps)),
  ];

  async function begin(about: About, call: Call): Promise<Open> {
    if ([...open.values()].filter(({ user }) => user === call.user).length >= OPEN_PER_USER) throw tooMany();
    const made = openedBy(deps, about, call);
    open.set(made.import_id, made);
    try {
      await make(deps, made, call);
      return made;
    } catch (error) {
      open.delete(made.import_id);
      deps.directory.forget(made.session);
      throw error;
    }
  }

  async function goOn(each: Open, { messages = [], done = false }: Params, call: Call) {
    each.busy = true;
    try {
      for (const message of messages) {
        const { events, rows } = await importedMessage(deps, call.user, message);
        call.requireLive();
        await write(deps, each.session, events, rows);
        each.messages++;
      }
      const count = { import_id: each.import_id, messages: each.messages };
      if (!done) return { status: "open" as const, ...count };
      const session_id = await finish(deps, each, call);
      open.delete(each.import_id);
      return { status: "done" as const, session_id, ...count };
    } catch (error) {
      // Half of it is worth nothing: whoever brings it in begins again.
      giveUp(each);
      throw error;
    } finally {
      each.busy = false;
      each.used = deps.clock.monotonic();
    }
  }

  const method = handle(sessionImport, async (params, call) => {
    const { import_id, session: about } = params;
    if (import_id !== undefined) {
      const each = open.get(import_id);
      if (each?.user !== call.user) throw unknownImport();
      if (each.busy) throw busyImport();
      return goOn(each, params, call);
    }
    if (about === undefined) throw nothingSaid();
    const prior = await deps.store.record(IMPORTED, recordId(call.user, about.digest));
    const there = prior === null ? null : await deps.store.session(prior.owner);
    if (there?.owner === call.user) return skipped(there);
    return goOn(await begin(about, call), params, call);
  });
  return {
    method,
    recover: () => discardLeft(deps),
    close: () => {
      for (const cancel of cancels) cancel();
    },
  };
}

function skipped(session: SessionRow) {
  return { status: "skipped" as const, session_id: nameFor(session, session.owner), messages: 0 };
}

function openedBy({ clock, directory }: MethodDeps, about: About, { user }: Call): Open {
  const session: SessionRef = { id: directory.newId(), owner: importerOf(user), name: null };
  const import_id = newId("imp", clock.now());
  return { import_id, user, session, about, messages: 0, used: clock.monotonic(), busy: true };
}

function make(deps: MethodDeps, { session, about }: Open, call: Call): Promise<void> {
  const { limits, clock, directory } = deps;
  const { title = "", model, system_prompt, metadata } = about;
  const now = clock.now();
  const row = {
    owner: session.owner,
    title: boundedTitle(title, limits),
    model: model === undefined ? null : wellFormed(model),
    system_prompt: system_prompt === undefined ? null : bounded(system_prompt, "system_prompt_bytes", limits),
    metadata: boundedJson(metadata, "metadata_bytes", limits),
    created_at: about.created_at ?? now,
  };
  const payload = sessionPayload({ ...row, archived: false });
  call.requireLive();
  directory.adopt(session);
  return write(
    deps,
    session,
    [{ type: "session.created", ts: now, run_id: null, payload }],
    [{ kind: "session.create", ...row, name: null, epoch: newEpoch(), revive: true }],
  );
}

/** It belongs to who brought it in, by its name where that is free, and is there from now on. */
async function finish(deps: MethodDeps, { session, about, user }: Open, call: Call): Promise<string> {
  const name = await freeName(deps, user, about.name);
  call.requireLive();
  const now = deps.clock.now();
  await withTail(deps, session, async ({ row }) => {
    const { title, model, system_prompt, metadata, created_at } = row;
    const archived = about.archived ?? false;
    const settings = { title, model, system_prompt, metadata, archived };
    const payload = sessionPayload({ ...settings, owner: user, created_at });
    const known = { collection: IMPORTED, id: recordId(user, about.digest), owner: session.id };
    await appendAlone(deps.journal, {
      session,
      events: [{ type: "session.updated", ts: now, run_id: null, payload }],
      rows: [
        { kind: "session.update", ...settings },
        { kind: "session.transfer", owner: user, ...(name !== null && { name }) },
        { kind: "record.put", record: { ...known, data: "{}", expires_at: null } },
      ],
      remember: {},
      committed: ({ tail }) => {
        deps.directory.transferred(session, user, name);
        if (tail !== null) Object.assign(tail.row, { owner: user, name, archived });
        if (tail !== null) deps.changes.touch({ id: session.id, owner: user, name }, tail);
        return {};
      },
    });
  });
  return name ?? session.id;
}

/** Null where somebody has it, or it is none that may be chosen. */
async function freeName(
  { directory, store }: MethodDeps,
  user: string,
  name: string | undefined,
): Promise<string | null> {
  if (name === undefined || name.startsWith("ses_") || directory.known(user, name) !== null) return null;
  const found = await store.named(user, name);
  return found === null || found === "gone" ? name : null;
}

function write(deps: MethodDeps, session: SessionRef, events: NewEvent[], rows: RowChange[]): Promise<void> {
  return appendAlone(deps.journal, { session, events, rows, remember: {}, committed: () => ({}) });
}

/** Those that nothing came of for long: another node may be at one that is newer. */
async function discardLeft(deps: MethodDeps): Promise<void> {
  try {
    for (const { user } of await deps.store.owners()) {
      if (!isImporter(user)) continue;
      const rows = await deps.store.sessions({ user, shared: [], limit: LISTED });
      const left = rows.filter(({ updated_at }) => updated_at < deps.clock.now() - LEFT_MS);
      for (const { id, owner, name } of left) await discard(deps, { id, owner, name });
    }
  } catch {
    // They are there for nobody, and looked for again.
  }
}

async function discard(deps: MethodDeps, session: SessionRef): Promise<void> {
  try {
    await endSession(deps, session, session.owner, (command) => appendAlone(deps.journal, command));
  } catch {
    // Storage refuses, or the gateway stops: the next start erases it.
  }
}

function recordId(user: string, digest: string): string {
  return `${user}:${digest}`;
}

function tooMany(): GatewayError {
  const message = `${OPEN_PER_USER} imports of yours are under way: finish one first`;
  return new GatewayError("CONFLICT", message, { details: { kind: "full" } });
}

function unknownImport(): GatewayError {
  const message = "no such import is under way: begin again, without import_id";
  return new GatewayError("NOT_FOUND", message, { details: { kind: "import" } });
}

function busyImport(): GatewayError {
  const message = "a request of this import is under way: wait for its answer";
  return new GatewayError("CONFLICT", message, { details: { kind: "busy" }, retry_after_ms: 1_000 });
}

function nothingSaid(): GatewayError {
  const message = "session: the first request of an import says what it is";
  return new GatewayError("INVALID_REQUEST", message, {
    details: { kind: "schema", path: "session" },
    http: 422,
  });
}
