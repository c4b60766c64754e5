import { describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import fc from "fast-check";
import type { Clock } from "../../src/core/ports.ts";
import { createRedact } from "../../src/provider/redact.ts";
import { createSseReader } from "../../src/provider/sse.ts";
import { createWatchdog, STOPPED } from "../../src/provider/watchdog.ts";

describe("the SSE reader", () => {
  const stream = [
    ": comment\n\n",
    "data: one\n\n",
    "data:two\r\n\r\n",
    "event: error\ndata: {}\n\n",
    "data: a\ndata: é😀\n\n",
    "retry: 5\nid: 3\n\n",
    "data\n\n\n\n",
    "data: last",
  ].join("");
  const events = [
    { event: "", data: "one" },
    { event: "", data: "two" },
    { event: "error", data: "{}" },
    { event: "", data: "a\né😀" },
    { event: "", data: "" },
    { event: "", data: "last" },
  ];

  test("reads the same events from any split of the bytes", () => {
    const bytes = new TextEncoder().encode(stream);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
        const reader = createSseReader(64);
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const read = at.slice(1).flatMap((end, index) => reader.push(bytes.subarray(at[index], end)));
        expect([...read, ...reader.end()]).toEqual(events);
      }),
    );
  });

  test("bounds what it holds, not what it reads", () => {
    const reader = createSseReader(100);
    const push = (text: string) => reader.push(Buffer.from(text));
    for (let i = 0; i < 50; i++) push(`: ${"x".repeat(80)}\nid: ${i}\n`);
    for (let i = 0; i < 50; i++) expect(push(`data: ${"y".repeat(80)}\n\n`)).toHaveLength(1);
    expect(push(`data: ${"y".repeat(90)}`)).toEqual([]);
    expect(() => push("yyyyy")).toThrow(RangeError);
  });

  test("takes a long line in single bytes without searching it again and again", () => {
    const length = 300_000;
    const reader = createSseReader(2 * length);
    const byte = Buffer.from("x");
    const began = performance.now();
    reader.push(Buffer.from("data: "));
    for (let i = 0; i < length; i++) reader.push(byte);
    expect(reader.push(Buffer.from("\n\n"))[0]?.data).toHaveLength(length);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe("the watchdog", () => {
  function manual() {
    let now = 0;
    let timers: { at: number; task: () => void }[] = [];
    const clock: Clock = {
      now: () => now,
      monotonic: () => now,
      after(ms, task) {
        const timer = { at: now + ms, task };
        timers.push(timer);
        return () => void (timers = timers.filter((each) => each !== timer));
      },
      every: () => () => {},
    };
    const pass = (ms: number) => {
      now += ms;
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { task } of due) task();
    };
    return { clock, pass, timers: () => timers.length };
  }
  const never = new Promise<never>(() => {});

  test("a wait ends with the caller's abort, whatever is waited for", async () => {
    const abort = new AbortController();
    const dog = createWatchdog(manual().clock, abort.signal);
    const wait = dog.race(never);
    abort.abort();
    await expect(wait).rejects.toBe(STOPPED);
    expect(dog.stopped).toEqual({ kind: "aborted" });
    expect(dog.signal.aborted).toBe(true);
    await expect(dog.race(Promise.resolve(1))).rejects.toBe(STOPPED);
  });

  test("a deadline counts from when it was set last, on one timer", () => {
    const time = manual();
    const dog = createWatchdog(time.clock, new AbortController().signal);
    for (let i = 0; i < 10; i++) {
      dog.expect(time.clock.monotonic() + 100, () => ({ kind: "enough" }));
      expect(time.timers()).toBe(1);
      time.pass(60);
    }
    expect(dog.stopped).toBeNull();
    time.pass(40);
    expect(dog.stopped).toEqual({ kind: "enough" });
    expect(time.timers()).toBe(0);
  });

  test("an earlier deadline goes before, a rest counts for nothing, and the end leaves no timer", () => {
    const time = manual();
    const caller = new AbortController().signal;
    const dog = createWatchdog(time.clock, caller);
    dog.expect(1_000, () => ({ kind: "enough" }));
    dog.expect(50, () => ({ kind: "enough" }));
    dog.rest();
    time.pass(5_000);
    expect(dog.stopped).toBeNull();
    dog.expect(5_010, () => ({ kind: "enough" }));
    expect(getEventListeners(caller, "abort")).toHaveLength(1);
    dog.close();
    expect(time.timers()).toBe(0);
    expect(getEventListeners(caller, "abort")).toEqual([]);
  });
});

test("redaction leaves one short line without a secret in it", () => {
  const redact = createRedact(["long-secret-1", "long-secret", "abc"]);
  expect(redact("a long-secret-1 and\n\ta long-secret\u0000end")).toBe("a [redacted] and a [redacted] end");
  expect(redact("abcdef stays, sk-abc***xyz and Bearer q.w.e go")).toBe(
    "abcdef stays, [redacted] and [redacted] go",
  );
  const long = redact("😀".repeat(400));
  expect(long).toHaveLength(300);
  expect(long.isWellFormed()).toBe(true);
});
