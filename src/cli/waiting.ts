import type { Live } from "./live.ts";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_MS = 100;
/** What comes sooner needs no word. */
const QUIET_MS = 400;

/** A line that says for how long nothing has come. */
export function createWaiting(
  live: Live,
  style: (text: string) => string,
): { readonly start: () => void; readonly stop: () => void } {
  let timer: ReturnType<typeof setInterval> | null = null;
  const stop = (): void => {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    live.show([]);
  };
  const start = (): void => {
    if (timer !== null) return;
    const began = performance.now();
    timer = setInterval(() => {
      const ms = performance.now() - began;
      if (ms < QUIET_MS) return;
      const frame = FRAMES[Math.floor(ms / FRAME_MS) % FRAMES.length] ?? "";
      live.show([style(`${frame} ${Math.floor(ms / 1_000)} s`)]);
    }, FRAME_MS);
  };
  return { start, stop };
}
