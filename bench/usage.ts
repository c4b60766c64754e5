import type { Bench, Figure } from "./support/bench.ts";
import { round, spread, withRange } from "./support/numbers.ts";
import type { UsageResult } from "./support/usage-load.ts";

/** What it costs that a run's end accounts for a call of a model; in a process of its own. */
export async function usage(bench: Bench): Promise<Figure[]> {
  const result = await bench.script<UsageResult>("usage-load.ts", [
    `--rounds=${bench.pick(5, 2)}`,
    `--ends=${bench.pick(20_000, 5_000)}`,
  ]);
  const [full, bare] = [spread(result.with_us), spread(result.without_us)];
  return [
    {
      what: "processor time of an operation that ends a run and accounts for what it used",
      figure: withRange(full, " µs"),
      against: `without accounts ${withRange(bare, " µs")}; ${round(result.book_us)} µs before it is written`,
      data: { ...result, more_us: round(full.median - bare.median) },
    },
  ];
}
