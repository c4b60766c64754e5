import { accessSync, constants, statSync } from "node:fs";
import { backupFile, newestBackup, pruneBackups } from "./backup.ts";
import type { Config } from "./config.ts";
import type { BackupState, Clock, Logger } from "./core/ports.ts";
import type { BackupWork } from "./store/sqlite/backup-thread.ts";
import { backUpBeside } from "./store/sqlite/backup-thread.ts";

/** How often it is looked whether one is due: waits of weeks are longer than a timer takes. */
const LOOK_MS = 60_000;
/** A start has other things to do first. */
const FIRST_MS = 2_000;
/** When one that failed is tried again. */
const RETRY_MS = 15 * 60_000;
const HOUR_MS = 3_600_000;

export interface ScheduledBackups {
  /** After the store was opened. */
  start(): void;
  /** Gives up the one that is being made: the next start makes it. */
  close(): void;
  /** Null: none are configured. */
  state(): BackupState | null;
  /** Null: none are configured. */
  measures(): BackupMeasures | null;
}

interface BackupMeasures {
  readonly interval_ms: number;
  /** When the newest one was made, whoever made it; null: there is none. */
  readonly last_at: number | null;
  /** How many were made since the start, and how many failed. */
  readonly counts: Readonly<Record<"made" | "failed", number>>;
}

interface ScheduleOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  /** How one is made; default: in a thread of its own. */
  readonly make?: (data_dir: string, file: string, clock: Clock) => BackupWork;
}

/** Backups the gateway makes by itself while it runs. Whatever goes wrong with one is told, and is nobody's concern but the operator's. */
export function createScheduledBackups(options: ScheduleOptions): ScheduledBackups {
  const { directory } = options.config.backup;
  return directory === "" ? NONE : new Schedule(options);
}

const NONE: ScheduledBackups = {
  start: () => undefined,
  close: () => undefined,
  state: () => null,
  measures: () => null,
};

class Schedule implements ScheduledBackups {
  readonly #options: ScheduleOptions;
  readonly #interval_ms: number;
  readonly #counts = { made: 0, failed: 0 };
  #cancels: (() => void)[] = [];
  #work: BackupWork | null = null;
  #made_at: number | null = null;
  #failed: { readonly at: number; readonly reason: string } | null = null;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#interval_ms = options.config.backup.interval_hours * HOUR_MS;
  }

  start(): void {
    const { clock, config } = this.#options;
    this.#made_at = newestIn(config.backup.directory);
    const look = (): void => void this.#look();
    this.#cancels = [clock.after(FIRST_MS, look), clock.every(LOOK_MS, look)];
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels = [];
    this.#work?.giveUp();
  }

  state(): BackupState {
    const failed = this.#failed;
    return {
      ...(this.#made_at !== null && { last_at: this.#made_at }),
      ...(failed !== null && { failed_at: failed.at, reason: failed.reason }),
      next_at: this.#due(this.#options.clock.now()),
    };
  }

  measures(): BackupMeasures {
    return { interval_ms: this.#interval_ms, last_at: this.#made_at, counts: this.#counts };
  }

  /** What other hands made counts: the interval is that between two backups in the directory. */
  #due(now: number): number {
    const failed = this.#failed?.at ?? 0;
    if (failed > (this.#made_at ?? 0)) return failed + RETRY_MS;
    // One of the future says that a clock was wrong, not that there is time.
    return this.#made_at === null ? now : Math.min(this.#made_at, now) + this.#interval_ms;
  }

  async #look(): Promise<void> {
    if (this.#work !== null) return;
    const { config, clock, log, make = backUpBeside } = this.#options;
    const { directory, keep } = config.backup;
    const began = clock.now();
    try {
      if (this.#failed === null) this.#made_at = findNewest(directory);
      if (began < this.#due(began)) return;
      findNewest(directory);
      const file = backupFile(directory, began);
      this.#work = make(config.server.data_dir, file, clock);
      const facts = await this.#work.made;
      this.#made_at = began;
      this.#failed = null;
      this.#counts.made++;
      const removed = pruneBackups(directory, keep);
      log.info({ file, ...facts, ms: clock.now() - began, removed: removed.length }, "backed up");
    } catch (error) {
      // It was given up, not refused.
      if (this.#cancels.length === 0) return;
      const reason = error instanceof Error ? error.message : String(error);
      this.#failed = { at: began, reason };
      this.#counts.failed++;
      log.error({ directory, reason, retry_ms: RETRY_MS }, "the backup failed; it is tried again");
    } finally {
      this.#work = null;
    }
  }
}

/** Of whoever made it; null: there is none, or nobody can tell, which the first backup says. */
function newestIn(directory: string): number | null {
  try {
    return newestBackup(directory);
  } catch {
    return null;
  }
}

/** It is not made where it is missing: a disk that is not mounted would not be noticed. */
function findNewest(directory: string): number | null {
  try {
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
      throw new Error(`${directory} is no directory: make it, or set backup.directory to another`);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    return newestBackup(directory);
  } catch (error) {
    throw refused(directory, error as NodeJS.ErrnoException);
  }
}

/** The same error, with what to do where the user, or the sandbox of the service, is not let in. */
function refused(directory: string, error: NodeJS.ErrnoException): Error {
  if (error.code === "EROFS") {
    const how = `\`agentbus service install\` again, or ReadWritePaths=${directory} in a drop-in (systemctl edit agentbus) and a restart`;
    return new Error(`${directory} is read-only here: in the sandbox of the service ${how} opens it`);
  }
  if (error.code !== "EACCES" && error.code !== "EPERM") return error;
  const user = process.geteuid?.() ?? "the user of the gateway";
  return new Error(
    `${directory} cannot be written by user ${user}: chown ${user} it; nothing below /home, /root and /run/user is there for a service of the machine`,
  );
}
