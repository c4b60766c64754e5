import { expect, test } from "bun:test";
import type { RowChange } from "../../src/core/operation.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, commit, commitAll, create, event, ok } from "./store.builders.ts";

const CHANGED = { ok: false, reason: "changed" } as const;
const record = (id: string, data: string, owner = "ada") => ({
  collection: "c",
  id,
  owner,
  data,
  expires_at: null,
});
const put = (id: string, data: string, over?: string | null): RowChange => ({
  kind: "record.put",
  record: record(id, data),
  ...(over !== undefined && { over }),
});
const keep = (id: string, data: string): RowChange => ({ kind: "record.keep", record: record(id, data) });

/** Changes of records that depend on what is there. */
export function recordsConformance(make: MakeStore): void {
  test("one that is taken for another is not changed, and nothing else of its operation happens", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, append(null, [], [put("a", "1", null), put("b", "1")]));
    const all = [record("a", "1"), record("b", "1")];
    expect(
      await commit(
        store,
        append(null, [], [put("b", "2"), put("a", "2", null)]),
        append(null, [], [put("b", "2"), put("a", "2", "0")]),
        append(null, [], [put("b", "2"), put("none", "2", "1")]),
        append(null, [], [put("b", "2"), { kind: "record.drop", collection: "c", id: "a", over: "0" }]),
        append(null, [], [{ kind: "record.drop", collection: "c", id: "none", over: "0" }]),
      ),
    ).toEqual([CHANGED, CHANGED, CHANGED, CHANGED, CHANGED]);
    expect(await store.records("c")).toEqual(all);
    await commitAll(store, append(null, [], [put("a", "2", "1"), put("a", "3", "2")]));
    expect(await store.record("c", "a")).toEqual(record("a", "3"));
    await commitAll(store, append(null, [], [{ kind: "record.drop", collection: "c", id: "a", over: "3" }]));
    expect(await store.records("c")).toEqual([record("b", "1")]);
  });

  test("one that is kept is made where there is none", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, append(null, [], [keep("a", "1")]), append(null, [], [keep("a", "2")]));
    expect(await store.records("c")).toEqual([record("a", "1")]);
  });

  test("one is dropped only while its session is where it was", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const dropAt = (id: string, head: number) =>
      append(null, [], [{ kind: "record.drop", collection: "c", id, at: { session: "ses_a", head } }]);
    await commitAll(store, create("ses_a", {}, [keep("a", "1")]));
    // What grows in the same group counts.
    expect(await commit(store, append("ses_a", [event("x")], [keep("a", "2")]), dropAt("a", 1))).toEqual([
      ok(2),
      CHANGED,
    ]);
    expect(await store.record("c", "a")).toEqual(record("a", "1"));
    await commitAll(store, append("ses_a", [event("x")]));
    expect(await commit(store, dropAt("a", 2))).toEqual([CHANGED]);
    await commitAll(store, dropAt("a", 3), dropAt("a", 3));
    expect(await store.record("c", "a")).toBeNull();
    // A session that is not there grows no more.
    const nowhere = { session: "ses_none", head: 7 };
    await commitAll(
      store,
      append(null, [], [keep("b", "1")]),
      append(null, [], [{ kind: "record.drop", collection: "c", id: "b", at: nowhere }]),
    );
    expect(await store.records("c")).toEqual([]);
  });
}
