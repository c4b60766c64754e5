import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import type { Clock } from "../../src/core/ports.ts";
import { postgresProxy } from "../support/postgres-proxy.ts";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import { append, commit, commitAll, create, event, key, ok, startRun } from "./store.builders.ts";
import { sharedDatabase } from "./store.postgres.ts";

// A test that is too slow has its server ended with it.
setDefaultTimeout(60_000);
const cluster = hasPostgres ? await testCluster() : null;
const elsewhere = { ok: false, reason: "elsewhere" } as const;
const load = { kind: "load", session: "ses_a" } as const;

describe.skipIf(cluster === null)("nodes", () => {
  test("several may start at once on a database that has nothing yet", async () => {
    await using database = await sharedDatabase();
    const nodes = await Promise.all([database.node(), database.node(), database.node()]);
    const opened = await Promise.all(nodes.map(({ store }) => store.open()));
    expect(new Set(opened.map(({ server_id }) => server_id)).size).toBe(1);
    await commitAll(nodes[0].store, create("ses_a"));
    expect(await nodes[1].store.session("ses_a")).toMatchObject({ head: 1 });
  });

  test("a session is one node's, and the others change nothing in it", async () => {
    await using database = await sharedDatabase();
    const [a, b] = [await database.node(), await database.node()];
    await a.store.open();
    await b.store.open();
    await commitAll(a.store, create("ses_a"));
    const group = [append("ses_a", [event("x")]), create("ses_b"), load, append(null, [], [key("k")])];
    expect(await commit(b.store, ...group)).toEqual([
      elsewhere,
      ok(1),
      elsewhere,
      expect.objectContaining({ ok: true }),
    ]);
    const trim = { kind: "trim", session: "ses_a", before: Number.MAX_SAFE_INTEGER, max_rows: 9 } as const;
    expect(await commit(b.store, trim, { kind: "erase", session: "ses_a", max_rows: 9 })).toEqual([
      elsewhere,
      elsewhere,
    ]);
    expect(await b.store.trimmable(Number.MAX_SAFE_INTEGER, 9)).toEqual(["ses_b"]);
    expect(await commit(a.store, append("ses_a", [event("x")]))).toEqual([ok(2)]);
    await a.store.close();
    expect(await commit(b.store, append("ses_a", [event("x")]))).toEqual([ok(3)]);
  });

  test("who lost a session appends nothing, and is told", async () => {
    await using database = await sharedDatabase();
    const fenced: string[] = [];
    const a = await database.node({ onFenced: (ids) => fenced.push(...ids) });
    const b = await database.node();
    await a.store.open();
    await b.store.open();
    await commitAll(a.store, create("ses_a"), create("ses_b"));
    await database.expire();
    expect(await commit(b.store, load)).toMatchObject([{ ok: true, tail: { session: { head: 1 } } }]);
    expect(await commit(b.store, append("ses_a", [event("x")]))).toEqual([ok(2)]);
    // The other is alive again and does not know of it.
    expect(await commit(a.store, append("ses_a", [event("old")]), append("ses_b", [event("x")]))).toEqual([
      elsewhere,
      ok(2),
    ]);
    expect(fenced).toEqual(["ses_a"]);
    await b.store.close();
    expect(await commit(a.store, append("ses_a", [event("old")]))).toEqual([elsewhere]);
    expect(await commit(a.store, load)).toMatchObject([{ ok: true, tail: { session: { head: 2 } } }]);
    expect(await commit(a.store, append("ses_a", [event("x")]))).toEqual([ok(3)]);
  });

  test("what a node leaves that is gone is taken over", async () => {
    await using database = await sharedDatabase();
    const a = await database.node();
    const left: unknown[] = [];
    const b = await database.node({ lease_ms: 600, onAdopted: (what) => left.push(what) });
    await a.store.open();
    expect(await b.store.open()).toMatchObject({ unended: [], deleting: [] });
    await commitAll(a.store, create("ses_a"), startRun("ses_a", "run_1"));
    await Bun.sleep(500);
    expect(left).toEqual([]);
    await database.expire();
    while (left.length === 0) await Bun.sleep(20);
    expect(left).toMatchObject([{ unended: [{ run: { run_id: "run_1", session: "ses_a" } }], deleting: [] }]);
    expect(await commit(a.store, append("ses_a", [event("x")]))).toEqual([elsewhere]);
    const c = await database.node();
    expect(await c.store.open()).toMatchObject({ unended: [] });
  });

  test("what a run goes on in is let go by nobody, whoever asks for it", async () => {
    await using database = await sharedDatabase();
    const [a, b] = [await database.node(), await database.node()];
    await a.store.open();
    await b.store.open();
    await commitAll(a.store, create("ses_a"), startRun("ses_a", "run_1"), create("ses_b"));
    await a.store.cluster?.release(["ses_a", "ses_b"]);
    await a.store.cluster?.release(null);
    expect(await commit(b.store, append("ses_a", [event("x")]), append("ses_b", [event("x")]))).toEqual([
      elsewhere,
      ok(2),
    ]);
  });

  test("the next process of a data directory need not wait for the lease of the last", async () => {
    await using database = await sharedDatabase();
    const [a, b] = [await database.node(), await database.node()];
    await a.store.open();
    await commitAll(a.store, create("ses_a"), startRun("ses_a", "run_1"));
    await copyFile(join(a.place, "node"), join(b.place, "node"));
    expect(await b.store.open()).toMatchObject({
      last_stop: "crash",
      unended: [{ run: { run_id: "run_1" } }],
    });
    expect(await commit(b.store, append("ses_a", [event("x")]))).toEqual([ok(4)]);
  });

  test("without a lease nothing is written, by whichever clock it is over", async () => {
    await using database = await sharedDatabase();
    let [ahead, later] = [0, 0];
    const clock: Clock = {
      ...systemClock,
      now: () => systemClock.now() + ahead,
      monotonic: () => systemClock.monotonic() + later,
    };
    const told: boolean[] = [];
    const a = await database.node({
      lease_clock: clock,
      lease_ms: 1_200,
      onLease: (lasts) => told.push(lasts),
    });
    await a.store.open();
    await commitAll(a.store, create("ses_a"));
    for (const jump of [() => (ahead += 3_600_000), () => (later += 1_200)]) {
      jump();
      expect(a.store.cluster?.leased()).toBe(false);
      expect(await a.store.commit([append("ses_a", [event("x")])])).toEqual({ ok: false, refused: "lease" });
      // The next renewal is by the new time.
      while (a.store.cluster?.leased() !== true) await Bun.sleep(10);
      expect(await a.store.commit([append("ses_a", [event("x")])])).toMatchObject({ ok: true });
    }
    // The server is away for longer than that.
    await database.sql.unsafe("ALTER TABLE agentbus.nodes RENAME TO hidden");
    while (told.at(-1) !== false) await Bun.sleep(20);
    await database.sql.unsafe("ALTER TABLE agentbus.hidden RENAME TO nodes");
    while (told.at(-1) !== true) await Bun.sleep(20);
    expect(await commit(a.store, append("ses_a", [event("x")]))).toEqual([ok(4)]);
  });

  test("what a node has locked that is cut off in the middle of a group is free once its lease is over", async () => {
    await using database = await sharedDatabase();
    using proxy = postgresProxy(cluster!.port);
    const far = database.url.replace(`:${cluster!.port}/`, `:${proxy.port}/`);
    const a = await database.node({ lease_ms: 1_500 }, undefined, far);
    const b = await database.node();
    await a.store.open();
    await b.store.open();
    await commitAll(a.store, create("ses_a"));
    proxy.holdCommit();
    a.store.commit([append("ses_a", [event("x")])]).catch(() => undefined);
    await Bun.sleep(500);
    await database.expire();
    const began = performance.now();
    for (let answer = await b.store.commit([load]); !answer.ok; answer = await b.store.commit([load]));
    expect(await commit(b.store, append("ses_a", [event("y")]))).toEqual([ok(2)]);
    // Not for as long as a server may say nothing, which is 30 s.
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test("the others hear which sessions grew, also after their connections were ended", async () => {
    await using database = await sharedDatabase();
    const [a, b] = [await database.node({ lease_ms: 600 }), await database.node({ lease_ms: 600 })];
    await a.store.open();
    await b.store.open();
    const heard: (readonly string[] | null)[] = [];
    b.store.cluster?.onGrown((sessions) => heard.push(sessions));
    await commitAll(a.store, create("ses_a"), create("ses_b"));
    const grows = async (id: string): Promise<void> => {
      heard.length = 0;
      while (!heard.some((sessions) => sessions?.includes(id) === true)) {
        await a.store.commit([append(id, [event("x")])]);
        await Bun.sleep(25);
      }
    };
    await grows("ses_a");
    heard.length = 0;
    await database.sql.unsafe(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    while (!heard.includes(null)) await Bun.sleep(20);
    await grows("ses_b");
  });

  test("what one user does on several nodes at once is counted once each", async () => {
    await using database = await sharedDatabase();
    const limits = { keys_per_user: 30, sessions_per_user: 10 };
    const nodes = [await database.node({ limits }), await database.node({ limits })];
    for (const { store } of nodes) await store.open();
    const answers = await Promise.all(
      nodes.map(async ({ store }, at) => {
        const all = [];
        for (let n = 0; n < 30; n++) {
          const rows = [key(`k${n}`), key(`own${at}-${n}`)];
          all.push(...(await commit(store, create(`ses_${at}_${n}`, { name: `s${n}` }, rows))));
        }
        return all;
      }),
    );
    const made = answers.flat().filter((answer) => answer.ok).length;
    expect(made).toBe(10);
    expect(await nodes[0]!.store.owners()).toEqual([{ user: "ada", sessions: 10 }]);
    const [keys] = await database.sql.unsafe(
      "SELECT count(*)::int AS rows, (SELECT key_count::int FROM agentbus.quotas) AS counted FROM agentbus.idempotency",
    );
    expect(keys).toEqual({ rows: 20, counted: 20 });
  });
});
