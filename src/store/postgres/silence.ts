import type { Clock } from "../../core/ports.ts";

/** How long a server may say nothing before it counts as gone: a link that is cut tells nobody. */
export interface Patience {
  readonly clock: Clock;
  readonly silence_ms: number;
}

/** As the task; where it takes too long `giveUp` is called, and is to make it fail. */
export async function patiently<T>(
  { clock, silence_ms }: Patience,
  task: Promise<T>,
  giveUp: () => void,
): Promise<T> {
  const cancel = clock.after(silence_ms, giveUp);
  try {
    return await task;
  } finally {
    cancel();
  }
}
