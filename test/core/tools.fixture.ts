import { afterEach } from "bun:test";
import type { ModelMessage, ModelRequest, Tool, ToolCall } from "../../src/core/ports.ts";
import type { FakeConnection, Script, TestEngine, TestEngineOptions } from "../support/engine.ts";
import { startEngine } from "../support/engine.ts";

const scenes: TestEngine[] = [];
/** Call it once in a file that starts engines. */
export function closesEngines(): void {
  afterEach(async () => {
    for (const scene of scenes.splice(0)) await scene.close();
  });
}
export async function start(options: TestEngineOptions): Promise<TestEngine> {
  const scene = await startEngine(options);
  scenes.push(scene);
  return scene;
}

export function call(name: string, args: unknown, id = name): ToolCall {
  return { tool_call_id: id, name, arguments: JSON.stringify(args) };
}

/** Answers turn by turn: calls, or a text that ends the run. Keeps what it was asked with. */
export function model(...turns: (readonly ToolCall[] | string)[]): { script: Script; asked: ModelRequest[] } {
  const asked: ModelRequest[] = [];
  const script: Script = async function* (request) {
    const turn = turns[asked.length] ?? "done";
    asked.push(request);
    if (typeof turn === "string") yield { type: "text", text: turn };
    else for (const each of turn) yield { type: "tool_call", call: each };
    yield { type: "usage", usage: { input_tokens: 10, output_tokens: 1 } };
    yield { type: "done", finish_reason: typeof turn === "string" ? "stop" : "tool_calls" };
  };
  return { script, asked };
}

const SCHEMA = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
/** Answers `name:n`, after as many turns of the event loop. */
export function tool(name: string, run?: Tool["run"]): Tool {
  const answer: Tool["run"] = async ({ n }) => {
    for (let i = 0; i < Number(n); i++) await new Promise((resolve) => setImmediate(resolve));
    return `${name}:${String(n)}`;
  };
  return { name, description: `does ${name}`, parameters: SCHEMA, source: "builtin", run: run ?? answer };
}
/** Answers when it is told to; its signal is kept. */
export function held(name: string) {
  const signals: AbortSignal[] = [];
  const gate = Promise.withResolvers<string>();
  return {
    signals,
    gate,
    tool: tool(name, (_args, { signal }) => {
      signals.push(signal);
      return gate.promise;
    }),
  };
}

export async function say(owner: FakeConnection, message = "go", more: Record<string, unknown> = {}) {
  return owner.request<{ run_id: string }>("chat.send", { session_id: "s", message, ...more });
}
export const ended = (owner: FakeConnection) => () =>
  owner.events().some(({ event }) => /^run\.(completed|failed|aborted|interrupted)$/.test(event));
export const kinds = (owner: FakeConnection): string[] => owner.events().map(({ event }) => event);
export const results = (owner: FakeConnection) =>
  owner.events().flatMap(({ event, payload }) => (event === "tool.result" ? [payload] : []));
export const shape = (messages: readonly ModelMessage[]): unknown[] =>
  messages.map((each) =>
    each.role === "tool"
      ? [each.tool_call_id, each.content]
      : each.role === "assistant"
        ? [each.role, each.content, each.tool_calls?.map(({ name }) => name) ?? []]
        : [each.role, each.content],
  );
