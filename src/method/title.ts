import type { Static } from "@sinclair/typebox";
import type { Appended } from "../core/append.ts";
import type { Context } from "../core/context.ts";
import { contextOf } from "../core/context.ts";
import { Meter } from "../core/meter.ts";
import type { IdempotencyRow } from "../core/operation.ts";
import type { ModelMessage } from "../core/ports.ts";
import type { SessionRef } from "../core/session.ts";
import { Slots } from "../core/slots.ts";
import { readTitle, titleOf } from "../core/title.ts";
import { sessionTitle } from "../protocol/api/session.ts";
import type { EventMessage, Session } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { requireBudget } from "./budget.ts";
import type { MethodDeps } from "./deps.ts";
import type { Call, MethodHandler } from "./registry.ts";
import { handle } from "./registry.ts";

/** Titles being made at once; more wait. */
const AT_ONCE = 4;
const DEADLINE_MS = 50_000;
/** What is read of a conversation, the newest of it, and of an answer. */
const READ_MESSAGES = 20;
const READ_BYTES = 256 * 1024;
const ANSWER_CHARS = 4_000;

export interface Titling {
  /** Writes it, and answers. */
  readonly rename: (session: SessionRef, title: string, call: Call) => Promise<void>;
  /** Answers where it is written. */
  readonly again: (prior: IdempotencyRow, params: unknown, call: Call) => Promise<Session>;
}

interface Question {
  readonly model: string;
  readonly messages: readonly ModelMessage[];
  /** Who asks. */
  readonly user: string;
  readonly gone: AbortSignal;
}

/** `session.title`: the model names the conversation. */
export function titleMethod(deps: MethodDeps, { rename, again }: Titling): MethodHandler {
  const slots = new Slots(AT_ONCE);
  const name = async ({ session_id }: Static<typeof sessionTitle.params>, call: Call): Promise<undefined> => {
    const session = await deps.directory.find(call.user, session_id, "write");
    await requireBudget(deps, call);
    const { model, messages } = await askedWith(deps, session);
    // What the connection does next in the session need not wait for a model.
    call.entered();
    const title = await slots.use(() =>
      ask(deps, session, { model, messages, user: call.user, gone: call.caller.signal }),
    );
    await rename(session, title, call);
    return undefined;
  };
  return handle(sessionTitle, name, again);
}

/** @throws GatewayError CONFLICT where nothing was said yet */
async function askedWith(
  { store, router }: MethodDeps,
  session: SessionRef,
): Promise<{ readonly model: string; readonly messages: ModelMessage[] }> {
  const rows = await store.context(session.id, READ_MESSAGES, READ_BYTES);
  const read = ({ data }: { readonly data: string }): EventMessage => JSON.parse(data) as EventMessage;
  const context: Context = { summary: null, history: (rows?.messages ?? []).map(read) };
  const messages = titleOf(contextOf(context, { run_id: "", waiting: new Set(), system_prompt: "" }));
  if (messages !== null) return { model: router.resolve(rows?.session.model ?? null), messages };
  throw new GatewayError("CONFLICT", "nothing was said in this session yet: there is nothing to name", {
    details: { kind: "state" },
  });
}

/** What naming used is no part of a run, so it is written by itself. */
function book({ ledger, journal }: MethodDeps, session: SessionRef, user: string, { calls }: Meter): void {
  const rows = calls.map((call) => ledger.book(user, call));
  if (rows.length === 0) return;
  const write = (where: SessionRef | null, settle: (outcome: Appended) => void): void =>
    journal.append({ session: where, run: null, ack: false, events: [], rows, settle });
  write(session, (outcome) => {
    // Deleted meanwhile: who asked has used it all the same.
    const isGone = !outcome.ok && (outcome.reason === "gone" || outcome.reason === "unknown");
    if (isGone) write(null, () => undefined);
  });
}

/** @throws GatewayError what the model failed with, UPSTREAM_ERROR where it named nothing, TIMEOUT */
async function ask(
  deps: MethodDeps,
  session: SessionRef,
  { model, messages, user, gone }: Question,
): Promise<string> {
  const { clock, limits, router, ledger } = deps;
  // Nobody waits for it any more: the model is not asked.
  if (gone.aborted) throw tooLong();
  const over = new AbortController();
  const cancel = clock.after(DEADLINE_MS, () => over.abort());
  const signal = AbortSignal.any([gone, over.signal]);
  let text = "";
  const meter = new Meter(model, ledger.priced);
  try {
    for await (const event of router.stream(
      { model, messages, session_id: session.id, run_id: "" },
      { signal },
    )) {
      if (event.type === "model") meter.calling(event.model);
      if (event.type === "usage") meter.told(event.usage);
      if (event.type === "retrying" || event.type === "error") meter.failed();
      if (event.type === "error") throw event.error;
      if (event.type === "aborted") throw tooLong();
      if (event.type === "retrying") text = "";
      if (event.type !== "text") continue;
      meter.said();
      if (text.length < ANSWER_CHARS) text += event.text;
    }
  } finally {
    meter.ended();
    book(deps, session, user, meter);
    cancel();
    over.abort();
  }
  const title = readTitle(text, limits.title_chars);
  if (title !== "") return title;
  throw new GatewayError("UPSTREAM_ERROR", "the model gave no title; the session keeps the one it has", {
    retryable: true,
  });
}

function tooLong(): GatewayError {
  return new GatewayError("TIMEOUT", "the model took too long to name the session");
}
