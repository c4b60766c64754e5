import type { Clock } from "./core/ports.ts";

/** The real clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, task) {
    if (ms > 0) {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    }
    // A timer of 0 is one of 1 ms: requests that are read by then would still find what was to be over.
    const soon = setImmediate(task);
    return () => clearImmediate(soon);
  },
  every(ms, task) {
    const timer = setInterval(task, ms);
    return () => clearInterval(timer);
  },
};
