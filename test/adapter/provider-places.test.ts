import { describe, expect, test } from "bun:test";
import type { Provider } from "../../src/core/ports.ts";
import { Places } from "../../src/provider/places.ts";
import { manualClock } from "../support/clock.ts";
import { collect, errorOf, requestOf } from "./provider.conformance.ts";
import { routerOf, scripted, text } from "./provider.scripted.ts";
import { done } from "./provider.support.ts";

const never = new AbortController().signal;

/** A provider whose calls end when the test says so, oldest first. */
function held(name: string) {
  const ends: (() => void)[] = [];
  const asked: string[] = [];
  const provider: Provider = {
    ...scripted(name, []),
    async *stream({ messages }, { signal }) {
      asked.push(messages[0]?.content ?? "");
      yield text("so far");
      await new Promise<void>((resolve) => {
        ends.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      yield signal.aborted ? { type: "aborted" } : done;
    },
  };
  return { provider, asked, end: (): void => ends.shift()?.() };
}

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe("calls of one provider at once", () => {
  test("are bounded; the others wait in the order they came, and are not held up by another provider", async () => {
    const a = held("a");
    const b = scripted("b", [], [text("hi"), done]);
    const router = routerOf([a.provider, b], { max_concurrent: 2 });
    const streams = ["1", "2", "3", "4"].map((each) => collect(router, requestOf("a/m", each)));
    await turns();
    expect(a.asked).toEqual(["1", "2"]);
    await collect(router, requestOf("b/m", "hi"));
    a.end();
    await streams[0];
    await turns();
    expect(a.asked).toEqual(["1", "2", "3"]);
    a.end();
    a.end();
    await turns();
    a.end();
    const ends = await Promise.all(streams);
    expect(ends.map((events) => events.at(-1))).toEqual([done, done, done, done]);
    expect(a.asked).toEqual(["1", "2", "3", "4"]);
  });

  test("who is aborted while it waits has never asked, and who leaves makes room", async () => {
    const a = held("a");
    const router = routerOf([a.provider], { max_concurrent: 1 });
    const stream = router.stream(requestOf("m", "1"), { signal: never })[Symbol.asyncIterator]();
    expect((await stream.next()).value).toMatchObject({ type: "model" });
    const abort = new AbortController();
    const second = collect(router, requestOf("m", "2"), abort.signal);
    const third = collect(router, requestOf("m", "3"));
    await turns();
    abort.abort();
    expect(await second).toEqual([{ type: "aborted" }]);
    await stream.next();
    await stream.return?.();
    await turns();
    a.end();
    a.end();
    expect((await third).at(-1)).toEqual(done);
    expect(a.asked).toEqual(["1", "3"]);
  });

  test("who waits for longer than there is to begin an answer is told why", async () => {
    const clock = manualClock();
    const a = held("a");
    const router = routerOf([a.provider], {
      max_concurrent: 1,
      max_retries: 0,
      clock,
      retry_deadline_ms: 5_000,
    });
    const first = collect(router, requestOf("m", "1"));
    await turns();
    const second = collect(router, requestOf("m", "2"));
    await turns();
    clock.advance(5_000);
    expect(errorOf(await second)).toMatchObject({
      reason: "UNAVAILABLE",
      message: "a was busy with other runs for 5 s (llm.providers.a.max_concurrent, llm.retry_deadline_secs)",
      retryable: true,
    });
    // That says nothing of the provider.
    expect(router.states()).toEqual([{ name: "a", ready: true }]);
    a.end();
    expect((await first).at(-1)).toEqual(done);
  });
});

describe("places", () => {
  test("have room for so many that wait, and none for more", async () => {
    const places = new Places(1, 2);
    const leave = await places.take(never);
    const waiting = [places.take(never), places.take(never)];
    expect(await places.take(never)).toBe("full");
    expect([places.used, places.waiting]).toEqual([1, 2]);
    if (typeof leave !== "function") throw new Error("no place");
    leave();
    leave();
    expect([places.used, places.waiting]).toEqual([1, 1]);
    for (const each of waiting) {
      const next = await each;
      if (typeof next === "function") next();
    }
    expect([places.used, places.waiting]).toEqual([0, 0]);
  });

  test("without a bound are there for everybody", async () => {
    const places = new Places(0, 1);
    const all = await Promise.all(Array.from({ length: 100 }, () => places.take(never)));
    expect(all.every((each) => typeof each === "function")).toBe(true);
    expect(places.used).toBe(100);
    expect(await places.take(AbortSignal.abort())).toBeNull();
  });
});
