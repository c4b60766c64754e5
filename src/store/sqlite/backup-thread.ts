import type { Clock } from "../../core/ports.ts";
import type { BackupFacts } from "./backup.ts";
import { Channel } from "./channel.ts";
import type { ReaderRequest } from "./threads.ts";
import { workerUrl } from "./threads.ts";

export interface BackupWork {
  /** Rejects as `backUp` throws, and when it is given up. */
  readonly made: Promise<BackupFacts>;
  /** What was written is cleared by the next backup. Idempotent. */
  readonly giveUp: () => void;
}

/** As `backUp`, in a thread of its own with less claim to the processor, so that nobody waits for it. */
export function backUpBeside(data_dir: string, file: string, clock: Clock): BackupWork {
  const thread = new Channel<ReaderRequest>({
    url: workerUrl("reader"),
    clock,
    silence_ms: 0,
    onLost: () => undefined,
  });
  const made = thread.ask<BackupFacts>({ op: "backup", data_dir, file }, true);
  const giveUp = (): void => thread.close();
  return { made: made.finally(giveUp), giveUp };
}
