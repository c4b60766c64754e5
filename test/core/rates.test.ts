import { expect, test } from "bun:test";
import type { Caller } from "../../src/core/call.ts";
import { MAX_CALLERS, Rates } from "../../src/core/rates.ts";
import { manualClock } from "../support/clock.ts";
import { OWNER } from "../support/transport-stub.ts";

const LIMITS = { mutations_per_second: 50, mutations_burst: 100, mutations_over_ms: 10_000 };

function setUp() {
  const clock = manualClock();
  const rates = new Rates({ limits: LIMITS, clock, networkOf: (address) => address });
  const signal = new AbortController().signal;
  const caller = (remote: string, credential: string | null = "tok_1"): Caller => ({
    principal: { ...OWNER, credential },
    transport: "rest",
    client_id: "rest",
    remote,
    connection: null,
    signal,
  });
  const socket: Caller = { ...caller("10.0.0.1"), connection: {} as NonNullable<Caller["connection"]> };
  return { clock, rates, caller, socket };
}

test("a hundred at once, then fifty a second; a refusal says when the next one is let", () => {
  const { clock, rates, socket } = setUp();
  for (let i = 0; i < 100; i++) expect(rates.count(socket)).toBeNull();
  expect(rates.count(socket)?.refused).toMatchObject({ reason: "RATE_LIMITED", retry_after_ms: 20 });
  clock.advance(19);
  expect(rates.count(socket)?.refused).toMatchObject({ retry_after_ms: 1 });
  clock.advance(1);
  expect(rates.count(socket)).toBeNull();
  clock.advance(1_000);
  let let_in = 0;
  while (rates.count(socket) === null) let_in++;
  expect(let_in).toBe(50);
  clock.advance(60_000);
  for (let i = 0; i < 100; i++) expect(rates.count(socket)).toBeNull();
  expect(rates.count(socket)).not.toBeNull();
});

test("who never waits as told is over after ten seconds, and not before", () => {
  const { clock, rates, socket } = setUp();
  let refused_at: number | null = null;
  for (let now = 0; now < 20_000; now += 5) {
    const found = rates.count(socket);
    if (found !== null) refused_at ??= now;
    if (found?.over) {
      expect(now - (refused_at ?? 0)).toBeWithin(10_000, 10_100);
      expect(found.over).toMatchObject({ reason: "RATE_LIMITED", limit: "mutations_over_ms" });
      return;
    }
    clock.advance(5);
  }
  throw new Error("it is never over");
});

test("who waits as told never is, and a pause lets one begin anew", () => {
  const { clock, rates, socket } = setUp();
  for (let refusals = 0; refusals < 2_000;) {
    const found = rates.count(socket);
    if (found === null) continue;
    expect(found.over).toBeNull();
    refusals++;
    clock.advance(found.refused.retry_after_ms ?? 0);
  }
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 9_000; i += 5) {
      expect(rates.count(socket)?.over ?? null).toBeNull();
      clock.advance(5);
    }
    clock.advance(2_000);
  }
});

test("without a socket it is one credential at one address, and only those lately heard of are remembered", () => {
  const { clock, rates, caller } = setUp();
  for (let i = 0; i < 100; i++) rates.count(caller("10.0.0.1"));
  expect(rates.count(caller("10.0.0.1"))).not.toBeNull();
  expect(rates.count(caller("10.0.0.2"))).toBeNull();
  expect(rates.count(caller("10.0.0.1", "tok_2"))).toBeNull();
  expect(rates.callers).toBe(3);
  // What has filled again is as good as forgotten.
  clock.advance(2_000);
  expect(rates.count(caller("10.0.0.9"))).toBeNull();
  expect(rates.callers).toBe(1);
  for (let i = 0; i < MAX_CALLERS + 500; i++) rates.count(caller(`10.1.${i >> 8}.${i & 255}`));
  expect(rates.callers).toBe(MAX_CALLERS);
});

test("the program that the gateway runs in is not bounded", () => {
  const { rates, caller } = setUp();
  const local: Caller = { ...caller("local"), transport: "local" };
  for (let i = 0; i < 1_000; i++) expect(rates.count(local)).toBeNull();
  expect(rates.callers).toBe(0);
});
