import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";
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

describe("a turn that calls tools", () => {
  test("calls them side by side; the results stand in the order of the calls, and the model is told them", async () => {
    const { script, asked } = model([call("slow", { n: 40 }), call("fast", { n: 1 })], "both done");
    const { connect, store } = await start({ script, tools: [tool("slow"), tool("fast")] });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(ended(owner));
    expect(kinds(owner)).toEqual([
      "message.created",
      "run.queued",
      "run.started",
      "message.started",
      "tool.call",
      "tool.call",
      "message.completed",
      "tool.result",
      "tool.result",
      "message.started",
      "message.delta",
      "message.completed",
      "run.completed",
    ]);
    expect(asked.map(({ tools }) => tools?.map(({ name }) => name))).toEqual([
      ["slow", "fast"],
      ["slow", "fast"],
    ]);
    expect(shape(asked[1]?.messages ?? [])).toEqual([
      ["user", "go"],
      ["assistant", "", ["slow", "fast"]],
      ["slow", "slow:40"],
      ["fast", "fast:1"],
    ]);
    const run = await owner.request("run.get", { run_id });
    expect(run).toMatchObject({ status: "completed", usage: { input_tokens: 20, output_tokens: 2 } });
    const { messages } = await owner.request<{ messages: { role: string; parts?: unknown[] }[] }>(
      "chat.history",
      { session_id: "s" },
    );
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool", "assistant"]);
    expect(messages[2]?.parts).toEqual([{ type: "tool_result", tool_call_id: "slow", ok: true }]);
    // What the events fold to is what the store has.
    const folded = emptyTranscript();
    for (const event of owner.events()) applyEvent(folded, event as FoldEvent);
    expect(folded.messages as unknown[]).toEqual(messages);
    const row = (await store.named("owner", "s")) as { message_count: number };
    expect(row.message_count).toBe(5);
  });

  test("what is no call that can be made is told to the model, and no tool is bothered", async () => {
    const bad = { tool_call_id: "json", name: "count", arguments: '{"n":' };
    const { script, asked } = model(
      [call("none", {}), call("count", { n: "one" }, "misfit"), bad, call("hidden", { n: 1 })],
      "sorry",
    );
    const never = tool("count", async () => {
      throw new Error("called all the same");
    });
    const policy = { "*": "allow", hidden: "deny" };
    const { connect } = await start({ script, tools: [never, tool("hidden")], policy });
    const owner = connect();
    await say(owner);
    await until(ended(owner));
    expect(results(owner).map(({ ok, content }) => [ok, content])).toEqual([
      [false, "there is no tool none"],
      [false, expect.stringContaining("do not fit")],
      [false, expect.stringContaining("no JSON")],
      [false, "hidden is not allowed here"],
    ]);
    expect(asked[0]?.tools?.map(({ name }) => name)).toEqual(["count"]);
  });

  test("arguments that a schema cannot be held against are told to the model as that, and end no run", async () => {
    const deep = `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`;
    const recursive = { type: "object", properties: { a: { $ref: "#" } } };
    const broken = { type: "object", properties: { a: { $ref: "#/nowhere" } } };
    const { script, asked } = model(
      [
        { tool_call_id: "1", name: "tree", arguments: deep },
        { tool_call_id: "2", name: "broken", arguments: '{"a":1}' },
        call("fine", { n: 1 }, "3"),
      ],
      "done",
    );
    const tools = [
      { ...tool("tree"), parameters: recursive },
      { ...tool("broken"), parameters: broken },
      tool("fine"),
    ];
    const { connect } = await start({ script, tools });
    const owner = connect();
    await say(owner);
    await until(() => owner.events().some(({ event }) => event === "run.completed"), "the run completes");
    const told = (asked[1]?.messages ?? []).flatMap((each) => (each.role === "tool" ? [each.content] : []));
    expect(told).toEqual([
      "the arguments of tree cannot be checked: they are too deep, or its schema is none",
      "the arguments of broken cannot be checked: they are too deep, or its schema is none",
      "fine:1",
    ]);
  });

  test("ids that come again get names of their own", async () => {
    const { script } = model(
      [call("a", { n: 1 }, "x")],
      [call("a", { n: 2 }, "x"), call("a", { n: 3 }, "")],
      "ok",
    );
    const { connect } = await start({ script, tools: [tool("a")] });
    const owner = connect();
    await say(owner);
    await until(ended(owner));
    const ids = results(owner).map((each) => each["tool_call_id"]);
    expect(new Set(ids).size).toBe(3);
    expect(results(owner).map((each) => each["content"])).toEqual(["a:1", "a:2", "a:3"]);
  });

  test("a tool that fails, hangs or says too much is told as what it did", async () => {
    const { script } = model(
      [call("fails", { n: 1 }), call("hangs", { n: 1 }), call("talks", { n: 1 })],
      "ok",
    );
    const { connect } = await start({
      script,
      tool_timeout_ms: 50,
      tools: [
        tool("fails", async () => {
          throw new Error("no such file");
        }),
        tool("hangs", () => new Promise(() => undefined)),
        tool("talks", async () => "é".repeat(100_000)),
      ],
    });
    const owner = connect();
    await say(owner);
    await until(ended(owner));
    const [fails, hangs, talks] = results(owner);
    expect(fails).toMatchObject({ ok: false, content: "no such file" });
    expect(hangs).toMatchObject({ ok: false, content: "hangs took longer than 50 ms" });
    expect(talks).toMatchObject({ ok: true, truncated: true });
    expect(Buffer.byteLength(String(talks?.["content"]))).toBe(65_536);
  });
});

