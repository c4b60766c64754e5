import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
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
  /** Before anybody is asked to stop: throws where this process could not take the place. */
  readonly check?: () => void;
}

/**
 * As `takeLock`, but asks the gateway that holds the directory to stop, once, and waits until it has. A command that holds it,
 * such as a restore, is waited for and left alone.
 * @throws GatewayError UNAVAILABLE {kind:"locked"} where it may not be asked, or holds it still after `ms`; what `check` throws
 */
export async function takeLockOver({ data_dir, ms, clock, log, check }: TakeoverOptions): Promise<Lock> {
  const until = clock.monotonic() + ms;
  for (let asked = false, waits = false; ;) {
    try {
      return takeLock(data_dir, process.pid);
    } catch (error) {
      if (!isLocked(error) || clock.monotonic() >= until) throw error;
      const { pid } = error.details as { pid?: number };
      if (!asked && pid !== undefined && isGateway(pid, data_dir)) {
        check?.();
        ask(error, pid, data_dir, log);
        asked = true;
      } else if (!asked && !waits) {
        log.info(
          { pid, data_dir },
          "another agentbus process that is no running gateway has the data directory: waiting for it",
        );
        waits = true;
      }
    }
    await new Promise<void>((resolve) => clock.after(TRY_MS, resolve));
  }
}

/** Whether the process is a gateway that listens: it says so in the data directory, and is of whom that belongs to. */
function isGateway(pid: number, data_dir: string): boolean {
  try {
    const said = JSON.parse(readFileSync(join(data_dir, "gateway.json"), "utf8")) as { pid?: unknown };
    return said.pid === pid && isOwners(pid, data_dir);
  } catch {
    // It does not listen yet, or any more.
    return false;
  }
}

/** What is in a directory of somebody else's makes root stop nobody but them. */
function isOwners(pid: number, data_dir: string): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return true;
  try {
    return statSync(`/proc/${pid}`).uid === statSync(data_dir).uid;
  } catch {
    // In a container of its own: it cannot be asked, which is told.
    return true;
  }
}

/** SIGTERM, as whoever looks after a process sends it: it drains and stops. */
function ask(error: GatewayError, pid: number, data_dir: string, log: Logger): void {
  if (process.platform === "win32") throw error;
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
