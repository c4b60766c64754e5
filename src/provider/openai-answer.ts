import type { ModelEvent } from "../core/ports.ts";
import { createWellFormed, lengthUtf8 } from "../core/text.ts";
import type { Usage } from "../protocol/entities.ts";
import { GatewayError } from "../protocol/errors.ts";
import { createCalls } from "./openai-calls.ts";
import type { ToolNames } from "./openai-tools.ts";

/** What the upstream said was wrong, inside a chunk or an answer; its shape is anybody's guess. */
export class UpstreamReport extends Error {
  readonly report: unknown;
  constructor(report: unknown) {
    super("the upstream reported an error");
    this.report = report;
  }
}

/** Reads Chat Completions chunks as they come from servers that follow the format more or less. */
export interface Answer {
  /** The events of one chunk, or of a whole answer. @throws UpstreamReport, SyntaxError, GatewayError TOO_LARGE. */
  take(chunk: unknown): ModelEvent[];
  /** What was held back, the calls and the usage, once the answer is over. */
  rest(): ModelEvent[];
  /** The last finish reason; null until there is one. */
  readonly finish_reason: string | null;
  /** How much was said so far, in calls too: it grows as long as the model says something. */
  readonly bytes: number;
}

type Fields = Readonly<Record<string, unknown>>;

export function createAnswer(max_message_bytes: number, names: ToolNames): Answer {
  const calls = createCalls();
  const doors = { text: createWellFormed(), reasoning: createWellFormed() };
  let finish_reason: string | null = null;
  let usage: Usage | null = null;
  let bytes = 0;

  function say(type: "text" | "reasoning", text: string): ModelEvent[] {
    if (text === "") return [];
    weigh(text);
    return [{ type, text }];
  }

  function weigh(text: string): void {
    bytes += lengthUtf8(text);
    if (bytes > max_message_bytes) {
      throw new GatewayError("TOO_LARGE", `the model's answer is longer than ${max_message_bytes} bytes`, {
        details: { kind: "message" },
        limit: { what: "assistant_bytes", limit: max_message_bytes },
      });
    }
  }

  return {
    take(chunk) {
      if (!isFields(chunk)) throw new SyntaxError("a chunk is not a JSON object");
      if (chunk["error"] !== undefined && chunk["error"] !== null) throw new UpstreamReport(chunk["error"]);
      usage = readUsage(chunk["usage"]) ?? usage;
      const choice = Array.isArray(chunk["choices"]) ? chunk["choices"][0] : undefined;
      if (!isFields(choice)) return [];
      usage = readUsage(choice["usage"]) ?? usage;
      // Some servers send a finish reason with every chunk: the last one counts, and text after one is still text.
      if (typeof choice["finish_reason"] === "string") finish_reason = choice["finish_reason"];
      const said = isFields(choice["delta"]) ? choice["delta"] : choice["message"];
      if (!isFields(said)) return [];
      // A whole message needs no reason to have ended.
      if (said === choice["message"]) finish_reason ??= "stop";
      weigh(calls.take(said["tool_calls"]));
      return [
        ...say(
          "reasoning",
          doors.reasoning.push(textOf(said["reasoning_content"]) || textOf(said["reasoning"])),
        ),
        ...say("text", doors.text.push(textOf(said["content"]) + textOf(said["refusal"]))),
      ];
    },
    rest: () => [
      ...say("reasoning", doors.reasoning.end()),
      ...say("text", doors.text.end()),
      ...calls.all().map((call): ModelEvent => {
        return { type: "tool_call", call: { ...call, name: names.inward(call.name) } };
      }),
      ...(usage === null ? [] : [{ type: "usage", usage } as const]),
    ],
    get finish_reason() {
      return finish_reason;
    },
    get bytes() {
      return bytes;
    },
  };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Content is a string, or a list of parts of which those of type text are shown. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part: unknown) => (isFields(part) && typeof part["text"] === "string" ? part["text"] : ""))
    .join("");
}

function readUsage(value: unknown): Usage | null {
  if (!isFields(value)) return null;
  const input_tokens = count(value["prompt_tokens"]);
  const output_tokens = count(value["completion_tokens"]);
  if (input_tokens === null && output_tokens === null) return null;
  const cached_tokens = detail(value["prompt_tokens_details"], "cached_tokens");
  const reasoning_tokens = detail(value["completion_tokens_details"], "reasoning_tokens");
  return {
    input_tokens: input_tokens ?? 0,
    output_tokens: output_tokens ?? 0,
    ...(cached_tokens !== null && { cached_tokens }),
    ...(reasoning_tokens !== null && { reasoning_tokens }),
  };
}

function detail(details: unknown, name: string): number | null {
  return isFields(details) ? count(details[name]) : null;
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
