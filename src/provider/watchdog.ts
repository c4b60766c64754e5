import type { Clock } from "../core/ports.ts";
import type { GatewayError } from "../protocol/errors.ts";

/** Why a call was stopped from our side. "enough": nothing more is owed to us. */
export type Stop =
  | { readonly kind: "aborted" }
  | { readonly kind: "enough" }
  | { readonly kind: "failed"; readonly error: GatewayError };

/** Thrown out of `race` once the call is stopped; `Watchdog.stopped` says why. */
export const STOPPED = new Error("stopped");

/** One call's end from our side: the caller's abort, and deadlines on what the server owes. */
export interface Watchdog {
  /** Aborted with the stop, in the same tick: what reads from the server takes this one. */
  readonly signal: AbortSignal;
  readonly stopped: Stop | null;
  /** The first one counts. */
  stop(reason: Stop): void;
  /** Settles as `work` does, or rejects with STOPPED at once when the call is stopped. One at a time. */
  race<T>(work: Promise<T>): Promise<T>;
  /** Stops with `reason()` unless `rest` or another `expect` comes before `due` (monotonic ms; Infinity: never). */
  expect(due: number, reason: () => Stop): void;
  /** Nothing is owed now: the reader of the stream is the one who is waited for. */
  rest(): void;
  /** Ends the watch without touching `signal`. Idempotent. */
  close(): void;
}

export function createWatchdog(clock: Clock, caller: AbortSignal): Watchdog {
  const controller = new AbortController();
  let stopped: Stop | null = null;
  let interrupt = (): void => {};
  let due = Infinity;
  let overdue = (): Stop => ({ kind: "enough" });
  let timer = { due: Infinity, cancel: (): void => {} };

  // A timer per chunk would be most of the cost of reading one: it is moved only to an earlier time, and looks at
  // the deadline of the moment when it fires.
  function arm(at: number): void {
    timer.cancel();
    timer = { due: at, cancel: clock.after(Math.max(0, Math.ceil(at - clock.monotonic())), fire) };
  }
  function fire(): void {
    timer = { due: Infinity, cancel: () => {} };
    if (due === Infinity) return;
    if (clock.monotonic() < due) arm(due);
    else stop(overdue());
  }
  function stop(reason: Stop): void {
    if (stopped !== null) return;
    stopped = reason;
    close();
    controller.abort();
    interrupt();
  }
  function close(): void {
    timer.cancel();
    due = Infinity;
    caller.removeEventListener("abort", abort);
  }
  function abort(): void {
    stop({ kind: "aborted" });
  }

  if (caller.aborted) abort();
  else caller.addEventListener("abort", abort, { once: true });

  return {
    signal: controller.signal,
    get stopped() {
      return stopped;
    },
    stop,
    race(work) {
      return new Promise((resolve, reject) => {
        interrupt = () => reject(STOPPED);
        work.then(resolve, reject);
        if (stopped !== null) interrupt();
      });
    },
    expect(at, reason) {
      if (stopped !== null) return;
      due = at;
      overdue = reason;
      if (at < timer.due) arm(at);
    },
    rest() {
      due = Infinity;
    },
    close,
  };
}
