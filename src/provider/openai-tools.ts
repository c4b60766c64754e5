import type { ChatCompletionMessageParam, ChatCompletionTool } from "openai/resources/chat/completions";
import type { ModelMessage, ToolCall, ToolSpec } from "../core/ports.ts";

/** What the format allows of a function's name. */
const NAME_CHARS = 64;

/** Names of tools as the upstream is told them, and back. Nothing is kept: the same tools give the same names. */
export interface ToolNames {
  outward(name: string): string;
  inward(name: string): string;
}

export function toolNames(tools: readonly ToolSpec[]): ToolNames {
  const out = new Map<string, string>();
  const back = new Map<string, string>();
  for (const { name } of tools) {
    const bare = spelled(name);
    let free = bare;
    for (let n = 2; back.has(free); n++) free = `${bare.slice(0, NAME_CHARS - 4)}_${n}`;
    out.set(name, free);
    back.set(free, name);
  }
  // A call of an earlier answer may be of a tool that is not there any more.
  return { outward: (name) => out.get(name) ?? spelled(name), inward: (name) => back.get(name) ?? name };
}

function spelled(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/g, "__").slice(0, NAME_CHARS) || "tool";
}

export function toTool({ name, description, parameters }: ToolSpec, names: ToolNames): ChatCompletionTool {
  return {
    type: "function",
    function: { name: names.outward(name), description, parameters: { ...parameters } },
  };
}

export function toParam(message: ModelMessage, names: ToolNames): ChatCompletionMessageParam {
  const { role, content } = message;
  if (role === "tool") return { role, tool_call_id: message.tool_call_id, content };
  if (role !== "assistant" || message.tool_calls === undefined) return { role, content };
  return {
    role,
    content: content === "" ? null : content,
    tool_calls: message.tool_calls.map((call) => toCall(call, names)),
  };
}

function toCall({ tool_call_id, name, arguments: args }: ToolCall, names: ToolNames) {
  return {
    id: tool_call_id,
    type: "function" as const,
    // What the model once wrote and is no JSON makes some servers refuse the whole conversation.
    function: { name: names.outward(name), arguments: isJson(args) ? args : "{}" },
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // The tool was not called with it either, and the model was told so.
    return false;
  }
}
