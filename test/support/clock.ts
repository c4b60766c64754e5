import type { Clock } from "../../src/core/ports.ts";

export interface ManualClock extends Clock {
  /** Lets `ms` pass: what falls due runs on the way, in order, each at its own time. */
  advance(ms: number): void;
  /** Sets the wall clock off by `ms`, as a correction or a suspended machine does; nothing falls due by itself. */
  jump(ms: number): void;
  /** Timers that are waiting. */
  readonly pending: number;
}

interface Timer {
  due: number;
  readonly task: () => void;
  /** Null: once. */
  readonly every: number | null;
}

/** A clock that only moves when it is told to. @param start milliseconds since 1970 */
export function manualClock(start = 1_763_776_800_000): ManualClock {
  const timers = new Set<Timer>();
  let elapsed = 0;
  let offset = start;

  function wait(ms: number, task: () => void, every: number | null): () => void {
    const timer: Timer = { due: elapsed + Math.max(0, ms), task, every };
    timers.add(timer);
    return () => void timers.delete(timer);
  }

  function nextBy(end: number): Timer | null {
    let next: Timer | null = null;
    for (const timer of timers) {
      if (timer.due <= end && (next === null || timer.due < next.due)) next = timer;
    }
    return next;
  }

  return {
    now: () => offset + elapsed,
    monotonic: () => elapsed,
    after: (ms, task) => wait(ms, task, null),
    every: (ms, task) => wait(Math.max(1, ms), task, Math.max(1, ms)),
    advance(ms) {
      const end = elapsed + ms;
      for (let timer = nextBy(end); timer !== null; timer = nextBy(end)) {
        elapsed = timer.due;
        if (timer.every === null) timers.delete(timer);
        else timer.due += timer.every;
        timer.task();
      }
      elapsed = end;
    },
    jump(ms) {
      offset += ms;
    },
    get pending() {
      return timers.size;
    },
  };
}
