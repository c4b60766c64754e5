import type { Bench, Figure } from "./support/bench.ts";
import type { JournalResult } from "./support/journal-load.ts";
import { ms, ratioText, ratios, spread, withRange } from "./support/numbers.ts";

/** Events through the journal into SQLite, in this durability and that; in a process of its own. */
export async function journal(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const durability of ["full", "normal"] as const) {
    const result = await bench.script<JournalResult>("journal-load.ts", [
      `--durability=${durability}`,
      `--rounds=${bench.pick(5, 2)}`,
      `--round_ms=${bench.pick(1_500, 800)}`,
    ]);
    const { per_second, raw_per_second, commit_ms, lag_ms, idle_lag_ms } = result;
    const against = ratios(per_second, raw_per_second);
    figures.push({
      what: `events through the journal, durability ${durability}, each acknowledged`,
      figure: `${withRange(spread(per_second), "/s")}, p50 ${ms(commit_ms.p50)}, p99 ${ms(commit_ms.p99)}`,
      against: `${ratioText(against)} of bare inserts, 512 a transaction`,
      data: { ...result, against },
    });
    figures.push({
      what: `event loop lag meanwhile, durability ${durability}`,
      figure: `p50 ${ms(lag_ms.p50)}, p99 ${ms(lag_ms.p99)}, most ${ms(lag_ms.max)}`,
      against: `idle p50 ${ms(idle_lag_ms.p50)}, p99 ${ms(idle_lag_ms.p99)}`,
    });
  }
  return figures;
}
