/** One timer for any number of waits: a thousand paced streams cost one interval. */
export interface Wheel {
  /** Calls `task` once, at or soon after `due` (milliseconds of `performance.now()`); the answer cancels it. */
  at(due: number, task: () => void): () => void;
  /** Drops every wait. */
  close(): void;
}

/** @param grain_ms how far a task may come after its due time. */
export function createWheel(grain_ms = 2): Wheel {
  const slots = new Map<number, Set<() => void>>();
  let done = slotOf(performance.now());
  let timer: ReturnType<typeof setInterval> | null = null;

  function slotOf(time: number): number {
    return Math.ceil(time / grain_ms);
  }

  function turn(): void {
    const now = Math.floor(performance.now() / grain_ms);
    while (done < now) {
      done++;
      const tasks = slots.get(done);
      slots.delete(done);
      for (const task of tasks ?? []) task();
    }
    if (slots.size === 0) close();
  }

  function close(): void {
    slots.clear();
    if (timer !== null) clearInterval(timer);
    timer = null;
  }

  return {
    at(due, task) {
      if (timer === null) {
        done = Math.floor(performance.now() / grain_ms);
        timer = setInterval(turn, grain_ms);
      }
      const slot = Math.max(slotOf(due), done + 1);
      const tasks = slots.get(slot) ?? new Set();
      slots.set(slot, tasks);
      // The task itself may be given twice; the entry may not.
      const entry = () => task();
      tasks.add(entry);
      return () => void tasks.delete(entry);
    },
    close,
  };
}
