import type { ChatCompletionMessageParam, ChatCompletionTool } from "openai/resources/chat/completions";
import { userParam, withoutImages } from "./images.ts";
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

/** What every server takes: Mistral's want nine letters and digits, and no other. */
const STRICT_ID = /^[A-Za-z0-9]{9}$/;
const STRICT_MODEL = /(?:mistral|mixtral|ministral|magistral|codestral|devstral|pixtral)/i;
const ID_CHARS = 9;
const BASE = 36;

/** An id for a call that the upstream gave none. */
export function newToolCallId(): string {
  const bits = crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
  return shortId(bits);
}

/** The id as a model's server takes it: what another one made may be refused. */
function outwardId(id: string, model: string): string {
  return !STRICT_MODEL.test(model) || STRICT_ID.test(id) ? id : shortId(Bun.hash.wyhash(id));
}

function shortId(bits: bigint): string {
  return (bits % BigInt(BASE) ** BigInt(ID_CHARS)).toString(BASE).padStart(ID_CHARS, "0");
}

export function toTool({ name, description, parameters }: ToolSpec, names: ToolNames): ChatCompletionTool {
  return {
    type: "function",
    function: { name: names.outward(name), description, parameters: { ...parameters } },
  };
}

/** A message as the API of `model` takes it. */
export function toParam(
  message: ModelMessage,
  names: ToolNames,
  { model, images }: { readonly model: string; readonly images: boolean },
): ChatCompletionMessageParam {
  const { role, content } = message;
  if (role === "user") return images ? userParam(message) : { role, content: withoutImages(message, model) };
  if (role === "tool") return { role, tool_call_id: outwardId(message.tool_call_id, model), content };
  if (role !== "assistant" || message.tool_calls === undefined) return { role, content };
  return {
    role,
    content: content === "" ? null : content,
    tool_calls: message.tool_calls.map((call) => toCall(call, names, model)),
  };
}

function toCall({ tool_call_id, name, arguments: args, extra }: ToolCall, names: ToolNames, model: string) {
  return {
    ...(extra !== undefined && { extra_content: JSON.parse(extra) as unknown }),
    id: outwardId(tool_call_id, model),
    type: "function" as const,
    // What the model once wrote and is no JSON object makes some servers refuse the whole conversation.
    function: { name: names.outward(name), arguments: isObject(args) ? args : "{}" },
  };
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    // The tool was not called with it either, and the model was told so.
    return false;
  }
}
