import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { SQL } from "bun";
import type { Peers } from "../../src/core/cluster.ts";
import type { Store } from "../../src/core/store.ts";
import { eventually } from "../gateway/stack.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { postgresStore } from "./store.postgres.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

setDefaultTimeout(60_000);
/** What nodes have to answer in, where they do. */
const LONG_MS = 30_000;

interface TestNode {
  readonly store: Store;
  readonly peers: Peers;
  /** What it was told. */
  readonly told: unknown[];
}

async function startPeers(names: readonly string[]) {
  const stack = new AsyncDisposableStack();
  const database = stack.use(await testDatabase());
  const sql = new SQL(database.url, { max: 1 });
  stack.defer(() => sql.close({ timeout: 1 }));
  const nodes: TestNode[] = [];
  const add = async (node_id: string): Promise<TestNode> => {
    const directory = stack.use(await temporaryDirectory());
    const { store } = postgresStore(database.url, directory.path, { node_id });
    stack.defer(() => store.close());
    await store.open();
    const { cluster } = store;
    if (cluster === undefined) throw new Error("no store that nodes share");
    const told: unknown[] = [];
    cluster.peers.onTold((body) => told.push(body));
    const node = { store, peers: cluster.peers, told };
    nodes.push(node);
    return node;
  };
  for (const name of names) await add(name);
  // Everybody hears everybody.
  for (const { peers } of nodes)
    await eventually(
      () => peers.ask("are you there?", 1_000),
      ({ answers }) => answers.length === names.length - 1,
    );
  const node = (at: number): TestNode => {
    const found = nodes[at];
    if (found === undefined) throw new Error(`there is no node ${at}`);
    return found;
  };
  /** Whether anybody may connect anew. */
  const admit = async (may: boolean): Promise<void> => {
    const { pathname } = new URL(database.url);
    await using other = new SQL(Object.assign(new URL(database.url), { pathname: "/postgres" }).href, {
      max: 1,
    });
    await other.unsafe(`ALTER DATABASE "${pathname.slice(1)}" ALLOW_CONNECTIONS ${may}`);
  };
  return { node, add, sql, admit, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Notifications of a channel that a connection of its own hears. */
async function listen(url: SQL, heard: string[]): Promise<void> {
  await url.listen("agentbus_peers", (payload) => void heard.push(payload));
}

describe.skipIf(!hasPostgres)("what nodes say to one another", () => {
  test("is told to every other node, in order, whatever its length", async () => {
    await using nodes = await startPeers(["a", "b", "c"]);
    const long = "☃\u0000\ud800x".repeat(10_000);
    const said = [1, { text: "two" }, long, [4], long, null, "7"];
    for (const each of said) nodes.node(0).peers.tell(each);
    for (const other of [1, 2]) {
      const { told } = nodes.node(other);
      await eventually(
        () => told.length,
        (length) => length === said.length,
      );
      expect(told).toEqual(JSON.parse(JSON.stringify(said)));
    }
    expect(nodes.node(0).told).toEqual([]);
    // What was long goes away again.
    const count = async (): Promise<number> =>
      Number((await nodes.sql`SELECT count(*) AS n FROM agentbus.parcels`)[0].n);
    expect(await count()).toBeGreaterThan(0);
    await nodes.node(0).store.expire(0, 1_000);
    expect(await count()).toBeGreaterThan(0);
    await nodes.sql`UPDATE agentbus.parcels SET made_at = made_at - interval '61 seconds'`;
    await nodes.node(0).store.expire(0, 1_000);
    expect(await count()).toBe(0);
  });

  test("is asked of every other node: each answers by its name, in any order", async () => {
    await using nodes = await startPeers(["a", "b", "c"]);
    const long = "n".repeat(100_000);
    nodes.node(1).peers.onAsked((body) => ({ asked: body, long }));
    nodes.node(2).peers.onAsked(async (body) => {
      await Bun.sleep(20);
      return { asked: body };
    });
    const { answers, missing } = await nodes.node(0).peers.ask({ q: 1 }, LONG_MS);
    expect(missing).toEqual([]);
    expect(answers.toSorted((x, y) => (x.node < y.node ? -1 : 1))).toEqual([
      { node: "b", body: { asked: { q: 1 }, long } },
      { node: "c", body: { asked: { q: 1 } } },
    ]);
    expect(nodes.node(0).store.cluster?.name()).toBe("a");
  });

  test("names those that live and say nothing in time", async () => {
    await using nodes = await startPeers(["a", "b", "c"]);
    nodes.node(1).peers.onAsked(() => "here");
    nodes.node(2).peers.onAsked(() => new Promise(() => undefined));
    expect(await nodes.node(0).peers.ask("who?", 1_000)).toEqual({
      answers: [{ node: "b", body: "here" }],
      missing: ["c"],
    });
    nodes.node(2).peers.onAsked(() => Promise.reject(new Error("cannot")));
    expect((await nodes.node(0).peers.ask("who?", 500)).missing).toEqual(["c"]);
    // One that stopped is not waited for.
    await nodes.node(2).store.close();
    expect(await nodes.node(0).peers.ask("who?", LONG_MS)).toEqual({
      answers: [{ node: "b", body: "here" }],
      missing: [],
    });
  });

  test("waits no longer where the answer goes to a connection that is gone, and is heard on the next", async () => {
    await using nodes = await startPeers(["a", "b"]);
    const { peers } = nodes.node(0);
    const asked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    nodes.node(1).peers.onAsked(async () => {
      asked.resolve();
      await goOn.promise;
      return "late";
    });
    const asking = peers.ask("who?", 2_000);
    await asked.promise;
    const listening = (): Promise<unknown[]> =>
      nodes.sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query ILIKE 'listen%' AND datname = current_database()`;
    await nodes.sql.connect();
    await nodes.admit(false);
    expect(await listening()).toHaveLength(2);
    await eventually(listening, ({ length }) => length === 0);
    goOn.resolve();
    expect(await asking).toEqual({ answers: [], missing: ["b"] });
    await nodes.admit(true);
    await eventually(
      () => peers.ask("again?", 1_000),
      ({ answers, missing }) => answers[0]?.body === "late" && missing.length === 0,
      30_000,
    );
  });

  test("costs as few notifications as there can be, and nothing where there is nobody else", async () => {
    await using nodes = await startPeers(["a"]);
    const heard: string[] = [];
    await listen(nodes.sql, heard);
    const { peers } = nodes.node(0);
    for (let n = 0; n < 100; n++) peers.tell(n);
    expect(await peers.ask("anybody?", LONG_MS)).toEqual({ answers: [], missing: [] });
    const b = await nodes.add("b");
    await eventually(
      () => peers.ask("are you there?", 1_000),
      ({ answers }) => answers.length === 1,
    );
    let asked = 0;
    b.peers.onAsked((body) => {
      if (body === "same") asked++;
      return asked;
    });
    heard.length = 0;
    for (let n = 0; n < 2_000; n++) peers.tell({ n });
    const all = await Promise.all(Array.from({ length: 200 }, () => peers.ask("same", LONG_MS)));
    await eventually(
      () => b.told.length,
      (length) => length === 2_000,
    );
    expect(b.told).toEqual(Array.from({ length: 2_000 }, (_, n) => ({ n })));
    // The first one goes at once, what comes meanwhile with the next.
    expect(heard.length).toBeLessThan(10);
    expect(asked).toBeLessThan(5);
    expect(new Set(all.map(({ missing }) => missing.length))).toEqual(new Set([0]));
  });

  test("is heard once, where it was sent again because nobody knew", async () => {
    await using nodes = await startPeers(["a", "b"]);
    const heard: string[] = [];
    await listen(nodes.sql, heard);
    nodes.node(0).peers.tell("once");
    await eventually(
      () => nodes.node(1).told.length,
      (length) => length === 1,
    );
    const [payload = ""] = heard.filter((each) => each.includes("once"));
    await nodes.sql`SELECT pg_notify('agentbus_peers', ${payload})`;
    await nodes.sql`SELECT pg_notify('agentbus_peers', 'x 1 * [{"tell')`;
    await nodes.sql`SELECT pg_notify('agentbus_peers', '')`;
    nodes.node(0).peers.tell("after");
    await eventually(
      () => nodes.node(1).told.includes("after"),
      (is) => is,
    );
    expect(nodes.node(1).told).toEqual(["once", "after"]);
  });
});
