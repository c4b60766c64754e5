import { open } from "node:fs/promises";
import type { Clock } from "../../core/ports.ts";
import type { BackupFacts } from "./backup.ts";
import { Channel } from "./channel.ts";
import { draftOf } from "./draft.ts";
import type { ReaderRequest } from "./threads.ts";
import { workerUrl } from "./threads.ts";

export interface BackupWork {
  /** Rejects as `backUp` throws, and when it is given up. */
  readonly made: Promise<BackupFacts>;
  /** What was written is cleared by the next backup. Idempotent. */
  readonly giveUp: () => void;
}

const FLUSH_EVERY_MS = 100;

/** As `backUp`, in a thread of its own with less claim to the processor, so that nobody waits for it. */
export function backUpBeside(data_dir: string, file: string, clock: Clock): BackupWork {
  const thread = new Channel<ReaderRequest>({
    url: workerUrl("reader"),
    clock,
    silence_ms: 0,
    onLost: () => undefined,
  });
  const made = thread.ask<BackupFacts>({ op: "backup", data_dir, file }, true);
  const cancel = flushing(draftOf(file), clock);
  const giveUp = (): void => {
    cancel();
    thread.close();
  };
  return { made: made.finally(giveUp), giveUp };
}

/** Has the disk take a file in while it is written: a gigabyte at the end would hold up everything else that is written then. */
function flushing(path: string, clock: Clock): () => void {
  let isFlushing = false;
  return clock.every(FLUSH_EVERY_MS, () => {
    if (isFlushing) return;
    isFlushing = true;
    void flush(path).finally(() => (isFlushing = false));
  });
}

/** Never rejects: whoever writes the file finds out what is wrong with it. */
async function flush(path: string): Promise<void> {
  try {
    await using file = await open(path, "r");
    await file.datasync();
  } catch {
    // Not there yet, or no longer.
  }
}
