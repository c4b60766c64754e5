import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";

/** A model server that means harm with the tools it asks for. */

let model: ModelServer;
let arena: Arena;
beforeAll(async () => {
  model = await startModelServer();
  arena = await openArena({
    config: {
      limits: ANY_RATE,
      tools: { builtin: ["time"], policy: { "*": "allow" } },
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url(), total_timeout_ms: 20_000, max_retries: 0 } },
      },
    },
  });
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
  model.stop();
});

let sessions = 0;
/** Asks the model; how the run ended. */
async function ask() {
  const session_id = `c${++sessions}`;
  const { run_id } = await arena.call("chat.send", { session_id, message: "go" });
  return { run: await arena.call("run.wait", { run_id, timeout_ms: 30_000 }) };
}

describe("calls of tools", () => {
  const delta = (...tool_calls: readonly object[]): string =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls } }] })}\n\n`;
  const endless: [string, string][] = [
    ["arguments", delta({ index: 0, id: "a", function: { name: "time", arguments: "x".repeat(4_096) } })],
    [
      "objects",
      delta({ index: 0, id: "a", function: { name: "time", arguments: { a: ["x".repeat(4_096)] } } }),
    ],
    ["calls", delta({ id: "a", function: { name: "time", arguments: "{}" } })],
  ];

  test("without end end the run, and none of them is made", () =>
    arena.beside(async () => {
      for (const [what, chunk] of endless) {
        model.reply().pour(chunk);
        const { run } = await ask();
        expect([what, run.status, run.error?.code]).toEqual([what, "failed", "TOO_LARGE"]);
        const { messages } = await arena.call("chat.history", { session_id: `c${sessions}` });
        expect(messages.filter(({ role }: { role: string }) => role === "tool")).toEqual([]);
        await model.waitForIdle();
      }
    }));

  test("two with one id are two, each with its result; names and arguments of any kind are answered", () =>
    arena.beside(async () => {
      const call = (name: string, args: unknown) => ({ id: "same", function: { name, arguments: args } });
      model
        .reply()
        .delta({
          tool_calls: [
            { index: 0, ...call("time", "{}") },
            { index: 1, ...call("time", "{}") },
          ],
        })
        .delta({
          tool_calls: [
            { index: 2, ...call("__proto__", "{}") },
            { index: 3, ...call("n".repeat(9_000), "{}") },
          ],
        })
        .delta({ tool_calls: [{ index: 4, ...call("time", '{"__proto__":{"a":1}}') }] })
        .delta({ tool_calls: [{ index: 5, ...call("time", `${"[".repeat(50_000)}`) }] })
        .delta({ tool_calls: [{ index: 6, ...call("time\r\nforged", '{"a":"\\u0000"}') }] })
        .finish("tool_calls");
      model.reply().text("done");
      const { run } = await ask();
      expect([run.status, run.error]).toEqual(["completed", undefined]);
      const { messages } = await arena.call("chat.history", { session_id: `c${sessions}` });
      const asked = messages.find(({ role }: { role: string }) => role === "assistant");
      const ids = asked.parts.map(({ tool_call_id }: { tool_call_id: string }) => tool_call_id);
      expect(new Set(ids).size).toBe(7);
      const results = messages.filter(({ role }: { role: string }) => role === "tool");
      expect(
        results.map(({ parts }: { parts: { tool_call_id: string }[] }) => parts[0]?.tool_call_id),
      ).toEqual(ids);
      const told = model.requests.at(-1)?.body.messages;
      const outward = told.find(({ role }: { role: string }) => role === "assistant").tool_calls;
      expect(new Set(outward.map(({ id }: { id: string }) => id)).size).toBe(7);
      for (const { function: said } of outward) {
        expect(said.name).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
        expect(() => JSON.parse(said.arguments)).not.toThrow();
      }
    }));
});
