import { describe, expect, test } from "bun:test";
import type { ModelEvent, Provider } from "../../src/core/ports.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";
import { collect, errorOf, requestOf, textOf } from "./provider.conformance.ts";
import { busy, fails, routerOf, scripted, text } from "./provider.scripted.ts";
import type { Scripted } from "./provider.scripted.ts";
import { done, instantClock } from "./provider.support.ts";

const HI = [text("hi"), done];

/** A provider "a" whose circuit opens at the third failure in a row, and "b" that answers in its place. */
function scene(...answers: ModelEvent[][]) {
  const clock = manualClock();
  const log = createLogbook();
  const a = scripted("a", [], ...answers);
  const b = scripted("b", [], HI);
  const more = { clock, log, max_retries: 0, circuit_failures: 3, circuit_secs: 30 };
  const router = routerOf([a, b], { ...more, fallback: ["b/two"] });
  const alone = routerOf([a], more);
  const run = (on = router): Promise<ModelEvent[]> => collect(on, requestOf("a/one", "hi"));
  const told = (): [string, string][] =>
    log.lines.flatMap(({ level, message }) => (level === "debug" ? [] : [[level, message]]));
  return { a, b, clock, router, alone, run, told };
}

const asked = ({ a, b }: { a: Scripted; b: Scripted }): number[] => [a.asked.length, b.asked.length];

describe("a provider that fails again and again", () => {
  test("is asked no more, another is at once, and that is one line of the log when it begins and one when it ends", async () => {
    const it = scene([busy], [busy], [busy], HI);
    for (let i = 0; i < 20; i++) expect(textOf(await it.run())).toBe("hi");
    expect(asked(it)).toEqual([3, 20]);
    expect(it.router.states()).toEqual([
      { name: "a", ready: false, reason: "busy; tried again in 30 s" },
      { name: "b", ready: true },
    ]);
    const opened = ["warn", "provider a is failing, others are asked where there are any: busy"];
    expect(it.told()).toEqual([opened] as [string, string][]);

    it.clock.advance(29_999);
    expect((await it.run()).map(({ type }) => type)).toEqual(["model", "text", "done"]);
    expect(asked(it)).toEqual([3, 21]);
    it.clock.advance(1);
    expect(it.router.states()[0]?.reason).toBe("busy; the next call tries it");
    await it.run();
    expect(asked(it)).toEqual([4, 21]);
    expect(it.router.states()[0]).toEqual({ name: "a", ready: true });
    expect(it.told()).toEqual([opened, ["info", "provider a answers again"]] as [string, string][]);
  });

  test("stays out twice as long each time that a call which tries it fails, up to ten times as long", async () => {
    const it = scene([busy]);
    for (let i = 0; i < 3; i++) await it.run();
    for (const secs of [30, 60, 120, 240, 300, 300]) {
      it.clock.advance(secs * 1_000 - 1);
      const before = it.a.asked.length;
      await it.run();
      expect([secs, it.a.asked.length]).toEqual([secs, before]);
      it.clock.advance(1);
      await it.run();
      expect([secs, it.a.asked.length]).toEqual([secs, before + 1]);
    }
    expect(it.told()).toHaveLength(1);
  });

  test("is tried by one call at a time", async () => {
    const it = scene(
      [busy],
      [busy],
      [busy],
      [{ type: "usage", usage: { input_tokens: 1, output_tokens: 0 } }],
    );
    for (let i = 0; i < 3; i++) await it.run();
    it.clock.advance(30_000);
    const stream = it.router.stream(requestOf("a/one", "hi"), { signal: new AbortController().signal });
    const trying = stream[Symbol.asyncIterator]();
    await trying.next();
    await Promise.all([it.run(), it.run()]);
    expect(asked(it)).toEqual([4, 5]);
    // One that leaves before it knows is no answer either way: the next one tries.
    await trying.return?.();
    await it.run();
    expect(it.a.asked).toHaveLength(5);
  });

  test("is asked all the same where no other is left, and what succeeds closes it", async () => {
    const it = scene([busy], [busy], [busy], [busy], HI);
    for (let i = 0; i < 4; i++) expect(errorOf(await it.run(it.alone)).message).toBe("busy");
    expect(it.alone.states()[0]?.ready).toBe(false);
    // The runs that fail are told as long as that is news.
    expect(it.told()).toEqual([
      ["warn", "busy"],
      ["warn", "busy"],
      ["warn", "provider a is failing, others are asked where there are any: busy"],
    ]);
    expect(textOf(await it.run(it.alone))).toBe("hi");
    expect(it.alone.states()[0]?.ready).toBe(true);
  });

  test("and whose stand-in fails too is named in the error", async () => {
    const a = scripted("a", [], [busy]);
    const b = scripted("b", [], [fails("no such model", { details: { status: 404 } })]);
    const router = routerOf([a, b], { fallback: ["b/two"], max_retries: 0, circuit_failures: 1 });
    await collect(router, requestOf("a/one", "hi"));
    const error = errorOf(await collect(router, requestOf("a/one", "hi")));
    expect(error).toMatchObject({
      message: "a is failing, tried again in 30 s: busy; b/two: no such model",
      retryable: true,
    });
    expect(a.asked).toHaveLength(1);
  });

  test("is not asked again by the run that saw it fail for the last time", async () => {
    const waits: number[] = [];
    const a = scripted("a", [], [busy]);
    const b = scripted("b", [], HI);
    const router = routerOf([a, b], {
      fallback: ["b/two"],
      max_retries: 5,
      circuit_failures: 2,
      clock: instantClock(waits),
    });
    await collect(router, requestOf("a/one", "hi"));
    expect([a.asked.length, waits.length]).toEqual([2, 1]);
  });
});

