import { SQL } from "bun";
import { testCluster } from "../test/support/postgres.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { nowMicros, pause, until } from "./support/clock.ts";
import type { NodeLoad } from "./support/cluster-load.ts";
import type { GatewayProcess } from "./support/gateway.ts";
import { order } from "./support/model.ts";
import { ms, quantiles, round } from "./support/numbers.ts";
import { cpuSeconds, settledBytes } from "./support/process.ts";
import { openRpc, pool } from "./support/rpc.ts";

const AIM_P50_MS = 10;
const AIM_P99_MS = 50;
const PACE_MS = 20;
/** Nodes that start at once have to be ready before any of them writes. */
const READY_MS = 8_000;
/** A server counts what a connection did up to ten seconds later. */
const COUNTED_MS = 11_000;

type Pair = readonly [GatewayProcess, GatewayProcess];

/** Several nodes on one PostgreSQL that syncs to disk, beside one node on SQLite in the same run. */
export async function cluster(bench: Bench): Promise<Figure[]> {
  const server = await testCluster({ fsync: "on", full_page_writes: "on" });
  const figures: Figure[] = [];
  const model = await bench.model();
  await using database = await server.database();
  const start = (lease_secs: number, url: string): Promise<GatewayProcess> =>
    bench.gateway({
      model: model.url,
      env: { AGENTBUS_STORAGE_URL: url, AGENTBUS_CLUSTER_LEASE_SECS: String(lease_secs) },
    });
  const pair: Pair = [await start(15, database.url), await start(15, database.url)];
  bench.say("delivery");
  figures.push(...(await delivery(bench, pair)));
  bench.say("idle subscriptions");
  figures.push(await idle(bench, pair, database.url));
  bench.say("a node that is killed");
  figures.push(await killed(pair, 15));
  await Promise.all(pair.map((node) => node.stop()));
  await using another = await server.database();
  figures.push(await killed([await start(6, another.url), await start(6, another.url)], 6));
  bench.say("writing");
  const counts = [1, 2, 3] as const;
  const alone = await writing(bench, 1, null);
  for (const count of counts) {
    await using fresh = await server.database();
    const all = await writing(bench, count, fresh.url);
    figures.push({
      what: `events a second through one PostgreSQL, ${count} ${count === 1 ? "node" : "nodes"}, each acknowledged`,
      figure: `${round(all.per_second)}/s, p50 ${ms(all.p50)}`,
      against: `${(all.per_second / alone.per_second).toFixed(2)}× of ${round(alone.per_second)}/s, one node on SQLite`,
      data: { ...all, sqlite: alone },
    });
  }
  return figures;
}

/** From the request to append until a subscriber has the event. */
async function delivery(bench: Bench, [a, b]: Pair): Promise<Figure[]> {
  const single = await bench.gateway();
  const count = bench.pick(300, 80);
  const [there, here, sqlite] = [
    await delivered(a, b, count),
    await delivered(a, a, count),
    await delivered(single, single, count),
  ];
  await single.stop();
  const [far, near, file] = [there, here, sqlite].map((each) => quantiles(each.delivered));
  const acked = quantiles(there.acked);
  if (far === undefined || near === undefined || file === undefined) throw new Error("nothing was measured");
  return [
    {
      what: "from an append to its event at another node",
      figure: `p50 ${ms(far.p50)}, p99 ${ms(far.p99)}`,
      against:
        `at the same node p50 ${ms(near.p50)}, p99 ${ms(near.p99)}, acknowledged p50 ${ms(acked.p50)}; ` +
        `one node on SQLite p50 ${ms(file.p50)}, p99 ${ms(file.p99)}`,
      aim: `p50 < ${AIM_P50_MS} ms, p99 < ${AIM_P99_MS} ms`,
      held: far.p50 < AIM_P50_MS && far.p99 < AIM_P99_MS,
      data: { there_ms: far, here_ms: near, sqlite_ms: file, acked_ms: acked, count },
    },
  ];
}

async function delivered(writer: GatewayProcess, reader: GatewayProcess, count: number) {
  const times: number[] = [];
  const acked: number[] = [];
  const from = await openRpc(writer.socketUrl, writer.token);
  const to = await openRpc(reader.socketUrl, reader.token, (text) => {
    const stamp = /"content":"at (\d+)"/.exec(text)?.[1];
    if (stamp !== undefined && text.includes('"event":"message.created"'))
      times.push((nowMicros() - Number(stamp)) / 1_000);
  });
  const { session_id } = await from.request<{ session_id: string }>("session.create", {});
  await from.request("chat.inject", { session_id, role: "user", content: "first" });
  await to.request("session.subscribe", { session_id });
  for (let sent = -10; sent < count; sent++) {
    const before = times.length;
    const began = performance.now();
    const content = `at ${Math.round(nowMicros())}`;
    await from.request("chat.inject", { session_id, role: "user", content });
    acked.push(performance.now() - began);
    await until(() => times.length > before, "the delivery of an event");
    // The first ones warm both sides up.
    if (sent < 0) times.length = acked.length = 0;
    await pause(PACE_MS);
  }
  from.close();
  to.close();
  return { delivered: times, acked };
}

