import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { ModelEvent, Provider } from "../../src/core/ports.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { createLogbook } from "../support/logbook.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, requestOf } from "./provider.conformance.ts";
import { boundsOf, busy, by, fails, routerOf, scripted, text } from "./provider.scripted.ts";
import { done, instantClock, openAiOptions } from "./provider.support.ts";

describe("retries", () => {
  test("an error that may pass is met with another call, each said aloud", async () => {
    const waits: number[] = [];
    const provider = scripted("a", [], [busy], [fails("timed out", { retryable: true })], [text("hi"), done]);
    const events = await collect(routerOf([provider], { clock: instantClock(waits) }), requestOf("m", "hi"));
    expect(events).toEqual([
      { type: "retrying", attempt: 1, reason: "busy" },
      { type: "retrying", attempt: 2, reason: "timed out" },
      by("a/m"),
      text("hi"),
      done,
    ]);
    expect(waits).toEqual([250, 500]);
  });

  test("the wait doubles up to a bound and is spread over all of it", async () => {
    const waits: number[] = [];
    const provider = scripted("a", [], [busy]);
    const options = { clock: instantClock(waits), max_retries: 7 };
    await collect(routerOf([provider], { ...options, random: () => 0.999_999 }), requestOf("m", "hi"));
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    waits.length = 0;
    await collect(routerOf([provider], { ...options, random: () => 0 }), requestOf("m", "hi"));
    expect(waits).toEqual([0, 0, 0, 0, 0, 0, 0]);
  });

  test("what the upstream asks to wait is waited, up to a bound", async () => {
    const waits: number[] = [];
    const after = (retry_after_ms: number) => fails("later", { retryable: true, retry_after_ms });
    const provider = scripted("a", [], [after(3_000)], [after(3_600_000)], [after(1)], [text("hi"), done]);
    await collect(routerOf([provider], { clock: instantClock(waits), max_retries: 3 }), requestOf("m", "hi"));
    expect(waits).toEqual([3_000, 30_000, 1_000]);
  });

  test("end with the last error when none helped", async () => {
    const provider = scripted("a", [], [busy], [busy], [fails("still busy", { retryable: true })]);
    const events = await collect(routerOf([provider]), requestOf("m", "hi"));
    expect(events.map((event) => event.type)).toEqual(["retrying", "retrying", "error"]);
    expect(errorOf(events).message).toBe("still busy");
    expect(provider.asked).toHaveLength(3);
  });

  test.each([
    ["an error that will not pass", [fails("no")], ["error"]],
    ["an abort", [{ type: "aborted" } as const], ["aborted"]],
  ])("%s is final", async (_, answer, types) => {
    const provider = scripted("a", [], answer);
    const events = await collect(routerOf([provider], { fallback: [] }), requestOf("m", "hi"));
    expect(events.map((event) => event.type)).toEqual(types as ModelEvent["type"][]);
    expect(provider.asked).toHaveLength(1);
  });

  test("are counted by provider where the configuration does", async () => {
    const a = scripted("a", [], [busy]);
    const b = scripted("b", [], [busy]);
    const router = routerOf([a, b], {
      bounds: (name) => boundsOf({ max_retries: name === "a" ? 1 : 0 }),
    });
    await collect(router, requestOf("a/m", "hi"));
    await collect(router, requestOf("b/m", "hi"));
    expect([a.asked.length, b.asked.length]).toEqual([2, 1]);
  });

  test("do not come for a call that was aborted, whatever the provider makes of it", async () => {
    const abort = new AbortController();
    const provider: Provider = {
      ...scripted("a", []),
      async *stream() {
        abort.abort();
        yield busy;
      },
    };
    expect(await collect(routerOf([provider]), requestOf("m", "hi"), abort.signal)).toEqual([
      { type: "aborted" },
    ]);
  });

  test("an abort ends the wait at once", async () => {
    const abort = new AbortController();
    const provider = scripted("a", [], [fails("later", { retryable: true, retry_after_ms: 20_000 })]);
    const router = routerOf([provider], { clock: systemClock });
    const events: ModelEvent[] = [];
    for await (const event of router.stream(requestOf("m", "hi"), { signal: abort.signal })) {
      events.push(event);
      if (event.type === "retrying") setImmediate(() => abort.abort());
    }
    expect(events.map((event) => event.type)).toEqual(["retrying", "aborted"]);
    expect(provider.asked).toHaveLength(1);
  });
});