describe("what says nothing of a provider", () => {
  const failure = (status: number): ModelEvent => fails("no", { details: { status } });
  test.each([
    ["a request it refuses", [failure(400)], 0],
    ["a model it does not have", [failure(404)], 0],
    [
      "an answer that is too long",
      [text("x"), { type: "error", error: new GatewayError("TOO_LARGE", "x") } as const],
      0,
    ],
    ["success in between", HI, 0],
    ["a key it refuses", [failure(401)], 1],
    ["too many requests", [failure(429)], 1],
    ["its own failure", [failure(503)], 1],
    ["an answer that breaks off", [text("x"), busy], 1],
    ["a bug in it", [], 1],
  ] as [string, ModelEvent[], number][])("%s", async (_, answer, opens) => {
    const it = scene([busy], [busy], answer, [busy]);
    for (let i = 0; i < 3; i++) await it.run();
    expect(it.router.states()[0]?.ready).toBe(opens === 0);
  });

  test("calls that are given up do not count, nor does success make up for what came after", async () => {
    const it = scene([busy], HI, [busy], [busy]);
    for (let i = 0; i < 4; i++) await it.run();
    expect(it.router.states()[0]?.ready).toBe(true);
    await it.run();
    expect(it.router.states()[0]?.ready).toBe(false);
  });

  test("with circuit_failures = 0 nothing does", async () => {
    const a = scripted("a", [], [busy]);
    const router = routerOf([a], { max_retries: 0, circuit_failures: 0 });
    for (let i = 0; i < 50; i++) await collect(router, requestOf("m", "hi"));
    expect([a.asked.length, router.states()[0]?.ready]).toEqual([50, true]);
  });
});

describe("the deadline of all attempts", () => {
  /** Says nothing until it is aborted. */
  const silent: Provider = {
    ...scripted("a", []),
    async *stream(_request, { signal }) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      yield { type: "aborted" };
    },
  };

  test("ends a call that has not begun to answer, and there is no other after it", async () => {
    const clock = manualClock();
    const b = scripted("b", [], HI);
    const router = routerOf([silent, b], { clock, fallback: ["b/two"], retry_deadline_ms: 20_000 });
    const events = collect(router, requestOf("a/one", "hi"));
    await Promise.resolve();
    clock.advance(20_000);
    expect(errorOf(await events)).toMatchObject({
      reason: "TIMEOUT",
      message: "a did not begin its answer in time: all attempts have 20 s (llm.retry_deadline_secs)",
    });
    expect(b.asked).toEqual([]);
  });

  test("is not for an answer that has begun, and one that breaks off has all of it again", async () => {
    const clock = manualClock();
    let calls = 0;
    const slow: Provider = {
      ...scripted("a", []),
      async *stream() {
        yield text("on and on");
        clock.advance(60_000);
        yield ++calls < 3 ? busy : done;
      },
    };
    const router = routerOf([slow], { clock, retry_deadline_ms: 20_000, random: () => 0 });
    const events = collect(router, requestOf("m", "hi"));
    for (let i = 0; i < 50; i++) {
      await Promise.resolve();
      clock.advance(0);
    }
    expect((await events).at(-1)).toEqual(done);
  });

  test("leaves no time for a wait that is longer: the error is the one there was", async () => {
    const waits: number[] = [];
    const later = fails("later", { retryable: true, retry_after_ms: 25_000 });
    const a = scripted("a", [], [later]);
    const router = routerOf([a], {
      retry_deadline_ms: 20_000,
      clock: { ...instantClock(waits), after: () => () => {} },
    });
    expect(errorOf(await collect(router, requestOf("m", "hi"))).message).toBe("later");
    expect(a.asked).toHaveLength(1);
  });
});
