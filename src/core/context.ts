import type { EventMessage } from "../protocol/entities.ts";
import type { Covers } from "./operation.ts";
import type { ModelMessage, ToolCall } from "./ports.ts";
import type { Shown } from "./shown.ts";
import { toldOf } from "./shown.ts";

/** What is known of a session when a run begins. */
export interface Context {
  /** The newest summary, which stands for everything it covers. */
  readonly summary: { readonly content: string; readonly covers: Covers } | null;
  /** Oldest first: the messages the summary does not cover, and maybe others. */
  readonly history: readonly EventMessage[];
  /** What the model is shown of the files of messages; the others are only named. */
  readonly shown?: Shown;
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
 * messages of runs that still wait are left out, and what the run itself was told and said comes last.
 */
export function saidSince(context: Context, run: ContextRun): ModelMessage[] {
  const said: EventMessage[] = [];
  const asked: EventMessage[] = [];
  const own: EventMessage[] = [];
  for (const message of uncovered(context)) {
    const { run_id, role } = message;
    if (run_id !== undefined && run.waiting.has(run_id)) continue;
    if (run_id === run.run_id) own.push(message);
    else if (role === "user" && run_id !== undefined) asked.push(message);
    else if (role === "tool") said.push(message);
    else {
      // An answer: the question it answers stands before it, with those whose runs ended without one.
      const at = run_id === undefined ? -1 : asked.findIndex((each) => each.run_id === run_id);
      said.push(...asked.splice(0, run_id === undefined ? asked.length : at + 1), message);
    }
  }
  return paired([...said, ...asked, ...own], context.shown ?? new Map());
}

/**
 * As a model has to be told it: the results of an assistant's calls stand right behind it, in their order, whatever was
 * said while the tools worked. A result whose call is not there is left out.
 */
function paired(messages: readonly EventMessage[], shown: Shown): ModelMessage[] {
  const results = resultsOf(messages);
  return messages.flatMap((message): ModelMessage[] => {
    const { role, content } = message;
    if (role === "tool") return [];
    if (role === "user") {
      const told = toldOf(message, shown);
      return told.content === "" && told.images === undefined ? [] : [{ role, ...told }];
    }
    const calls = role === "assistant" ? callsOf(message) : [];
    if (content === "" && calls.length === 0) return [];
    if (role !== "assistant" || calls.length === 0) return [{ role, content }];
    const answers = calls.map(({ tool_call_id }): ModelMessage => {
      const said = results.get(callKey(message, tool_call_id))?.shift() ?? "no result is known";
      return { role: "tool", tool_call_id, content: said };
    });
    return [{ role, content, tool_calls: calls }, ...answers];
  });
}

/** By call, in order: a copy of a session has no runs, so that two calls of it may have one name. */
function resultsOf(messages: readonly EventMessage[]): Map<string, string[]> {
  const results = new Map<string, string[]>();
  for (const message of messages) {
    const part = message.role === "tool" ? message.parts?.[0] : undefined;
    if (part?.type !== "tool_result") continue;
    const key = callKey(message, part.tool_call_id);
    results.set(key, [...(results.get(key) ?? []), message.content]);
  }
  return results;
}

function callKey({ run_id = "" }: EventMessage, tool_call_id: string): string {
  return `${run_id}\n${tool_call_id}`;
}

function callsOf({ parts = [] }: EventMessage): ToolCall[] {
  return parts.flatMap((part) => {
    if (part.type !== "tool_call") return [];
    const { type: _, ...call } = part;
    return [call];
  });
}

/** The messages that no summary stands for. */
export function uncovered({ summary, history }: Context): EventMessage[] {
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
