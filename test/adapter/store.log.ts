import { expect, test } from "bun:test";
import type { ItemResult } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
  commit,
  commitAll,
  create,
  endRun,
  EPOCH,
  event,
  START,
  startRun,
} from "./store.builders.ts";

/** A session whose event n (from 1) has the time START + n. */
async function fill(store: Store, id: string, count: number): Promise<void> {
  await commitAll(store, create(id, { created_at: START + 1 }));
  const events = Array.from({ length: count - 1 }, (_, index) => event("x", {}, { ts: START + index + 2 }));
  await commitAll(store, append(id, events));
}

async function trim(
  store: Store,
  session: string,
  before: number,
  max_rows = 100,
): Promise<ItemResult | undefined> {
  return (await commit(store, { kind: "trim", session, before, max_rows }))[0];
}

export function logConformance(make: MakeStore): void {
  test("a page holds what is after a cursor, up to a seq", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await fill(store, "ses_a", 10);
    const seqs = async (after: number, upto: number) =>
      (await store.page("ses_a", after, upto))?.events.map(({ seq }) => seq).join();
    expect(await seqs(0, 10)).toBe("1,2,3,4,5,6,7,8,9,10");
    expect(await seqs(3, 6)).toBe("4,5,6");
    expect(await seqs(8, 100)).toBe("9,10");
    expect(await seqs(10, 100)).toBe("");
    expect(await seqs(50, 100)).toBe("");
    expect(await seqs(6, 5)).toBe("");
    expect(await store.page("ses_none", 0, 10)).toBeNull();
  });

  test("a page is bounded in events and in bytes of payload", async () => {
    await using fixture = await make({ page_events: 4, page_bytes: 1000 });
    const { store } = fixture;
    const big = (length: number) => event("big", { text: "ü".repeat((length - 11) / 2) });
    await commitAll(store, create("ses_a"));
    await commitAll(
      store,
      append("ses_a", [
        big(5001),
        big(501),
        big(499),
        big(401),
        event("x"),
        event("x"),
        event("x"),
        event("x"),
      ]),
    );
    expect(Buffer.byteLength(big(501).payload)).toBe(501);
    const seqs = async (after: number) =>
      (await store.page("ses_a", after, 100))?.events.map(({ seq }) => seq).join();
    expect(await seqs(0)).toBe("1");
    expect(await seqs(1)).toBe("2");
    expect(await seqs(2)).toBe("3,4");
    expect(await seqs(3)).toBe("4,5,6,7");
    expect(await seqs(5)).toBe("6,7,8,9");
  });

  test("trims the prefix that is old, and answers the new floor", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await fill(store, "ses_a", 10);
    expect(await trim(store, "ses_a", START + 1)).toEqual({ ok: true, floor: 0, removed: 0 });
    expect(await trim(store, "ses_a", START + 4)).toEqual({ ok: true, floor: 3, removed: 3 });
    expect(await store.session("ses_a")).toMatchObject({
      floor: 3,
      head: 10,
      updated_at: START + 10,
    });
    expect(await store.page("ses_a", 3, 5)).toMatchObject({
      epoch: EPOCH,
      floor: 3,
      head: 10,
      events: [{ seq: 4 }, { seq: 5 }],
    });
    expect(await store.page("ses_a", 2, 5)).toEqual({
      epoch: EPOCH,
      floor: 3,
      head: 10,
      events: [],
    });
    expect(await store.totals()).toEqual({ sessions: 1, messages: 0, events: 7 });
    expect(await trim(store, "ses_none", START)).toEqual({ ok: false, reason: "unknown" });
  });

  test("trims to nothing and numbers on", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await fill(store, "ses_a", 3);
    expect(await trim(store, "ses_a", START + 99)).toEqual({ ok: true, floor: 3, removed: 3 });
    expect(await store.page("ses_a", 3, 9)).toEqual({
      epoch: EPOCH,
      floor: 3,
      head: 3,
      events: [],
    });
    expect(await commit(store, append("ses_a", [event("x")]))).toEqual([
      { ok: true, first_seq: 4, epoch: EPOCH },
    ]);
  });

  test("trims so many rows at once", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await fill(store, "ses_a", 10);
    expect(await trim(store, "ses_a", START + 8, 4)).toEqual({ ok: true, floor: 4, removed: 4 });
    expect(await trim(store, "ses_a", START + 8, 4)).toEqual({ ok: true, floor: 7, removed: 3 });
    expect(await trim(store, "ses_a", START + 8, 4)).toEqual({ ok: true, floor: 7, removed: 0 });
  });

  test("keeps everything from the first event of a run that has not ended", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await fill(store, "ses_a", 3);
    await commitAll(
      store,
      startRun("ses_a", "run_1"),
      append("ses_a", [event("x")]),
      startRun("ses_a", "run_2"),
    );
    expect(await trim(store, "ses_a", START + 99)).toEqual({ ok: true, floor: 3, removed: 3 });
    await commitAll(store, endRun("ses_a", "run_1"));
    expect(await trim(store, "ses_a", START + 99)).toEqual({ ok: true, floor: 6, removed: 3 });
    await commitAll(store, endRun("ses_a", "run_2"));
    expect(await trim(store, "ses_a", START + 99)).toEqual({ ok: true, floor: 10, removed: 4 });
  });

  test("a clock that went back does not keep what came before", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    const times = [START + 900, START + 5, START + 6, START + 800];
    await commitAll(
      store,
      append(
        "ses_a",
        times.map((ts) => event("x", {}, { ts })),
      ),
    );
    expect(await trim(store, "ses_a", START + 10)).toEqual({ ok: true, floor: 4, removed: 4 });
  });

  test("says how full it is where it has a bound of its own", async () => {
    await using fixture = await make();
    expect(await fixture.store.room()).toBeNull();
  });

  test("names the sessions that a trim would shorten", async () => {
    await using fixture = await make();
    const { store } = fixture;
    for (const id of ["ses_a", "ses_b", "ses_c"]) await fill(store, id, 5);
    await commitAll(store, create("ses_d", { created_at: START + 50 }));
    const sorted = async (before: number, limit = 10) => (await store.trimmable(before, limit)).toSorted();
    expect(await sorted(START + 1)).toEqual([]);
    expect(await sorted(START + 3)).toEqual(["ses_a", "ses_b", "ses_c"]);
    expect(await store.trimmable(START + 3, 2)).toHaveLength(2);
    await trim(store, "ses_a", START + 3);
    expect(await sorted(START + 3)).toEqual(["ses_b", "ses_c"]);
    await trim(store, "ses_b", START + 99);
    await commitAll(store, startRun("ses_b", "run_1", { ts: START }));
    expect(await sorted(START + 3)).toEqual(["ses_c"]);
    await commitAll(store, endRun("ses_b", "run_1"));
    expect(await sorted(START + 3)).toEqual(["ses_b", "ses_c"]);
  });
}
