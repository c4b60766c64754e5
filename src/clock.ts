import type { Clock } from "./core/ports.ts";

/** The real clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, task) {
    // What is past already is said on stderr, among the lines of the log.
    const timer = setTimeout(task, Math.max(0, ms));
    return () => clearTimeout(timer);
  },
  every(ms, task) {
    const timer = setInterval(task, ms);
    return () => clearInterval(timer);
  },
};
