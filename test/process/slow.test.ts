import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Message, Run } from "../../src/protocol/entities.ts";
import type { CutProxy } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { Transport, Watcher, WatcherOptions } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import type { Answered } from "./sender.ts";
import { Crowd } from "./crowd.ts";
import { call, readLog } from "./direct.ts";
import { flood } from "./flood.ts";

const READERS = 49;
const MIB = 1_024 * 1_024;

let model: ModelServer;
let gateway: RunningGateway;
const proxies: CutProxy[] = [];

beforeAll(async () => {
  model = await startModelServer({ keep: false });
  gateway = await startGateway({
    config: {
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url() } },
      },
      // What is needed is made as fast as it can be.
      limits: { mutations_per_second: 100_000, mutations_burst: 100_000 },
    },
  });
});
afterAll(async () => {
  for (const proxy of proxies) proxy.stop();
  await gateway[Symbol.asyncDispose]();
  model.stop();
});

interface Stats {
  readonly slow_consumers: number;
  readonly memory_usage: number;
}
const stats = (): Promise<Stats> => call<Stats>(gateway, "system.stats");

function watch(session_id: string, name: string, more: Partial<WatcherOptions> = {}): Watcher {
  const { token } = gateway;
  return startWatcher({ name, session_id, token, route: () => gateway.url, stall_ms: 120_000, ...more });
}

/** A reader behind a proxy of its own, with no more room in the kernel than a network leaves. */
function watchThrough(
  session_id: string,
  name: string,
  more: Partial<WatcherOptions> = {},
): { readonly watcher: Watcher; readonly proxy: CutProxy } {
  const proxy = startCutProxy({ target: () => gateway.address, narrow: true });
  proxies.push(proxy);
  const through = { route: () => `http://${proxy.address}`, headers: { host: gateway.address } };
  return { watcher: watch(session_id, name, { ...through, ...more }), proxy };
}

interface Noticed {
  /** How late the others hear of things without and with a reader that does not read, ms. */
  readonly without: number;
  readonly during: number;
  /** Memory of the gateway while it waited, beyond what it had before, MiB. */
  readonly grown: number;
}

/** Somebody joins and never reads, until the connection is ended; then reads what is left, and continues. */
async function neverReads(crowd: Crowd, transport: Transport): Promise<Noticed> {
  await crowd.beat(80);
  const without = crowd.p99();
  const before = await stats();
  const again = Promise.withResolvers<void>();
  let connections = 0;
  const { watcher, proxy } = watchThrough(crowd.session_id, `never reads, over ${transport}`, {
    transport: () => transport,
    route: async () => {
      if (connections++ > 0) await again.promise;
      return `http://${proxies.at(-1)?.address ?? ""}`;
    },
  });
  await watcher.until(() => watcher.synced);
  proxy.throttle(0);
  let most = 0;
  await crowd.beat(80, async () => {
    const { slow_consumers, memory_usage } = await stats();
    most = Math.max(most, memory_usage);
    return slow_consumers === before.slow_consumers;
  });
  const during = crowd.p99();
  expect((await stats()).slow_consumers).toBe(before.slow_consumers + 1);

  proxy.throttle(Number.POSITIVE_INFINITY);
  await watcher.until(() => watcher.ends.length === 1);
  if (transport === "ws") expect([1006, 4030]).toContain(watcher.ends[0]?.code ?? 0);
  const log = await readLog(gateway, crowd.session_id);
  again.resolve();
  await watcher.reached(log.head);
  for (const [at, raw] of watcher.seen) expect(raw).toBe(log.raw.get(at) ?? "");
  await watcher.stop();
  return { without, during, grown: (most - before.memory_usage) / MIB };
}

for (const transport of ["ws", "sse"] as const) {
  test(
    `one that never reads among ${READERS + 1}, over ${transport}: it goes, is counted, and nobody else notices`,
    async () => {
      const crowd = new Crowd(gateway, `crowd-${transport}`);
      await crowd.gather(READERS);
      await crowd.beat(20);
      // Whoever else uses the machine is noticed too: what the slow reader does to others, it does every time.
      const rounds: Noticed[] = [];
      const calm = ({ without, during }: Noticed): boolean => during < 3 * without + 30;
      while (rounds.length < 4 && !rounds.some(calm)) rounds.push(await neverReads(crowd, transport));
      const said = rounds.map(({ without, during, grown }) =>
        [
          `p99 ${without.toFixed(1)} ms without, ${during.toFixed(1)} ms with`,
          `memory +${grown.toFixed(0)} MiB`,
        ].join(", "),
      );
      console.log(`${transport}: ${said.join("; ")}`);
      expect(rounds.some(calm)).toBe(true);
      for (const { grown } of rounds) expect(grown).toBeLessThan(64);
      for (const reader of crowd.readers) {
        expect([reader.name, reader.ends]).toEqual([reader.name, []]);
        await reader.stop();
      }
    },
    { timeout: 120_000 },
  );
}

