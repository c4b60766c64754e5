import { expect, test } from "bun:test";
import type { RowChange } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import type { UsageEntry, UsageQuery } from "../../src/core/usage.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, close, commit, commitAll, create, event, put, START } from "./store.builders.ts";

const DAY = 86_400_000;
const TODAY = "2025-11-22";

export function used(more: Partial<UsageEntry> = {}): RowChange {
  const entry = {
    day: TODAY,
    user: "ada",
    model: "a/one",
    currency: "EUR",
    calls: 1,
    unknown_calls: 0,
    input_tokens: 10,
    output_tokens: 2,
    cached_tokens: 1,
    reasoning_tokens: 0,
    cost: 100,
    ...more,
  };
  return { kind: "usage.add", entry };
}

const add = (store: Store, session: string | null, ...all: Partial<UsageEntry>[]) =>
  commitAll(store, ...all.map((more) => append(session, [], [used(more)])));

async function read(store: Store, query: Partial<UsageQuery> = {}) {
  const rows = await store.usage({ by: "total", currency: "EUR", limit: 100, ...query });
  return rows.map(({ key, calls, input_tokens, priced_calls, cost }) => [
    key,
    calls,
    input_tokens,
    priced_calls,
    cost,
  ]);
}

export function usageConformance(make: MakeStore): void {
  test("sums what was added, of one user and of all; nothing is a total of nothing", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const nothing = { calls: 0, unknown_calls: 0, input_tokens: 0, output_tokens: 0, cached_tokens: 0 };
    const none = { key: "", ...nothing, reasoning_tokens: 0, priced_calls: 0, cost: 0 };
    const total = { by: "total", currency: "EUR", limit: 1 } as const;
    expect(await store.usage(total)).toEqual([none]);
    await add(store, null, {}, { reasoning_tokens: 7 }, { user: "bob", unknown_calls: 1, input_tokens: 0 });
    expect(await store.usage(total)).toEqual([
      {
        key: "",
        calls: 3,
        unknown_calls: 1,
        input_tokens: 20,
        output_tokens: 6,
        cached_tokens: 3,
        reasoning_tokens: 7,
        priced_calls: 3,
        cost: 300,
      },
    ]);
    expect(await read(store, { user: "bob" })).toEqual([["", 1, 0, 1, 100]]);
    expect(await store.usage({ ...total, user: "eve" })).toEqual([none]);
  });

  test("by day, model and user, the most first, between two days", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await add(
      store,
      null,
      { day: "2025-11-20" },
      { day: "2025-11-21", model: "b/two", input_tokens: 50 },
      { user: "bob", input_tokens: 15 },
    );
    expect(await read(store, { by: "day" })).toEqual([
      [TODAY, 1, 15, 1, 100],
      ["2025-11-21", 1, 50, 1, 100],
      ["2025-11-20", 1, 10, 1, 100],
    ]);
    expect(await read(store, { by: "model" })).toEqual([
      ["b/two", 1, 50, 1, 100],
      ["a/one", 2, 25, 2, 200],
    ]);
    expect(await read(store, { by: "user" })).toEqual([
      ["ada", 2, 60, 2, 200],
      ["bob", 1, 15, 1, 100],
    ]);
    expect(await read(store, { by: "model", user: "ada", limit: 1 })).toEqual([["b/two", 1, 50, 1, 100]]);
    expect(await read(store, { since: "2025-11-21" })).toEqual([["", 2, 65, 2, 200]]);
    expect(await read(store, { until: "2025-11-21" })).toEqual([["", 2, 60, 2, 200]]);
    expect(await read(store, { by: "day", since: "2026-01-01" })).toEqual([]);
  });

  test("a cost is of one currency: calls without a price, or in another one, have none", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await add(store, null, { cost: 0 }, { currency: "", cost: 0 }, { currency: "USD", cost: 5 });
    expect(await read(store)).toEqual([["", 3, 30, 1, 0]]);
    expect(await read(store, { currency: "USD" })).toEqual([["", 3, 30, 1, 5]]);
    expect(await read(store, { currency: "CHF" })).toEqual([["", 3, 30, 0, 0]]);
  });

  test("of a session: its own, told by its id, and its owner's among others", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"), create("ses_c", { owner: "bob" }));
    await add(store, "ses_a", {}, { user: "bob", day: "2025-11-20", model: "b/two" });
    await add(store, "ses_b", { input_tokens: 99 });
    await add(store, "ses_c", { user: "bob" });
    await add(store, null, { input_tokens: 1_000 });
    expect(await read(store, { by: "session" })).toEqual([
      ["ses_b", 1, 99, 1, 100],
      ["ses_a", 2, 20, 2, 200],
      ["ses_c", 1, 10, 1, 100],
    ]);
    expect(await read(store, { by: "session", user: "ada", limit: 1 })).toEqual([["ses_b", 1, 99, 1, 100]]);
    expect(await read(store, { session: "ses_a" })).toEqual([["", 2, 20, 2, 200]]);
    expect(await read(store, { session: "ses_a", by: "model", since: TODAY })).toEqual([
      ["a/one", 1, 10, 1, 100],
    ]);
    expect(await read(store, { session: "ses_none" })).toEqual([["", 0, 0, 0, 0]]);
    // Whoever sent it used it.
    expect(await read(store, { user: "bob" })).toEqual([["", 2, 20, 2, 200]]);
  });

  test("stands and falls with its operation", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a", {}, [used()]));
    const [twice, nowhere] = await commit(
      store,
      append("ses_a", [event("x")], [used(), put("m"), put("m")]),
      append("ses_none", [], [used()]),
    );
    expect([twice, nowhere]).toMatchObject([{ ok: false, reason: "exists" }, { ok: false }]);
    expect(await read(store)).toEqual([["", 1, 10, 1, 100]]);
    expect(await read(store, { session: "ses_a" })).toEqual([["", 1, 10, 1, 100]]);
  });

  test("a deleted session takes what is told of it along, and leaves its users' days", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"));
    await add(store, "ses_a", {}, { model: "b/two" }, { day: "2025-11-20" });
    await add(store, "ses_b", {});
    await commitAll(store, close("ses_a"));
    expect(await read(store, { by: "session" })).toEqual([["ses_b", 1, 10, 1, 100]]);
    const erase = { kind: "erase", session: "ses_a", max_rows: 3 } as const;
    const done = async () => (await commit(store, erase))[0];
    // Two events and a row, two rows, and then the session itself.
    expect([await done(), await done()]).toMatchObject([{ done: false }, { done: true }]);
    await commitAll(store, create("ses_a", { revive: true, epoch: "epoch002" }));
    expect(await read(store, { session: "ses_a" })).toEqual([["", 0, 0, 0, 0]]);
    expect(await read(store)).toEqual([["", 4, 40, 4, 400]]);
  });

  test("a user who is forgotten has used nothing", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await add(store, null, {}, { day: "2025-11-20" }, { model: "b/two" }, { user: "bob" });
    const forget = { kind: "forget", user: "ada", max_rows: 2 } as const;
    expect(await commit(store, forget)).toMatchObject([{ ok: true, done: false }]);
    expect(await commit(store, forget)).toMatchObject([{ ok: true, done: true }]);
    expect(await read(store, { by: "user" })).toEqual([["bob", 1, 10, 1, 100]]);
  });

  test("models past the bound of a day are counted together", async () => {
    await using fixture = await make({ usage_models: 2 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    const models = ["a/one", "b/two", "c/three", "d/four", "a/one"];
    await add(store, "ses_a", ...models.map((model) => ({ model })));
    const counted = [
      ["a/one", 2, 20, 2, 200],
      ["other", 2, 20, 2, 200],
      ["b/two", 1, 10, 1, 100],
    ];
    expect(await read(store, { by: "model" })).toEqual(counted);
    expect(await read(store, { by: "model", session: "ses_a" })).toEqual(counted);
    // A new day, and another user, have room again.
    await add(store, null, { model: "c/three", day: "2025-11-23" }, { model: "c/three", user: "bob" });
    expect(await read(store, { by: "model", user: "bob" })).toEqual([["c/three", 1, 10, 1, 100]]);
  });

  test("days go after their time, so many at once", async () => {
    await using fixture = await make({ usage_ttl_secs: 2 * 86_400 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    await add(store, "ses_a", { day: "2025-11-19" }, { day: "2025-11-20" }, {});
    await add(store, null, { day: "2025-11-18" });
    expect(await store.expire(START, 1)).toBe(2);
    expect(await store.expire(START, 9)).toBe(1);
    expect(await store.expire(START, 9)).toBe(0);
    expect((await read(store, { by: "day" })).map(([day]) => day)).toEqual([TODAY, "2025-11-20"]);
    expect(await store.expire(START + 3 * DAY, 9)).toBe(4);
    expect(await read(store)).toEqual([["", 0, 0, 0, 0]]);
  });

  test("no amount grows past what a number holds exactly", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const most = Number.MAX_SAFE_INTEGER;
    for (let i = 0; i < 3; i++) await add(store, null, { input_tokens: most, cost: most });
    await add(store, null, { model: "b/two", input_tokens: most, cost: most });
    expect(await read(store, { by: "model" })).toEqual([
      ["a/one", 3, most, 3, most],
      ["b/two", 1, most, 1, most],
    ]);
    expect(await read(store)).toEqual([["", 4, most, 4, most]]);
  });
}
