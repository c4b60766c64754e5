import { describe, expect, test } from "bun:test";
import type { ModelRequest } from "../../src/core/ports.ts";
import type { Script } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import {
  call,
  closesEngines,
  ended,
  held,
  kinds,
  model,
  results,
  say,
  shape,
  start,
  tool,
} from "./tools.fixture.ts";

closesEngines();

describe("budgets", () => {
  const again = Array.from({ length: 50 }, (_, i) => [call("a", { n: i % 2 }, `c${i}`)]);

  test("calls of the model, calls of tools, tokens: the run fails with what it reached", async () => {
    for (const [budget, what, turns] of [
      [{ max_turns: 3 }, "max_turns", 3],
      [{ max_tool_calls: 4 }, "max_tool_calls", 5],
      [{ max_tokens: 20 }, "max_tokens", 2],
    ] as const) {
      const { script, asked } = model(...again);
      const { connect } = await start({ script, tools: [tool("a")], budget });
      const owner = connect();
      const { run_id } = await say(owner);
      await until(ended(owner));
      expect(await owner.request("run.get", { run_id })).toMatchObject({
        status: "failed",
        error: { code: "CONFLICT", details: { kind: "full", what } },
      });
      expect(asked).toHaveLength(turns);
      const calls = owner.events().filter(({ event }) => event === "tool.call").length;
      expect(results(owner)).toHaveLength(calls);
    }
  });

  test("the same call again and again is not made, and in the end ends the run", async () => {
    let made = 0;
    const counts = tool("a", async () => `${++made}`);
    const { script, asked } = model(...Array.from({ length: 50 }, (_, i) => [call("a", { n: 1 }, `c${i}`)]));
    const { connect } = await start({ script, tools: [counts] });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(ended(owner));
    expect(made).toBe(3);
    expect(results(owner)[3]).toMatchObject({ ok: false, content: expect.stringContaining("3 times") });
    expect(asked.length).toBeLessThan(10);
    expect(await owner.request("run.get", { run_id })).toMatchObject({ status: "failed" });
  });
});

describe("steering", () => {
  test("a message that comes while tools work is shown to the model with their results; its run is the one that runs", async () => {
    const one = held("one");
    const { script, asked } = model([call("one", { n: 1 })], "I see");
    const { connect } = await start({ script, tools: [one.tool] });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(() => one.signals.length === 1);
    const steered = await say(owner, "mind the gap", { on_busy: "steer" });
    expect(steered).toMatchObject({ run_id, status: "steered" });
    one.gate.resolve("found it");
    await until(ended(owner));
    expect(shape(asked[1]?.messages ?? [])).toEqual([
      ["user", "go"],
      ["assistant", "", ["one"]],
      ["one", "found it"],
      ["user", "mind the gap"],
    ]);
    expect(kinds(owner).filter((kind) => kind === "run.completed")).toHaveLength(1);
  });

  test("one that comes while the last words are said gets another turn of the same run, and one after it a run of its own", async () => {
    const gate = Promise.withResolvers<void>();
    const asked: ModelRequest[] = [];
    const script: Script = async function* (request) {
      asked.push(request);
      yield { type: "text", text: `answer ${asked.length}` };
      if (asked.length === 1) await gate.promise;
      yield { type: "done", finish_reason: "stop" };
    };
    const { connect } = await start({ script });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(() => kinds(owner).includes("message.delta"));
    expect(await say(owner, "more", { on_busy: "steer" })).toMatchObject({ run_id, status: "steered" });
    gate.resolve();
    await until(ended(owner));
    expect(shape(asked[1]?.messages ?? [])).toEqual([
      ["user", "go"],
      ["assistant", "answer 1", []],
      ["user", "more"],
    ]);
    expect(await say(owner, "next", { on_busy: "steer" })).toMatchObject({ status: "started" });
    await until(() => kinds(owner).filter((kind) => kind === "run.completed").length === 2);
    expect(asked).toHaveLength(3);
    expect(shape(asked[2]?.messages ?? []).at(-1)).toEqual(["user", "next"]);
  });
});
