import type { Clock } from "./core/ports.ts";

/** Resolves with the work, or after `ms`: a stop has to end, storage that refuses or a reader that does not read or not. */
export async function inTime(work: Promise<unknown>, ms: number, clock: Clock): Promise<void> {
  let cancel: () => void = () => undefined;
  const over = new Promise<void>((resolve) => (cancel = clock.after(ms, resolve)));
  await Promise.race([work, over]);
  cancel();
}
