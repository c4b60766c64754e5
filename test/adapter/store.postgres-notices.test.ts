import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { SQL } from "bun";
import type { RecordKey } from "../../src/core/cluster.ts";
import type { Store } from "../../src/core/store.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { GRANTS } from "../../src/core/tool-events.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { append, close, commit, commitAll, create, event, START } from "./store.builders.ts";
import { postgresStore } from "./store.postgres.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

setDefaultTimeout(60_000);
/** What is promised within a second. */
const SOON_MS = 5_000;

interface Heard {
  readonly changed: readonly RecordKey[] | null;
  readonly isOwn: boolean;
}

async function pair() {
  const stack = new AsyncDisposableStack();
  const database: TestDatabase = stack.use(await testDatabase());
  const sql = new SQL(database.url, { max: 1 });
  stack.defer(() => sql.close({ timeout: 1 }));
  const node = async (): Promise<{ store: Store; heard: Heard[] }> => {
    const directory = stack.use(await temporaryDirectory());
    const { store } = postgresStore(database.url, directory.path);
    stack.defer(() => store.close());
    await store.open();
    const heard: Heard[] = [];
    store.cluster?.onRecords((changed, isOwn) => heard.push({ changed, isOwn }));
    while ((await store.cluster?.heardAll()) !== true);
    heard.length = 0;
    return { store, heard };
  };
  return { a: await node(), b: await node(), sql, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + SOON_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error("it did not happen in time");
    await Bun.sleep(5);
  }
}

const put = (id: string, collection = "c", more: { owner?: string; expires_at?: number } = {}) =>
  append(
    null,
    [],
    [{ kind: "record.put", record: { collection, id, owner: "", data: "{}", expires_at: null, ...more } }],
  );
const drop = (id: string) => append(null, [], [{ kind: "record.drop", collection: "c", id }]);
const named = (heard: readonly Heard[]): string[] =>
  heard.flatMap(({ changed }) => changed ?? []).map(({ collection, id }) => `${collection} ${id}`);

describe.skipIf(!hasPostgres)("what nodes hear of each other", () => {
  test("is not what none of them keeps, however much of it there is", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    const many = Array.from({ length: 600 }, (_, n) =>
      put(`${n}`, "challenge", { expires_at: START + 60_000 }),
    );
    await commitAll(a.store, ...many, put("t", "ticket"), put("10.0.0.1", "throttle"), put("told"));
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(b.heard).toEqual([{ changed: [{ collection: "c", id: "told" }], isOwn: false }]);
    expect(await b.store.record("ticket", "t")).not.toBeNull();
  });

  test("is every record that is put or dropped, in order, and that they did it themselves", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    await commitAll(a.store, put("1"), put("2"));
    await commitAll(b.store, drop("1"));
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(await a.store.cluster?.heardAll()).toBe(true);
    const [c1, c2] = ["1", "2"].map((id) => ({ collection: "c", id }));
    const both = [c1, c2] as RecordKey[];
    expect(b.heard).toEqual([
      { changed: both, isOwn: false },
      { changed: [c1!], isOwn: true },
    ]);
    expect(a.heard.map(({ isOwn }) => isOwn)).toEqual([true, false]);
  });

  test("is what expires, what goes with a session, and the end of the session itself", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    await commitAll(a.store, create("ses_a"), create("ses_b"));
    await commitAll(
      a.store,
      put("old", "c", { expires_at: START - 1 }),
      put("ses_a:time", GRANTS, { owner: "ses_a" }),
    );
    await b.store.cluster?.heardAll();
    b.heard.length = 0;
    await a.store.expire(START, 10);
    await commitAll(
      a.store,
      append("ses_b", [event("x")], [{ kind: "session.transfer", owner: "bob" }]),
      close("ses_a"),
    );
    await commitAll(a.store, { kind: "erase", session: "ses_a", max_rows: 100 });
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(named(b.heard)).toEqual(["c old", "session ses_b", "session ses_a", `${GRANTS} ses_a:time`]);
  });

  test("is nothing of what was not committed", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    const over = {
      kind: "record.put",
      record: { collection: "c", id: "1", owner: "", data: "{}", expires_at: null },
      over: "x",
    } as const;
    expect(await commit(a.store, append(null, [], [over]))).toMatchObject([{ ok: false }]);
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(await b.store.records("c")).toEqual([]);
  });

  test("has no gap: too many are told as all, long ids and all", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    const ids = Array.from({ length: 60 }, (_, at) => `${at} "${"ü".repeat(200)}"`);
    await commitAll(a.store, ...ids.map((id) => put(id)));
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(named(b.heard)).toEqual(ids.map((id) => `c ${id}`));
    expect(b.heard.length).toBeGreaterThan(1);
    b.heard.length = 0;
    await commitAll(a.store, ...Array.from({ length: 501 }, (_, at) => put(`n${at}`)));
    await commitAll(a.store, put("x".repeat(8_000)));
    expect(await b.store.cluster?.heardAll()).toBe(true);
    expect(b.heard).toEqual([
      { changed: null, isOwn: false },
      { changed: null, isOwn: false },
    ]);
  });

  test("begins anew after a connection was lost, however it was", async () => {
    await using nodes = await pair();
    const { a, b, sql } = nodes;
    await sql.unsafe(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'listen%' AND pid <> pg_backend_pid()",
    );
    await until(() => b.heard.some(({ changed }) => changed === null));
    b.heard.length = 0;
    await commitAll(a.store, put("1"));
    await until(() => named(b.heard).includes("c 1"));
    // It goes on with the connection that it has by then: what is looked through anew is looked through once.
    await Bun.sleep(1_500);
    b.heard.length = 0;
    await Bun.sleep(3_500);
    expect(b.heard).toEqual([]);
  });

  test("is what they say to each other, too", async () => {
    await using nodes = await pair();
    const { a, b } = nodes;
    const told: string[] = [];
    b.store.cluster?.onTold("topic", (text) => told.push(text));
    a.store.cluster?.onTold("topic", () => told.push("its own"));
    b.store.cluster?.onTold("other", () => told.push("another's"));
    a.store.cluster?.tell("topic", 'ü "1"');
    await until(() => told.length > 0);
    await a.store.cluster?.heardAll();
    expect(told).toEqual(['ü "1"']);
  });

  test("is asked for once by however many want to know that it is all", async () => {
    await using nodes = await pair();
    const { a, sql } = nodes;
    let said = 0;
    await sql.listen("agentbus_records", () => void said++);
    const all = await Promise.all(Array.from({ length: 1_000 }, () => a.store.cluster?.heardAll()));
    expect(new Set(all)).toEqual(new Set([true]));
    // Those of the others' looks are among them.
    expect(said).toBeLessThan(20);
    await a.store.close();
    expect(await a.store.cluster?.heardAll()).toBe(false);
  });
});
