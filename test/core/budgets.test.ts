import { expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { ModelEvent } from "../../src/core/ports.ts";
import type { UserBounds } from "../../src/core/spending.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { FakeConnection, Script, TestEngineOptions } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { call, closesEngines, ended, say, start, tool } from "./tools.fixture.ts";

closesEngines();

const NOON = Date.UTC(2025, 10, 29, 12);
const DAY_MS = 86_400_000;
const PRICES = { a: { one: { input: 1, output: 1 } } };

/** Uses ten tokens a call, at a millionth of the currency each, and calls a tool in so many calls of a run first. */
function uses(calls = 0): (() => AsyncGenerator<ModelEvent>) & { asked: number } {
  let left = calls;
  const script = async function* (): AsyncGenerator<ModelEvent> {
    script.asked++;
    yield { type: "model", model: "a/one" };
    if (left-- > 0) yield { type: "tool_call", call: call("look", { n: 0 }) };
    else yield { type: "text", text: "hello" };
    yield { type: "usage", usage: { input_tokens: 7, output_tokens: 3 } };
    yield { type: "done", finish_reason: "stop" };
  };
  script.asked = 0;
  return script;
}

async function scene(bounds: Partial<UserBounds>, options: TestEngineOptions = {}) {
  const clock = manualClock(NOON);
  const script = uses();
  const started = await start({
    script,
    clock,
    prices: PRICES,
    bounds: (user) => (user === "owner" ? bounds : {}),
    tools: [tool("look")],
    ...options,
  });
  return { ...started, clock, script, owner: started.connect() };
}

async function answer(owner: FakeConnection, clock: ManualClock): Promise<void> {
  const { run_id } = await say(owner);
  await until(() => {
    clock.advance(1);
    return owner.events().some(({ event, payload }) => event.startsWith("run.") && endOf(payload) === run_id);
  });
}
const endOf = (payload: Record<string, unknown>): unknown => {
  const run = payload["run"] as { run_id: string; ended_at?: number } | undefined;
  return run?.ended_at === undefined ? undefined : run.run_id;
};
const refused = (what: string, limit: number, spent: number, resets_at: number) => ({
  reason: "CONFLICT",
  retryable: false,
  details: { kind: "budget", what, limit, spent, resets_at },
});

test("once a day's tokens are used nothing more is asked for that user, until the day is over", async () => {
  const { owner, connect, clock, script, engine } = await scene({ day_tokens: 15 });
  await answer(owner, clock);
  await answer(owner, clock);
  const midnight = Date.UTC(2025, 10, 30);
  const error = refused("day_tokens", 15, 20, midnight);
  await expect(say(owner)).rejects.toMatchObject(error);
  await expect(say(owner)).rejects.toThrow(
    "the budget of owner for this day is spent (budgets.day_tokens: 15 tokens); the next begins on 2025-11-30, UTC",
  );
  for (const method of ["session.title", "session.compact", "run.create"])
    await expect(owner.request(method, { session_id: "s" })).rejects.toMatchObject(error);
  expect(script.asked).toBe(2);
  // Somebody else has a budget of their own, or none.
  await connect("bob").request("chat.send", { session_id: "b", message: "hi" });
  await until(() => script.asked === 3);
  expect(engine.stats.limits).toEqual({ day_tokens: 5 });
  clock.advance(midnight - clock.now());
  await answer(owner, clock);
  expect(script.asked).toBe(4);
});

test("a run that has more to do ends with the budget; one that has said all it had to is whole", async () => {
  const script = uses(3);
  const { owner, clock } = await scene({ day_tokens: 20 }, { script });
  await answer(owner, clock);
  expect(owner.events().at(-1)).toMatchObject({
    event: "run.failed",
    payload: {
      run: {
        status: "failed",
        usage: { input_tokens: 14, output_tokens: 6 },
        error: {
          code: "CONFLICT",
          retryable: false,
          details: { kind: "budget", what: "day_tokens", spent: 20 },
        },
      },
    },
  });
  expect(script.asked).toBe(2);
  const whole = await scene({ day_tokens: 5 });
  await answer(whole.owner, whole.clock);
  expect(whole.owner.events().at(-1)?.event).toBe("run.completed");
});

test("a cost, and a month: of two that are reached the longer one is told", async () => {
  const { owner, clock } = await scene({ day_cost: 10_000, month_cost: 20_000 });
  await answer(owner, clock);
  const december = Date.UTC(2025, 11, 1);
  await expect(say(owner)).rejects.toMatchObject(refused("day_cost", 10_000, 10_000, Date.UTC(2025, 10, 30)));
  clock.advance(DAY_MS);
  await answer(owner, clock);
  await expect(say(owner)).rejects.toMatchObject(refused("month_cost", 20_000, 20_000, december));
  await expect(say(owner)).rejects.toThrow("budgets.month_cost: 0.00002 EUR");
  clock.advance(december - clock.now());
  await answer(owner, clock);
});

test("what was used before the start counts, of this month and for whoever has a bound", async () => {
  const clock = manualClock(NOON);
  const store = createMemoryStore({ clock, limits: DEFAULT_LIMITS });
  const first = await scene({}, { store, clock });
  await answer(first.owner, clock);
  await first.close();
  const again = await scene({ month_tokens: 10 }, { store, clock });
  await expect(say(again.owner)).rejects.toMatchObject({ details: { what: "month_tokens", spent: 10 } });
});

test("without a way to know what was used nothing is asked", async () => {
  const memory = createMemoryStore({ clock: manualClock(NOON), limits: DEFAULT_LIMITS });
  const store = { ...memory, usage: () => Promise.reject(new GatewayError("UNAVAILABLE", "no")) };
  const { owner, script } = await scene({ day_tokens: 10 }, { store });
  await expect(say(owner)).rejects.toMatchObject({ reason: "UNAVAILABLE", details: { kind: "storage" } });
  expect(script.asked).toBe(0);
});

test("runs at once may pass a bound by what is under way, and no further", async () => {
  const gate = Promise.withResolvers<void>();
  const inner = uses();
  const script: Script = async function* () {
    await gate.promise;
    yield* inner();
  };
  const { connect, engine, store } = await scene({ day_tokens: 10 }, { script });
  const owner = connect();
  for (const session_id of ["1", "2", "3"]) await owner.request("chat.send", { session_id, message: "go" });
  gate.resolve();
  await engine.runs.settled();
  const [total] = await store.usage({ by: "total", currency: "EUR", limit: 1 });
  expect(total).toMatchObject({ calls: 3, input_tokens: 21, output_tokens: 9 });
  await expect(owner.request("chat.send", { session_id: "4", message: "go" })).rejects.toMatchObject({
    details: { kind: "budget", spent: 30 },
  });
});

test("usage.get tells what may be used, and how much of it was", async () => {
  const { owner, connect, clock } = await scene({ day_tokens: 100, month_cost: 5_000 });
  await answer(owner, clock);
  expect(await owner.request("usage.get", {})).toEqual({
    currency: "EUR",
    total: {
      calls: 1,
      unknown_calls: 0,
      unpriced_calls: 0,
      input_tokens: 7,
      output_tokens: 3,
      cached_tokens: 0,
      reasoning_tokens: 0,
      cost: 10_000,
    },
    budgets: [
      { what: "day_tokens", limit: 100, spent: 10, resets_at: Date.UTC(2025, 10, 30) },
      { what: "month_cost", limit: 5_000, spent: 10_000, resets_at: Date.UTC(2025, 11, 1) },
    ],
  });
  expect(await connect("bob").request("usage.get", {})).not.toHaveProperty("budgets");
  expect(ended(owner)()).toBe(true);
});
