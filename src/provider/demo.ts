import type { Clock, ModelEvent, ModelMessage, ModelRequest, Provider, ToolCall } from "../core/ports.ts";
import { linesOf, SUMMARY_PROMPT } from "../core/summary.ts";
import { wellFormed } from "../core/text.ts";
import { TITLE_PROMPT } from "../core/title.ts";
import { GatewayError } from "../protocol/errors.ts";
import { callsAsked, resultsIn } from "./demo-calls.ts";
import { withoutImages } from "./images.ts";
import { pause } from "./pause.ts";

const MODEL = "demo";
/** How long an ordinary answer takes. */
const ANSWER_MS = 1_500;
const WORD_MS = 50;
const SLOW_MS = 300;
const LONG_MS = 5;
const MAX_LONG = 10_000;
const QUOTE_CHARS = 400;
const TOOLS_NAMED = 5;
const SUMMARY_LINES = 20;
const LINE_CHARS = 100;
const SUMMARY_CHARS = 2_000;
const TITLE_WORDS = 8;

interface Plan {
  /** One delta each. */
  readonly pieces: readonly string[];
  readonly every_ms: number;
  readonly fails: boolean;
  readonly calls?: readonly ToolCall[];
}

/**
 * A model that is always there: offline, free, the same every time. It quotes what it was told and says how to
 * configure a real one. In a message, `/long N` makes it count to N, `/slow` take its time, `/fail` break off.
 */
export function createDemoProvider({ clock }: { readonly clock: Clock }): Provider {
  async function* stream(
    request: ModelRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<ModelEvent> {
    const { pieces, every_ms, fails, calls = [] } = planOf(request);
    for (const text of pieces) {
      await pause(clock, every_ms, signal);
      if (signal.aborted) break;
      yield { type: "text", text };
    }
    if (signal.aborted) {
      yield { type: "aborted" };
      return;
    }
    if (!fails) for (const call of calls) yield { type: "tool_call", call };
    yield {
      type: "usage",
      usage: { input_tokens: wordsOf(request.messages), output_tokens: pieces.length },
    };
    if (fails) {
      const error = new GatewayError("UPSTREAM_ERROR", "the demo model failed, as /fail asked it to", {
        details: { provider: MODEL },
      });
      yield { type: "error", error };
      return;
    }
    yield { type: "done", finish_reason: calls.length > 0 ? "tool_calls" : "stop" };
  }

  return {
    name: MODEL,
    state: () => ({ name: MODEL, ready: true }),
    models: () => [MODEL],
    stream,
  };
}

function planOf(request: ModelRequest): Plan {
  const asked = lastOf(request.messages);
  const told = request.messages[0]?.content;
  if (told === SUMMARY_PROMPT) return planForSummary(asked);
  return told === TITLE_PROMPT ? planForTitle(asked) : planFor(asked, request);
}

/** The first words of what was said first. */
function planForTitle(conversation: string): Plan {
  const [first] = linesOf(conversation);
  const words = first?.content.trim().split(/\s+/).slice(0, TITLE_WORDS).join(" ") ?? "";
  return spoken(clip(words, LINE_CHARS));
}

/** What was said, in a line each: the newest of it, and what an earlier summary says. */
function planForSummary(conversation: string): Plan {
  const lines = linesOf(conversation);
  const told = lines.filter(({ role }) => role !== "summary");
  const earlier = lines.find(({ role }) => role === "summary")?.content;
  const text = [
    ...(earlier === undefined ? [] : [clip(earlier, SUMMARY_CHARS)]),
    `${told.length} messages, as the demo model sums them up:`,
    ...told
      .slice(-SUMMARY_LINES)
      .map(({ role, content }) => `- ${role}: ${clip(content.replaceAll(/\s+/g, " ").trim(), LINE_CHARS)}`),
  ].join("\n");
  const pieces = text.match(/\s*\S+/g) ?? [];
  return { pieces, every_ms: Math.round(ANSWER_MS / pieces.length), fails: false };
}

function clip(text: string, chars: number): string {
  return text.length <= chars ? text : `${wellFormed(text.slice(0, chars))}…`;
}

function planFor(message: string, request: ModelRequest): Plan {
  const results = resultsIn(request);
  // What it was asked to do it did the turn before.
  if (results.length > 0) return spoken([...results.map(quoted), answerTo(message, request)].join("\n\n"));
  const slow = has(message, "slow");
  const fails = has(message, "fail");
  const long = /(?:^|\s)\/long\s+(\d{1,9})(?!\S)/.exec(message)?.[1];
  const { calls, unknown } = callsAsked(message, request);
  const missing = unknown.map((name) => `There is no tool ${clip(name, LINE_CHARS)} here.\n\n`).join("");
  const said =
    calls.length > 0
      ? `I call ${calls.map(({ name }) => name).join(", ")} and tell you the answer.`
      : missing + answerTo(message, request);
  const plan = spoken(said);
  const all = long === undefined ? plan.pieces : count(Math.min(Number(long), MAX_LONG));
  const pieces = fails ? all.slice(0, Math.ceil(all.length / 3)) : all;
  const every_ms = long === undefined ? plan.every_ms : LONG_MS;
  return { pieces, every_ms: slow ? SLOW_MS : every_ms, fails, calls };
}

/** Word by word, over a moment; fewer words take less of it. */
function spoken(text: string): Plan {
  const pieces = text.match(/\s*\S+/g) ?? [];
  return { pieces, every_ms: Math.min(WORD_MS, Math.round(ANSWER_MS / pieces.length)), fails: false };
}

function quoted({ name, content }: { readonly name: string; readonly content: string }): string {
  return `${name} answered: “${clip(content.trim(), QUOTE_CHARS)}”`;
}

function has(message: string, command: string): boolean {
  return message.split(/\s+/).includes(`/${command}`);
}

function count(upto: number): string[] {
  return Array.from({ length: upto }, (_, index) => (index === 0 ? "1" : ` ${index + 1}`));
}

function answerTo(message: string, { tools = [] }: ModelRequest): string {
  const named = tools.slice(0, TOOLS_NAMED).map(({ name }) => `/${name}`);
  const callable =
    named.length > 0
      ? `, or have me call a tool: ${named.join(", ")}`
      : '. With builtin = ["time"] in the section [tools] I call a tool at /time';
  return [
    `You said: “${clip(message.trim(), QUOTE_CHARS)}”`,
    "",
    "I am the demo model inside agentbus. I need no network and no key, cost nothing and know nothing, but everything " +
      "around me is real: this answer is streamed word by word, can be stopped, and is there again after a reconnect.",
    "",
    "For a real model set OPENAI_API_KEY, or add a [llm.providers.openai] section to agentbus.toml; `agentbus init` does it.",
    "",
    `Until then try /long 200, /slow or /fail${callable}.`,
  ].join("\n");
}

function lastOf(messages: readonly ModelMessage[]): string {
  const last = messages.findLast((message) => message.role === "user");
  return last === undefined ? "" : withoutImages(last, "the demo model");
}

function wordsOf(messages: readonly ModelMessage[]): number {
  return messages.reduce((sum, { content }) => sum + (content.match(/\S+/g)?.length ?? 0), 0);
}
