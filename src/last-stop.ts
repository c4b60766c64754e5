import type { Logger } from "./core/ports.ts";
import type { OpenedStore } from "./core/store.ts";

/** What the last process left, and what was done about it. */
export function tellLastStop({ last_stop, unended, upgraded }: OpenedStore, log: Logger): void {
  if (upgraded !== undefined) log.info(upgraded, "the database was brought up to date; it is kept as it was");
  if (last_stop === "clean") return;
  log.warn({ last_stop, runs: unended.length }, "the last process did not stop cleanly");
}
