import type { Clock, Logger } from "../../core/ports.ts";
import { GatewayError } from "../../protocol/errors.ts";
import type { Lock } from "./lock.ts";
import { isLocked, takeLock } from "./lock.ts";

/** How often the lock is tried: what a client waits more than it must. */
const TRY_MS = 20;

export interface TakeoverOptions {
  readonly data_dir: string;
  /** Longest wait for the process that holds the directory to stop. */
  readonly ms: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * As `takeLock`, but asks the process that holds the directory to stop, once, and waits until it has.
 * @throws GatewayError UNAVAILABLE {kind:"locked"} where it may not be asked, or holds it still after `ms`
 */
export async function takeLockOver({ data_dir, ms, clock, log }: TakeoverOptions): Promise<Lock> {
  const until = clock.monotonic() + ms;
  for (let asked = false; ; asked = true) {
    try {
      return takeLock(data_dir, process.pid);
    } catch (error) {
      if (!isLocked(error) || clock.monotonic() >= until) throw error;
      if (!asked) ask(error, data_dir, log);
    }
    await new Promise<void>((resolve) => clock.after(TRY_MS, resolve));
  }
}

/** SIGTERM, as whoever looks after a process sends it: it drains and stops. */
function ask(error: GatewayError, data_dir: string, log: Logger): void {
  const { pid } = error.details as { pid?: number };
  if (process.platform === "win32" || pid === undefined) throw error;
  try {
    // Of a container of its own, where that is what it is called, too: it would be this process that stops.
    if (pid === process.pid) throw Object.assign(new Error("its pid is ours"), { code: "ESRCH" });
    process.kill(pid, "SIGTERM");
    log.info({ pid, data_dir }, "asked the gateway that runs to stop, and waiting for it");
  } catch (failure) {
    const { code } = failure as NodeJS.ErrnoException;
    if (code === "EPERM") {
      const message = `${data_dir} is in use by pid ${pid}, which this user may not stop: run the takeover as its user`;
      throw new GatewayError("UNAVAILABLE", message, { details: { kind: "locked", pid }, cause: failure });
    }
    // In a container of its own, or gone at this moment.
    log.warn({ pid, data_dir }, "the gateway that runs cannot be asked from here: waiting until it stops");
  }
}