test(
  "more at once than the fuse allows: the reader is cut off without a hole, and comes back",
  async () => {
    const session_id = "burst";
    await call(gateway, "session.create", { session_id });
    const before = (await stats()).slow_consumers;
    const other = watch(session_id, "reads");
    const { watcher, proxy } = watchThrough(session_id, "holds");
    await Promise.all([other, watcher].map((each) => each.until(() => each.synced)));
    proxy.throttle(0);
    const content = "y".repeat(100_000);
    await flood(
      gateway,
      60,
      () => ({ method: "chat.inject", params: { session_id, role: "user", content } }),
      1,
    );
    while ((await stats()).slow_consumers === before) await Bun.sleep(20);
    proxy.throttle(Number.POSITIVE_INFINITY);
    const log = await readLog(gateway, session_id);
    await Promise.all([other, watcher].map((each) => each.reached(log.head)));
    expect([1006, 4030]).toContain(watcher.ends[0]?.code ?? 0);
    expect(other.ends).toEqual([]);
    for (const { seen } of [other, watcher]) {
      expect(seen.size).toBe(log.head - 1);
      for (const [at, raw] of seen) expect(raw).toBe(log.raw.get(at) ?? "");
    }
    await Promise.all([other.stop(), watcher.stop()]);
  },
  { timeout: 60_000 },
);

const SLOW_BYTES_PER_SEC = 16 * 1_024;
/** Longer than a reader may be stuck (slow_stuck_secs), and then some. */
const SLOW_SECS = 20;

interface SlowCase {
  readonly name: string;
  readonly transport: Transport;
  readonly more: Partial<WatcherOptions>;
}
const SLOW_CASES: readonly SlowCase[] = (["ws", "sse"] as const).flatMap((transport) => [
  { name: `${transport}, joining`, transport, more: {} },
  { name: `${transport}, the whole log`, transport, more: { catch_up: "log" } },
]);

test(
  "sockets of 16 KB/s on long sessions: none is too slow, and all reach session.synced",
  async () => {
    // In one session the newest message is long; in the other it is long, full of what JSON escapes, and being written.
    const sessions = { plain: "long-plain", open: "long-open" };
    const forty = "a line of forty kilobytes, one of two hundred of them. ".repeat(728);
    for (const session_id of Object.values(sessions)) {
      await call(gateway, "session.create", { session_id });
      const params = { session_id, role: "user", content: forty };
      await flood(gateway, 200, () => ({ method: "chat.inject", params }), 1);
    }
    model.reply().text("plain words without end ".repeat(20_833), { chunks: 500 });
    const plain = await ask(sessions.plain);
    expect((await call<Run>(gateway, "run.wait", { run_id: plain.run_id })).status).toBe("completed");
    const said = 'A line of "code", with what JSON escapes.\n'.repeat(9_700);
    model
      .reply()
      .text(said, { chunks: 500 })
      .wait(SLOW_SECS * 1_000)
      .text(" end");
    const open = await ask(sessions.open);
    await model.waitForRequests(2);
    await written(sessions.open, said.length);

    const before = (await stats()).slow_consumers;
    const readers = Object.values(sessions).flatMap((session_id) =>
      SLOW_CASES.map(({ name, transport, more }) => {
        const start = more.catch_up === "log" ? { start: cursors.get(session_id) ?? "start" } : {};
        const options = { ...more, ...start, transport: () => transport } as Partial<WatcherOptions>;
        const reader = watchThrough(session_id, `${session_id}, ${name}`, options);
        reader.proxy.throttle(SLOW_BYTES_PER_SEC);
        return reader;
      }),
    );
    const since = performance.now();
    while (performance.now() - since < SLOW_SECS * 1_000) {
      for (const { watcher } of readers) expect([watcher.name, watcher.ends]).toEqual([watcher.name, []]);
      // It goes on meanwhile.
      for (const session_id of Object.values(sessions)) {
        await call(gateway, "event.send", { session_id, event: "app.on", payload: {}, durable: true });
      }
      await Bun.sleep(500);
    }
    for (const { proxy } of readers) proxy.throttle(4 * MIB);
    expect((await call<Run>(gateway, "run.wait", { run_id: open.run_id })).status).toBe("completed");
    const watchers = readers.map(({ watcher }) => watcher);
    for (const session_id of Object.values(sessions)) await compare(session_id, watchers);
    expect((await stats()).slow_consumers).toBe(before);
    await Promise.all(watchers.map((watcher) => watcher.stop()));
  },
  { timeout: 120_000 },
);

const cursors = new Map<string, { epoch: string; seq: number }>();

async function ask(session_id: string): Promise<Answered> {
  const answer = await call<Answered>(gateway, "chat.send", { session_id, message: "say very much" });
  cursors.set(session_id, { epoch: answer.epoch, seq: 0 });
  return answer;
}

/** Waits until so much of an answer is in the log. */
async function written(session_id: string, length: number): Promise<void> {
  await using reader = watch(session_id, "waits for the answer");
  await reader.until(() => (reader.transcript.messages.at(-1)?.content.length ?? 0) >= length);
}

async function compare(session_id: string, watchers: readonly Watcher[]): Promise<void> {
  const log = await readLog(gateway, session_id);
  for (const watcher of watchers) {
    if (!watcher.name.startsWith(`${session_id},`)) continue;
    await watcher.reached(log.head, 60_000);
    expect([watcher.name, watcher.ends]).toEqual([watcher.name, []]);
    const { messages } = watcher.transcript;
    const newest = log.transcript.messages.slice(log.transcript.messages.length - messages.length);
    const texts = (list: readonly Message[]) =>
      list.map(({ message_id, status, content }) => [message_id, status, content]);
    expect(texts(messages)).toEqual(texts(newest));
    expect(messages.length).toBeGreaterThan(0);
    for (const [at, raw] of watcher.seen) expect(raw).toBe(log.raw.get(at) ?? "");
  }
}