describe("the fallback", () => {
  test("is tried in order, after the retries, whatever the error", async () => {
    const a = scripted("a", [], [busy]);
    const b = scripted("b", [], [fails("no such model")]);
    const c = scripted("c", [], [text("hi"), done]);
    const router = routerOf([a, b, c], { fallback: ["b/two", "c/three"], max_retries: 1 });
    const events = await collect(router, requestOf("a/one", "hi"));
    expect(events).toEqual([
      { type: "retrying", attempt: 1, reason: "busy" },
      { type: "retrying", attempt: 2, reason: "busy; trying b/two" },
      { type: "retrying", attempt: 3, reason: "no such model; trying c/three" },
      by("c/three"),
      text("hi"),
      done,
    ]);
    expect([a, b, c].map((provider) => provider.asked.map(({ model }) => model))).toEqual([
      ["one", "one"],
      ["two"],
      ["three"],
    ]);
  });

  test.each([
    ["takes longer than it may", new GatewayError("TIMEOUT", "slow", { retryable: true })],
    [
      "asks for more patience than a retry has",
      new GatewayError("UPSTREAM_ERROR", "limited", { retryable: true, retry_after_ms: 20_000 }),
    ],
  ])("comes at once where a model %s; without one it is asked again", async (_, error) => {
    const waits: number[] = [];
    const clock = instantClock(waits);
    const a = scripted("a", [], [{ type: "error", error }], [{ type: "error", error }], [text("hi"), done]);
    const b = scripted("b", [], [text("hi"), done]);
    await collect(routerOf([a, b], { fallback: ["b/two"], clock }), requestOf("a/one", "hi"));
    expect([a.asked.length, b.asked.length, waits]).toEqual([1, 1, []]);
    const events = await collect(routerOf([a], { clock }), requestOf("a/one", "hi"));
    expect([a.asked.length, waits.length, events.at(-1)]).toEqual([3, 1, done]);
  });

  test("is not the model that failed already, and the error is that of the model asked for", async () => {
    const a = scripted("a", [], [fails("wrong key", { details: { provider: "a" } })]);
    const b = scripted("b", [], [busy]);
    const router = routerOf([a, b], { fallback: ["a/one", "b/two"], max_retries: 0 });
    const error = errorOf(await collect(router, requestOf("one", "hi")));
    expect(error.toBody()).toEqual({
      code: "UPSTREAM_ERROR",
      status: 5002,
      message: "wrong key; b/two: busy",
      details: { provider: "a" },
      retryable: false,
    });
    expect(a.asked).toHaveLength(1);
  });

  test("helps where a provider has no key", async () => {
    const keyless = createOpenAiProvider(
      openAiOptions("https://api.openai.com/v1", { name: "openai", api_keys: [] }),
    );
    const b = scripted("b", [], [text("hi"), done]);
    const events = await collect(routerOf([keyless, b], { fallback: ["b/two"] }), requestOf("gpt-x", "hi"));
    expect(events[0]).toEqual({
      type: "retrying",
      attempt: 1,
      reason: "no API key: set OPENAI_API_KEY or llm.providers.openai.api_key; trying b/two",
    });
    expect(events.at(-1)).toEqual(done);
  });
});

describe("a provider that breaks its contract", () => {
  const throwing = (before: ModelEvent[]): Provider => ({
    ...scripted("a", []),
    async *stream() {
      yield* before;
      throw new Error("a bug with details");
    },
  });

  test.each([
    ["throws before anything", throwing([]), ["error"]],
    ["throws after text", throwing([text("x")]), ["model", "text", "error"]],
    ["ends without an end", scripted("a", [], [text("x")]), ["model", "text", "error"]],
  ])("and %s still has one end, which tells nothing", async (_, provider, types) => {
    const log = createLogbook();
    const events = await collect(routerOf([provider], { log }), requestOf("m", "hi"));
    expect(events.map((event) => event.type)).toEqual(types as ModelEvent["type"][]);
    expect(errorOf(events)).toMatchObject({
      reason: "INTERNAL_ERROR",
      message: "provider a failed unexpectedly; the log says how",
    });
    expect(log.lines.map(({ level }) => level)).toEqual(["error", "debug", "warn"]);
  });
});

describe("over HTTP", () => {
  test("a server that limits requests is asked again when it said", async () => {
    await using model = await startModelServer();
    model.reply().status(429, { retryAfter: 7 });
    model.reply().reset();
    model.reply().text("hi");
    const waits: number[] = [];
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    const router = routerOf([provider], { clock: instantClock(waits), random: () => 0 });
    const events = await collect(router, requestOf("m", "hi"));
    expect(events).toEqual([
      { type: "retrying", attempt: 1, reason: "test is limiting requests (429): answered 429" },
      { type: "retrying", attempt: 2, reason: "test broke the connection off" },
      by("test/m"),
      text("hi"),
      done,
    ]);
    expect(waits).toEqual([7_000, 0]);
    expect(model.asked).toBe(3);
  });
});