/** What subscriptions cost at a node that has none of their sessions, while nothing happens in them. */
async function idle(bench: Bench, [a, b]: Pair, url: string): Promise<Figure> {
  const count = bench.pick(4_000, 2_000);
  const seconds = bench.pick(10, 4);
  using sql = new Counter(url);
  const rest = async () => {
    await pause(COUNTED_MS);
    const [cpu, queries] = [cpuSeconds(b.pid), await sql.transactions()];
    await pause(seconds * 1_000);
    return {
      cpu: (cpuSeconds(b.pid) - cpu) / seconds,
      queries: ((await sql.transactions()) - queries) / seconds,
    };
  };
  const made = await openRpc(a.socketUrl, a.token);
  const ids: string[] = [];
  await pool(count, 12, async () => {
    const { session_id } = await made.request<{ session_id: string }>("session.create", {});
    ids.push(session_id);
  });
  const before = await rest();
  const bytes = await settledBytes(b.pid);
  const sockets = await Promise.all(
    Array.from({ length: Math.ceil(count / 50) }, () => openRpc(b.socketUrl, b.token)),
  );
  await pool(count, 32, (at) =>
    sockets[at % sockets.length]!.request("session.subscribe", { session_id: ids[at] }),
  );
  const after = await rest();
  const each = ((await settledBytes(b.pid)) - bytes) / count;
  for (const socket of [...sockets, made]) socket.close();
  return {
    what: `an idle subscription at a node that has not its session, of ${count.toLocaleString("en-US")}`,
    figure: `${round(each / 1_024)} KiB, ${(((after.cpu - before.cpu) * 1e6) / count).toFixed(1)} µs of a core a second`,
    against: `${round(after.queries - before.queries)} transactions a second for all of them; both nodes without: ${round(before.queries)}`,
    data: { count, bytes: each, before, after },
  };
}

/** From SIGKILL of the node that has a session until a reader at another one is told the end of its run. */
async function killed([a, b]: Pair, lease_secs: number): Promise<Figure> {
  const from = await openRpc(a.socketUrl, a.token);
  const sent = await from.request<{ session_id: string }>("chat.send", {
    message: order({ tokens: 100_000, pace_ms: 50 }),
  });
  let [seen, ended] = [0, 0];
  const to = await openRpc(b.socketUrl, b.token, (text) => {
    if (text.includes('"event":"message.delta"')) seen++;
    if (text.includes('"event":"run.interrupted"')) ended = performance.now();
  });
  await to.request("session.subscribe", { session_id: sent.session_id });
  await until(() => seen > 3, "the first tokens");
  process.kill(a.pid, "SIGKILL");
  const began = performance.now();
  await until(() => ended > 0, "the take-over", 120_000);
  from.close();
  to.close();
  const took = (ended - began) / 1_000;
  return {
    what: `a node is killed, cluster.lease_secs ${lease_secs}: until another one has ended what it ran`,
    figure: `${took.toFixed(1)} s`,
    data: { seconds: took },
  };
}

/** So many nodes write as much as they can, all at the same time; null: one, into a file. */
async function writing(bench: Bench, count: number, url: string | null) {
  const for_ms = bench.pick(4_000, 2_000);
  const from = Date.now() + READY_MS;
  const args = [
    `--from=${from}`,
    `--ms=${for_ms}`,
    "--sessions=64",
    ...(url === null ? [] : [`--url=${url}`]),
  ];
  const loads = await Promise.all(
    Array.from({ length: count }, () => bench.script<NodeLoad>("cluster-load.ts", args)),
  );
  const per_second = loads.reduce((sum, each) => sum + each.per_second, 0);
  return { per_second, p50: Math.max(...loads.map((each) => each.commit_ms.p50)), loads };
}

/** A connection that asks how much a database did. */
class Counter implements Disposable {
  readonly #sql: SQL;

  constructor(url: string) {
    this.#sql = new SQL(url, { max: 1 });
  }

  async transactions(): Promise<number> {
    const [row] = await this.#sql.unsafe(
      "SELECT xact_commit + xact_rollback AS done FROM pg_stat_database WHERE datname = current_database()",
    );
    return Number(row.done);
  }

  [Symbol.dispose](): void {
    void this.#sql.close({ timeout: 0 });
  }
}