describe("an end while tools work", () => {
  test("abort is at once, reaches the tool, and what it would have said is unknown", async () => {
    const one = held("one");
    const { script } = model([call("one", { n: 1 }), call("two", { n: 1 })], "never");
    const { connect } = await start({ script, tools: [one.tool, tool("two")] });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(() => one.signals.length === 1);
    await owner.request("chat.abort", { run_id });
    expect(one.signals[0]?.aborted).toBe(true);
    one.gate.resolve("too late");
    expect(kinds(owner).slice(-4)).toEqual([
      "message.completed",
      "tool.result",
      "tool.result",
      "run.aborted",
    ]);
    expect(results(owner).map(({ tool_call_id, ok, content }) => [tool_call_id, ok, content])).toEqual([
      ["one", false, "unknown outcome"],
      ["two", false, "unknown outcome"],
    ]);
    // The next run is told so, too.
    const again = await say(owner, "and now?");
    await until(() => owner.events().filter(({ event }) => event === "run.completed").length === 1);
    expect(again.run_id).not.toBe(run_id);
  });

  test("a process that dies: the call stands as unknown, the approval as expired, and nothing is called again", async () => {
    const limits = DEFAULT_LIMITS;
    const store = createMemoryStore({ clock: systemClock, limits });
    const one = held("one");
    const { script } = model([call("one", { n: 1 }), call("asks", { n: 1 })], "never");
    const tools = [one.tool, tool("asks")];
    const policy = { "*": "allow", asks: "ask" };
    const first = await startEngine({ store, script, tools, policy });
    const owner = first.connect();
    const { run_id } = await say(owner);
    await until(() => one.signals.length === 1 && kinds(owner).includes("tool.approval_requested"));
    const asked = owner.events().filter(({ event }) => event === "tool.approval_requested");
    const [approval] = asked.map(({ payload }) => payload["approval"] as { approval_id: string });
    // Another process on the same store, as after a kill: the first one is not asked to stop.
    const second = await start({ store, script, tools, policy });
    const after = second.connect();
    expect(await after.request("run.get", { run_id })).toMatchObject({
      status: "interrupted",
      reason: "restart",
    });
    await after.request("session.subscribe", { session_id: "s", after: 0 });
    await until(() => kinds(after).includes("run.interrupted"));
    expect(kinds(after).slice(-5)).toEqual([
      "tool.approval_requested",
      "tool.result",
      "tool.result",
      "tool.approval_resolved",
      "run.interrupted",
    ]);
    expect(results(after).map(({ content }) => content)).toEqual(["unknown outcome", "unknown outcome"]);
    expect(one.signals).toHaveLength(1);
    const answer = { session_id: "s", approval_id: approval?.approval_id, decision: "allow" };
    await expect(after.request("tool.approve", answer)).rejects.toMatchObject({
      reason: "CONFLICT",
      details: { kind: "state", decision: "expired" },
    });
  });
});
