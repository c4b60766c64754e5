import type { Histogram } from "./histogram.ts";
import type { Clock } from "./ports.ts";

/** Often enough that a stall of a second is seen, and seldom enough to cost nothing. */
const EVERY_MS = 500;

/** Measures how late the event loop comes to a timer, until what is answered is called. */
export function watchLoop(clock: Clock, lag: Histogram): () => void {
  let last = clock.monotonic();
  return clock.every(EVERY_MS, () => {
    const now = clock.monotonic();
    lag.observe(Math.max(0, now - last - EVERY_MS) / 1_000);
    last = now;
  });
}
