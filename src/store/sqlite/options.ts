import type { Limits } from "../../core/limits.ts";
import type { Clock, Logger } from "../../core/ports.ts";
import type { Durability } from "./group-writer.ts";

export interface SqliteStoreOptions {
  /** Made where it does not exist; held by one process at a time. */
  readonly data_dir: string;
  /** full: a group with an acknowledgement waits for an fsync. normal: no group does. */
  readonly durability: Durability;
  readonly clock: Clock;
  readonly log: Logger;
  /** Read where they are used: they may be replaced. */
  readonly limits: Limits;
  /** Has itself told of every replacement. */
  readonly onLimits?: (told: () => void) => void;
  /** Storage refuses ("full") past so many bytes of database; 0, the default: no bound. */
  readonly max_bytes?: number;
  /** Changes with every start of the machine; null: cannot be known, so that a crash counts as loss of power. */
  readonly boot_id?: () => string | null;
  /** Where another process holds the directory, it is asked to stop and waited for so long; without it that is an error. */
  readonly takeover_ms?: number;
  /** Told what is done before it is open, from when the directory is held: some of it may take long. */
  readonly onOpening?: (doing: string) => void;
}
