import type { Bench, Figure } from "./support/bench.ts";
import type { JournalResult } from "./support/journal-load.ts";
import { ms, ratioText, ratios, spread, withRange } from "./support/numbers.ts";

/** How many sessions the events are spread over decides how many pages of the file each commit touches. */
const LOADS = [
  { durability: "full", sessions: 64 },
  { durability: "normal", sessions: 64 },
  { durability: "normal", sessions: 1_000 },
] as const;

/** Events through the journal into SQLite; in a process of its own. */
export async function journal(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { durability, sessions } of LOADS) {
    const result = await bench.script<JournalResult>("journal-load.ts", [
      `--durability=${durability}`,
      `--sessions=${sessions}`,
      `--rounds=${bench.pick(4, 1)}`,
      `--round_ms=${bench.pick(1_200, 500)}`,
    ]);
    const { per_second, raw_per_second, commit_ms, lag_ms, idle_lag_ms } = result;
    const against = ratios(per_second, raw_per_second);
    const load = `durability ${durability}, ${sessions.toLocaleString("en-US")} sessions`;
    figures.push({
      what: `events through the journal, each acknowledged, ${load}`,
      figure: `${withRange(spread(per_second), "/s")}, p50 ${ms(commit_ms.p50)}, p99 ${ms(commit_ms.p99)}`,
      against: `${ratioText(against)} of bare inserts, 512 a transaction`,
      data: { ...result, against },
    });
    figures.push({
      what: `event loop lag meanwhile, ${load}`,
      figure: `p50 ${ms(lag_ms.p50)}, p99 ${ms(lag_ms.p99)}, most ${ms(lag_ms.max)}`,
      against: `idle p50 ${ms(idle_lag_ms.p50)}, p99 ${ms(idle_lag_ms.p99)}`,
    });
  }
  return figures;
}
