import type { Database } from "bun:sqlite";
import { closeSync, fdatasync, openSync } from "node:fs";
import { hold, refusalOf } from "./database.ts";

/** Pages in the log file after which they are moved into the database file. */
const MOVED_PAGES = 4_000;
/** Pages after which the disk is to take in what was written to the log: 1 MiB. */
const FLUSHED_PAGES = 256;

/** What a sync says where something that was written is not on the disk; everything else says that it cannot be synced so. */
const LOST: ReadonlySet<string> = new Set(["EIO", "ENOSPC", "EDQUOT"]);

export interface Checkpoint {
  /** Moves the log into the database file when it has grown. Throws where that fails, or something written is not on the disk. */
  step(): void;
  /** Before the database is closed. Idempotent. */
  close(): void;
}

/**
 * Keeps the log short. The disk takes it in beside the writer, a little at a time: what a checkpoint syncs is there by then, so
 * that what is said meanwhile does not wait for 16 MiB.
 */
export function createCheckpoint(db: Database, path: string): Checkpoint {
  // NOOP only tells how long the log is.
  const measure = hold<{ log: number; checkpointed: number }>(db, "PRAGMA wal_checkpoint(NOOP)");
  const move = hold(db, "PRAGMA wal_checkpoint(PASSIVE)");
  let log: number | null = null;
  let flushed = 0;
  let isFlushing = false;
  let failed: Error | null = null;

  function flush(pages: number): void {
    // It began anew.
    if (pages < flushed) flushed = 0;
    if (isFlushing || pages - flushed < FLUSHED_PAGES) return;
    try {
      log ??= openSync(`${path}-wal`, "r+");
    } catch {
      return;
    }
    flushed = pages;
    isFlushing = true;
    fdatasync(log, (error) => {
      isFlushing = false;
      if (error !== null && LOST.has(error.code ?? ""))
        failed = new Error(`the log did not reach the disk: ${error.message}`);
    });
  }

  return {
    step() {
      if (failed !== null) throw failed;
      const wal = measure.get();
      if (wal === null) return;
      flush(wal.log);
      if (wal.log - wal.checkpointed < MOVED_PAGES) return;
      try {
        move.get();
      } catch (error) {
        // No room for it now: everything stays in the log, and the next group tries again.
        if (refusalOf(error) === null) throw error;
      }
    },
    close() {
      if (log !== null) closeSync(log);
      log = null;
    },
  };
}
