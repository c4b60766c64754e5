import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { Holdings } from "../../src/store/postgres/holdings.ts";
import { startEngine, until } from "../support/engine.ts";
import { hasPostgres } from "../support/postgres.ts";
import { append, commit, commitAll, copyOf, create, event, ok } from "./store.builders.ts";
import { sharedDatabase } from "./store.postgres.ts";

// A test that is too slow has its server ended with it.
setDefaultTimeout(60_000);
const elsewhere = { ok: false, reason: "elsewhere" } as const;
const load = { kind: "load", session: "ses_a" } as const;

interface Row {
  readonly owner_boot: string | null;
  readonly fence: number;
  readonly floor: number;
}

describe.skipIf(!hasPostgres)("the sessions a node has", () => {
  test("what nobody has is trimmed by any node and stays nobody's, also what one had that is gone", async () => {
    await using database = await sharedDatabase();
    const holdings = new Holdings();
    const [a, b] = [await database.node(), await database.node({ holdings })];
    await a.store.open();
    await b.store.open();
    const rows = async () =>
      Array.from<Row>(
        await database.sql.unsafe(
          "SELECT id, owner_boot, fence::int AS fence, floor::int AS floor FROM agentbus.sessions ORDER BY id",
        ),
      );
    await commitAll(a.store, create("ses_a"), create("ses_b"), append("ses_a", [event("x")]));
    await a.store.cluster?.release(["ses_a"]);
    const [free, own] = await rows();
    expect(free?.owner_boot).toBeNull();
    const trim = (session: string) =>
      ({ kind: "trim", session, before: Number.MAX_SAFE_INTEGER, max_rows: 9 }) as const;
    expect(await commit(b.store, trim("ses_a"), trim("ses_b"))).toEqual([
      { ok: true, floor: 2, removed: 2 },
      elsewhere,
    ]);
    expect(await rows()).toMatchObject([{ ...free, floor: 2 }, own]);
    expect(holdings.size).toBe(0);
    // Who had it goes on where it was.
    expect(await commit(a.store, append("ses_a", [event("y")]))).toEqual([ok(3)]);
    await database.expire();
    const [left, gone] = await rows();
    expect(await commit(b.store, trim("ses_a"), trim("ses_b"))).toMatchObject([{ floor: 3 }, { floor: 1 }]);
    expect(await rows()).toMatchObject([
      { ...left, floor: 3 },
      { ...gone, floor: 1 },
    ]);
    // More than that is done by whoever takes it.
    expect(await commit(b.store, trim("ses_a"), load, append("ses_a", [event("z")]))).toMatchObject([
      { ok: true },
      { ok: true },
      ok(4),
    ]);
    expect(await commit(a.store, append("ses_a", [event("old")]))).toEqual([elsewhere]);
  });

  test("a node knows of those sessions alone that it has in memory, however many it had", async () => {
    await using database = await sharedDatabase();
    const holdings = new Holdings();
    const a = await database.node({ holdings });
    const b = await database.node();
    await a.store.open();
    await b.store.open();
    const ids = Array.from({ length: 40 }, (_, n) => `ses_${n}`);
    await commitAll(a.store, ...ids.map((id) => create(id)));
    expect(holdings.size).toBe(40);
    const [first = "", second = "", ...rest] = ids;
    for (const id of rest) a.store.cluster?.forget(id);
    expect(holdings.size).toBe(2);
    // What is copied, trimmed or erased comes into nobody's memory.
    const into = ids.map((id) => `copy_${id}`);
    for (const [at, from] of ids.entries()) await commit(a.store, copyOf(from, into[at] ?? ""));
    const trim = { kind: "trim", before: Number.MAX_SAFE_INTEGER, max_rows: 9 } as const;
    await commitAll(a.store, ...ids.map((session) => ({ ...trim, session })));
    expect(holdings.size).toBe(2);
    // What another node took and this one has in memory is known, until it is in memory no more.
    await database.expire();
    await commitAll(b.store, { kind: "load", session: first }, { kind: "load", session: second });
    await commit(a.store, append(first, [event("old")]), append(second, [event("old")]));
    expect(holdings.size).toBe(2);
    await b.store.close();
    expect(await commit(a.store, append(first, [event("old")]))).toEqual([elsewhere]);
    a.store.cluster?.forget(first);
    a.store.cluster?.forget(second);
    expect(holdings.size).toBe(0);
    expect(await commit(a.store, { kind: "load", session: first })).toMatchObject([{ ok: true }]);
    expect(holdings.size).toBe(1);
  });

  test("are as many as are in memory, in a gateway that had many more", async () => {
    await using database = await sharedDatabase();
    const holdings = new Holdings();
    const { store } = await database.node({ holdings, clock: systemClock });
    const limits = { tails_idle: 8, sessions_per_user: 10_000 };
    const gateway = await startEngine({ store, limits });
    const ada = gateway.connect("ada");
    const made = 900;
    for (let n = 0; n < made; n += 100) {
      const some = Array.from({ length: 100 }, (_, at) => ({ session_id: `talk-${n + at}` }));
      await Promise.all(some.map((params) => ada.request("session.create", params)));
    }
    // Those that are idle go from memory every few hundred appends.
    await until(() => holdings.size < made / 2, "what is not in memory is forgotten");
    const inject = { session_id: "talk-0", role: "user", content: "again" };
    expect(await ada.request("chat.inject", inject)).toMatchObject({ session_id: "talk-0" });
    expect(gateway.fatal.error).toBeNull();
    ada.close();
    await gateway.close();
  });
});
