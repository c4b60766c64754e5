import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import { systemClock } from "../src/clock.ts";
import { WORDS_A_MESSAGE, ask, fill, vocabulary } from "../test/support/many-messages.ts";
import { createSqliteStore } from "../src/store/sqlite/store.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { quantile, round } from "./support/numbers.ts";

const AIM_MS = 50;
/** `AGENTBUS_BENCH_MESSAGES=1000000` takes about ten minutes to fill. */
const MESSAGES = Number(process.env["AGENTBUS_BENCH_MESSAGES"] ?? 0);

/** What was said is found among much: words of every frequency, one or two of them, whole or begun. */
export async function search(bench: Bench): Promise<Figure[]> {
  const count = MESSAGES || bench.pick(100_000, 20_000);
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-search-"));
  const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const limits = DEFAULT_LIMITS;
  const store = createSqliteStore({ data_dir, durability: "normal", clock: systemClock, log, limits });
  try {
    await store.open();
    const words = vocabulary();
    await fill(store, count, words);
    const began = performance.now();
    while ((await store.index(500)) > 0);
    const indexed = ((performance.now() - began) * 1_000) / count;
    const { times } = await ask(store, words);
    const sorted = times.toSorted((a, b) => a - b);
    const [p50, p99] = [quantile(sorted, 0.5), quantile(sorted, 0.99)];
    return [
      {
        what: `search among ${count.toLocaleString("en-US")} messages of ${WORDS_A_MESSAGE} words`,
        figure: `p50 ${round(p50)} ms, p99 ${round(p99)} ms; ${Math.round(indexed)} µs to index one`,
        aim: `p99 < ${AIM_MS} ms`,
        held: p99 < AIM_MS,
        data: { p50, p99, indexed },
      },
    ];
  } finally {
    await store.close();
    rmSync(data_dir, { recursive: true });
  }
}
