import type { EventRun } from "../protocol/entities.ts";
import type { Measures } from "./measures.ts";
import type { Stats } from "./stats.ts";

/** Counts a run that is over. One that is not in the log, because its session is gone, has no end to count. */
export function countRun(run: EventRun, stats: Stats, { runs }: Pick<Measures, "runs">): void {
  const { status, error, started_at, ended_at } = run;
  if (status === "queued" || status === "running") return;
  stats.run(status, error?.code);
  if (started_at !== undefined && ended_at !== undefined)
    runs.observe(Math.max(0, ended_at - started_at) / 1_000);
}
