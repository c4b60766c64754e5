import type { EventMessage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { contextOf, uncovered } from "./context.ts";
import type { Journal } from "./journal.ts";
import type { Limits } from "./limits.ts";
import { contentOf } from "./message.ts";
import type { Covers } from "./operation.ts";
import type { ModelMessage, Toolbox, ToolSpec } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import type { Store } from "./store.ts";
import { readShown } from "./shown.ts";
import { summaryOf } from "./summary.ts";

/** What a run is for: to answer a message, or to put a summary in the place of what was said. */
export type RunKind = "answer" | "summary";

/** What a run asks the model with. */
export interface Asking {
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ToolSpec[];
  /** Messages of users that belong to the run, by id. */
  readonly told: ReadonlySet<string>;
  /** What the answer is a summary of, once it is complete. */
  readonly covers?: Covers;
}

export interface AskingDeps {
  readonly store: Store;
  readonly journal: Journal;
  readonly limits: Limits;
  readonly system_prompt: string;
  readonly toolbox: Toolbox;
  readonly waiting: (session: string) => ReadonlySet<string>;
}

/** What a model is shown at the most; what is older stays readable, it is only not sent. */
const CONTEXT_MESSAGES = 1_000;
const CONTEXT_BYTES = 4 * 1024 * 1024;

/** What a run asks the model next; null: there is nothing to summarise. */
export async function asks(
  kind: RunKind,
  deps: AskingDeps,
  session: SessionRef,
  run_id: string,
  /** The run itself is not what is summarised: it is asked for by a run that answers. */
  isInner = false,
): Promise<Asking | null> {
  const { store, journal, limits, waiting, system_prompt, toolbox } = deps;
  const rows = await store.context(session.id, CONTEXT_MESSAGES, CONTEXT_BYTES);
  // The store may be ahead: of a message that is not published yet nobody knows whether its run waits.
  const head = journal.tails.peek(session.id)?.head ?? Infinity;
  const known = (rows?.messages ?? []).filter(({ seq }) => seq <= head);
  const before = rows?.summary ?? null;
  const conversation = {
    summary: before === null ? null : { content: messageOf(before).content, covers: before.covers },
    history: known.map((row) => messageOf(row)),
  };
  // Of an image a summary has the name alone.
  const shows = kind === "answer" ? limits : { ...limits, shown_images: 0, shown_images_bytes: 0 };
  const shown = await readShown(store, session.id, uncovered(conversation), shows);
  const context = { ...conversation, shown };
  const waits = waiting(session.id);
  const run = isInner ? { run_id: "", waiting: new Set([...waits, run_id]) } : { run_id, waiting: waits };
  const own = context.history.filter((message) => message.run_id === run_id && message.role === "user");
  const told = new Set(own.map(({ message_id }) => message_id));
  if (kind === "summary") {
    const summary = summaryOf(context, run);
    return summary === null ? null : { ...summary, told, tools: [] };
  }
  const prompts = [rows?.session.system_prompt ?? system_prompt, toolbox.prompt()];
  const prompt = prompts.filter((each) => each !== "").join("\n\n");
  return { messages: contextOf(context, { ...run, system_prompt: prompt }), told, tools: toolbox.specs() };
}

function messageOf({ data }: { readonly data: string }): EventMessage {
  return JSON.parse(data) as EventMessage;
}

/** Why what the model wrote is no summary of everything; null: it is one. */
export function unfinished(
  message: Pick<EventMessage, "parts"> | undefined,
  finish_reason: string,
): GatewayError | null {
  const cut = finish_reason === "length" || finish_reason === "content_filter";
  if (!cut && contentOf(message?.parts ?? []).trim() !== "") return null;
  const what = cut ? `broke its summary off (${finish_reason})` : "gave no summary";
  return new GatewayError("UPSTREAM_ERROR", `the model ${what}; the conversation stays as it is`, {
    retryable: true,
  });
}
