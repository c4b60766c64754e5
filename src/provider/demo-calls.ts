import type { ModelRequest, ToolCall } from "../core/ports.ts";

/** What a message asks the demo model to call. */
export interface Wanted {
  readonly calls: readonly ToolCall[];
  /** Names that were asked for and that no tool has. */
  readonly unknown: readonly string[];
}

const MOST_CALLS = 8;

/** `/tool NAME` with its arguments as JSON or without, and `/NAME` for a tool there is. */
export function callsAsked(message: string, { tools = [], messages }: ModelRequest): Wanted {
  const offered = new Set(tools.map(({ name }) => name));
  const spelled = [...message.matchAll(/(?:^|\s)\/(?:tool\s+)?([^\s/]+)(?:\s+(\{[^\n]*\}))?/g)];
  const calls: ToolCall[] = [];
  const unknown: string[] = [];
  for (const [whole, name = "", args = "{}"] of spelled) {
    if (offered.has(name) && calls.length < MOST_CALLS) {
      // The same for the same conversation, and another for every call in it.
      calls.push({ tool_call_id: `demo_${messages.length}_${calls.length}`, name, arguments: args });
    } else if (/^\s*\/tool\s/.test(whole)) unknown.push(name);
  }
  return { calls, unknown };
}

/** What was answered to the calls the model just made, in their order; none: it is not its turn to say so. */
export function resultsIn({
  messages,
}: ModelRequest): readonly { readonly name: string; readonly content: string }[] {
  const last = messages.findLastIndex(({ role }) => role === "assistant");
  const asked = messages[last];
  if (asked?.role !== "assistant" || messages.at(-1)?.role !== "tool") return [];
  const names = new Map(asked.tool_calls?.map(({ tool_call_id, name }) => [tool_call_id, name]));
  return messages
    .slice(last + 1)
    .flatMap((each) =>
      each.role === "tool" ? [{ name: names.get(each.tool_call_id) ?? "a tool", content: each.content }] : [],
    );
}
