import type { EventMessage } from "../protocol/entities.ts";
import type { Covers } from "./operation.ts";
import type { ModelMessage } from "./ports.ts";

/** What is known of a session when a run begins. */
export interface Context {
  /** The newest summary, which stands for everything it covers. */
  readonly summary: { readonly content: string; readonly covers: Covers } | null;
  /** Oldest first: the messages the summary does not cover, and maybe others. */
  readonly history: readonly EventMessage[];
}

/** The run that is to begin. */
export interface ContextRun {
  readonly run_id: string;
  /** Runs of the session that have not begun. */
  readonly waiting: ReadonlySet<string>;
}

/** What a summary is the answer to, where a model is shown one. Its words are the model's own and have no more weight. */
const RECALL = "What have we said so far? Answer with a summary.";

/** What the model is asked with: the system prompt, the summary, then the messages the summary does not cover. */
export function contextOf(
  context: Context,
  run: ContextRun & { readonly system_prompt: string },
): ModelMessage[] {
  const out: ModelMessage[] = [];
  if (run.system_prompt !== "") out.push({ role: "system", content: run.system_prompt });
  if (context.summary !== null) {
    out.push({ role: "user", content: RECALL }, { role: "assistant", content: context.summary.content });
  }
  return [...out, ...saidSince(context, run)];
}

/**
 * The messages the summary does not cover. One that waited behind other runs stands where its own run answered it,
 * messages of runs that still wait are left out, and the run's own message comes last.
 */
export function saidSince(context: Context, run: ContextRun): ModelMessage[] {
  const out: ModelMessage[] = [];
  const asked: EventMessage[] = [];
  const own: EventMessage[] = [];
  for (const message of uncovered(context)) {
    if (message.role === "user" && message.run_id !== undefined) {
      if (message.run_id === run.run_id) own.push(message);
      else if (!run.waiting.has(message.run_id)) asked.push(message);
      continue;
    }
    // An answer: the question it answers stands before it, with those whose runs ended without one.
    const at = message.run_id === undefined ? -1 : asked.findIndex((each) => each.run_id === message.run_id);
    for (const each of asked.splice(0, at + 1)) add(out, each);
    if (message.run_id === undefined) for (const each of asked.splice(0)) add(out, each);
    add(out, message);
  }
  for (const each of [...asked, ...own]) add(out, each);
  return out;
}

function uncovered({ summary, history }: Context): EventMessage[] {
  const through = history.findIndex(({ message_id }) => message_id === summary?.covers.through);
  const except = new Set(summary?.covers.except);
  return history.filter(
    (message, at) => !isSummary(message) && (at > through || except.has(message.message_id)),
  );
}

/** Whether a model wrote it as a summary: one that was broken off counts for nothing, one that is whole stands first. */
function isSummary({ role, model }: EventMessage): boolean {
  return role === "system" && model !== undefined;
}

function add(out: ModelMessage[], message: EventMessage): void {
  if (message.role === "tool" || message.content === "") return;
  out.push({ role: message.role, content: message.content });
}
