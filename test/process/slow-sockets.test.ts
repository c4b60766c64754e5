import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Message, Run } from "../../src/protocol/entities.ts";
import type { Transport, Watcher, WatcherOptions } from "../support/watcher.ts";
import type { Answered } from "./sender.ts";
import { call, readLog } from "./direct.ts";
import { flood } from "./flood.ts";
import type { SlowReaders } from "./slow.fixture.ts";
import { MIB, startSlowReaders } from "./slow.fixture.ts";

let slow: SlowReaders;
beforeAll(async () => {
  slow = await startSlowReaders();
});
afterAll(() => slow[Symbol.asyncDispose]());

test(
  "more at once than the fuse allows: the reader is cut off without a hole, and comes back",
  async () => {
    const { gateway, stats, watch, watchThrough } = slow;
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
    const { gateway, model, stats, watchThrough } = slow;
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
  const answer = await call<Answered>(slow.gateway, "chat.send", { session_id, message: "say very much" });
  cursors.set(session_id, { epoch: answer.epoch, seq: 0 });
  return answer;
}

/** Waits until so much of an answer is in the log. */
async function written(session_id: string, length: number): Promise<void> {
  await using reader = slow.watch(session_id, "waits for the answer");
  await reader.until(() => (reader.transcript.messages.at(-1)?.content.length ?? 0) >= length);
}

async function compare(session_id: string, watchers: readonly Watcher[]): Promise<void> {
  const log = await readLog(slow.gateway, session_id);
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
