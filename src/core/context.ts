import type { EventMessage } from "../protocol/entities.ts";
import type { ModelMessage } from "./ports.ts";

/**
 * What the model is asked with: the system prompt, then the history. A message that waited behind other runs stands
 * where its own run answered it, messages of runs that still wait are left out, and the run's own message comes last.
 */
export function contextOf(
  history: readonly EventMessage[],
  run: { readonly run_id: string; readonly waiting: ReadonlySet<string>; readonly system_prompt: string },
): ModelMessage[] {
  const out: ModelMessage[] = [];
  if (run.system_prompt !== "") out.push({ role: "system", content: run.system_prompt });
  const asked: EventMessage[] = [];
  const own: EventMessage[] = [];
  for (const message of history) {
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

function add(out: ModelMessage[], message: EventMessage): void {
  if (message.role === "tool" || message.content === "") return;
  out.push({ role: message.role, content: message.content });
}
