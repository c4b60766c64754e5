/** Microseconds since 1970, comparable between the processes of one machine. */
export function nowMicros(): number {
  return (performance.timeOrigin + performance.now()) * 1_000;
}

/** Not at all where the time has passed. */
export async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise<void>((resolve) => setTimeout(resolve, ms));
}

/** Resolves when the condition holds. Rejects after `timeout_ms`: whatever was awaited is lost. */
export async function until(holds: () => boolean, what: string, timeout_ms = 30_000): Promise<void> {
  const end = performance.now() + timeout_ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what} did not happen within ${timeout_ms / 1_000} s`);
    await pause(2);
  }
}
