import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Transport } from "../support/watcher.ts";
import { Crowd } from "./crowd.ts";
import { readLog } from "./direct.ts";
import type { SlowReaders } from "./slow.fixture.ts";
import { MIB, startSlowReaders } from "./slow.fixture.ts";

const READERS = 49;

let slow: SlowReaders;
beforeAll(async () => {
  slow = await startSlowReaders();
});
afterAll(() => slow[Symbol.asyncDispose]());

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
  const { gateway, stats } = slow;
  const before = await stats();
  const again = Promise.withResolvers<void>();
  let connections = 0;
  const { watcher, proxy } = slow.watchThrough(crowd.session_id, `never reads, over ${transport}`, {
    transport: () => transport,
    route: async () => {
      // Also the first time not before there is a proxy.
      await (connections++ > 0 ? again.promise : null);
      return `http://${proxy.address}`;
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
      const crowd = new Crowd(slow.gateway, `crowd-${transport}`);
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
