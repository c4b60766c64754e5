import { expect, test } from "bun:test";
import type { Store } from "../../src/core/store.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { withFaults } from "../support/fault-store.ts";
import { append, commit, create, event, failure, ok, startRun, storeClock } from "./store.builders.ts";
import { openSqlite } from "./store.sqlite.ts";

async function faultyMemory() {
  const { store, faults } = withFaults(createMemoryStore({ clock: storeClock(), limits: DEFAULT_LIMITS }));
  await store.open();
  return { store, faults };
}
const headOf = async (store: Store) => (await store.session("ses_a"))?.head;
const more = append("ses_a", [event("x")]);

test("without faults it is the store it wraps", async () => {
  await using fixture = await openSqlite();
  const { store, faults } = withFaults(fixture.store);
  expect(store.kind).toBe("sqlite");
  expect(await commit(store, create("ses_a"), more)).toEqual([ok(1), ok(2)]);
  expect(await store.page("ses_a", 0, 9)).toEqual(await fixture.store.page("ses_a", 0, 9));
  expect(await store.expire(0, 1)).toBe(0);
  await store.probe();
  expect(faults.groups).toEqual([[create("ses_a"), more]]);
});

test("refuses the group it was told to, and changes nothing by it", async () => {
  const { store, faults } = await faultyMemory();
  await commit(store, create("ses_a"));
  faults.refuse("full", 2);
  expect(await commit(store, more)).toEqual([ok(2)]);
  expect(await store.commit([more])).toEqual({ ok: false, refused: "full" });
  expect(await headOf(store)).toBe(2);
  expect(await commit(store, more)).toEqual([ok(3)]);
});

test("an outage refuses everything that writes until it is over", async () => {
  const { store, faults } = await faultyMemory();
  await commit(store, create("ses_a"));
  faults.outage("readonly");
  expect(await store.commit([more])).toEqual({ ok: false, refused: "readonly" });
  expect(await failure(store.probe())).toMatchObject({
    reason: "UNAVAILABLE",
    details: { refused: "readonly" },
  });
  expect(await failure(store.expire(0, 1))).toMatchObject({ details: { refused: "readonly" } });
  faults.outage(null);
  await store.probe();
  expect(await commit(store, more)).toEqual([ok(2)]);
});

test("loses a group, applied or not", async () => {
  const { store, faults } = await faultyMemory();
  await commit(store, create("ses_a"));
  faults.lose();
  expect((await failure(store.commit([more]))).message).toContain("unknown");
  expect(await headOf(store)).toBe(1);
  faults.lose(1, true);
  expect((await failure(store.commit([more]))).message).toContain("unknown");
  expect(await headOf(store)).toBe(2);
});

test("fails single items, and skips what follows of their run", async () => {
  const { store, faults } = await faultyMemory();
  await commit(store, create("ses_a"), startRun("ses_a", "run_1"));
  const ofRun = (type: string) => ({ ...append("ses_a", [event(type)]), run: "run_1" });
  const full = { ok: false, reason: "full", what: "messages_per_session" } as const;
  faults.failItem((item) => item.kind === "append" && item.events.some(({ type }) => type === "b"), full);
  expect(await commit(store, ofRun("a"), ofRun("b"), more, ofRun("c"))).toEqual([
    ok(4),
    full,
    ok(5),
    { ok: false, reason: "skipped" },
  ]);
  expect(await commit(store, ofRun("b"))).toEqual([ok(6)]);
});

test("holds groups back until they are let go", async () => {
  const { store, faults } = await faultyMemory();
  await commit(store, create("ses_a"));
  const release = faults.hold();
  const held = commit(store, more);
  expect(await headOf(store)).toBe(1);
  expect(faults.groups).toHaveLength(2);
  release();
  expect(await held).toEqual([ok(2)]);
});
