import { describe, expect, test } from "bun:test";
import type { ModelEvent } from "../../src/core/ports.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { createLogbook } from "../support/logbook.ts";
import type { Script } from "../support/model-script.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, requestOf, textOf } from "./provider.conformance.ts";
import { busy, by, fails, routerOf, scripted, text } from "./provider.scripted.ts";
import { done, instantClock, openAiOptions } from "./provider.support.ts";

const HI = [text("hi"), done];

/** What counts of a stream: what comes after the last time a model was asked again. */
function standing(events: readonly ModelEvent[]): readonly ModelEvent[] {
  return events.slice(events.findLastIndex(({ type }) => type === "retrying") + 1);
}

describe("an answer that breaks off", () => {
  test("is asked for again, said between the two, and the second is whole", async () => {
    const a = scripted("a", [], [text("half"), busy], HI);
    const events = await collect(routerOf([a]), requestOf("m", "hi"));
    expect(events).toEqual([
      by("a/m"),
      text("half"),
      { type: "retrying", attempt: 1, reason: "busy" },
      by("a/m"),
      text("hi"),
      done,
    ]);
  });

  test("comes from the next model once its own has failed as often as it may", async () => {
    const a = scripted("a", [], [{ type: "reasoning", text: "hm" }, busy], [text("half"), busy]);
    const b = scripted("b", [], HI);
    const router = routerOf([a, b], { fallback: ["b/two"], max_retries: 1 });
    const events = await collect(router, requestOf("a/one", "hi"));
    expect(events.map((event) => (event.type === "model" ? event.model : event.type))).toEqual([
      "a/one",
      "reasoning",
      "retrying",
      "a/one",
      "text",
      "retrying",
      "b/two",
      "text",
      "done",
    ]);
    expect([a.asked.length, textOf(standing(events))]).toEqual([2, "hi"]);
  });

  test("for a reason that will not pass is not asked for again, but from another model", async () => {
    const a = scripted("a", [], [text("half"), fails("nonsense")]);
    const b = scripted("b", [], HI);
    const fell = await collect(routerOf([a, b], { fallback: ["b/two"] }), requestOf("a/one", "hi"));
    expect([textOf(standing(fell)), a.asked.length]).toEqual(["hi", 1]);
    const alone = await collect(routerOf([a]), requestOf("a/one", "hi"));
    expect(alone.map(({ type }) => type)).toEqual(["model", "text", "error"]);
  });

  test("because it is too long is final", async () => {
    const error = new GatewayError("TOO_LARGE", "longer than it may be");
    const a = scripted("a", [], [text("half"), { type: "error", error }]);
    const b = scripted("b", [], HI);
    const events = await collect(routerOf([a, b], { fallback: ["b/two"] }), requestOf("a/one", "hi"));
    expect([errorOf(events).reason, b.asked]).toEqual(["TOO_LARGE", []]);
  });

  test("again and again ends, however often it begins", async () => {
    const a = scripted("a", [], [text("half"), busy]);
    const b = scripted("b", [], [text("other half"), busy]);
    const router = routerOf([a, b], { fallback: ["b/two"], max_retries: 2 });
    const events = await collect(router, requestOf("a/one", "hi"));
    expect([a.asked.length, b.asked.length]).toEqual([3, 3]);
    expect(errorOf(events).message).toBe("busy; b/two: busy");
    expect(textOf(standing(events))).toBe("other half");
  });

  test("makes no call of what it had called", async () => {
    const call = { tool_call_id: "c1", name: "pay", arguments: "{}" };
    const a = scripted("a", [], [{ type: "tool_call", call }, busy], [{ type: "tool_call", call }, done]);
    const events = await collect(routerOf([a]), requestOf("m", "hi"));
    expect(standing(events)).toEqual([by("a/m"), { type: "tool_call", call }, done]);
  });
});

describe("over HTTP, whatever breaks in the middle", () => {
  const cases: [string, (reply: Script) => Script][] = [
    ["a clean end without a reason", (reply) => reply.text("half").cut()],
    ["a reset", (reply) => reply.text("half").wait(20).reset()],
    ["a closed socket", (reply) => reply.text("half").wait(20).drop()],
    ["silence", (reply) => reply.text("half").hang()],
    ["an overloaded server", (reply) => reply.text("half").errorInStream({ type: "overloaded_error" })],
    ["the arguments of a call, cut", (reply) => reply.text("half").tool("pay", '{"n":', { chunks: 2 }).cut()],
    [
      "the arguments of a call, before any text",
      (reply) => reply.tool("pay", '{"n":', { chunks: 2 }).reset(),
    ],
  ];
  test.each(cases)("%s: what stands in the end is one whole answer", async (_, breaks) => {
    await using model = await startModelServer();
    breaks(model.reply());
    model.reply().text("all ").tool("pay", { n: 1 }, { id: "c1" });
    const log = createLogbook();
    const provider = createOpenAiProvider(openAiOptions(model.url(), { idle_timeout_ms: 200 }));
    const router = routerOf([provider], { clock: instantClock(), log });
    const tools = [{ name: "pay", description: "", parameters: { type: "object" } }];
    const events = await collect(router, { ...requestOf("m", "hi"), tools });
    expect(standing(events)).toEqual([
      by("test/m"),
      text("all "),
      { type: "tool_call", call: { tool_call_id: "c1", name: "pay", arguments: '{"n":1}' } },
      { type: "done", finish_reason: "tool_calls" },
    ]);
    expect(model.asked).toBe(2);
    // One that helps itself is no news.
    expect(log.lines.map(({ level }) => level)).toEqual(["debug"]);
  });
});

test("a run that fails is one line of the log: model and run are named, and nothing that was said", async () => {
  await using model = await startModelServer();
  model.reply().text("secret answer").errorInStream("broken");
  const log = createLogbook();
  const router = routerOf([createOpenAiProvider(openAiOptions(model.url()))], { log });
  await collect(router, requestOf("test/m", "secret question"));
  expect(log.lines.filter(({ level }) => level !== "debug")).toEqual([
    {
      level: "warn",
      fields: { model: "test/m", run_id: "run_test", code: "UPSTREAM_ERROR", retryable: false },
      message: "test reported an error: broken",
    },
  ]);
  expect(JSON.stringify(log.lines)).not.toContain("secret");
});
