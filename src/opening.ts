import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import type { Logger } from "./core/ports.ts";
import type { OpenedStore, Store } from "./core/store.ts";
import { processMark } from "./process-mark.ts";

/** In the data directory while a gateway opens its database, which may take long: it is at work then, and does not hang. */
export const OPENING_FILE = "opening.json";

export interface OpeningOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Told what is done; null: it is over. */
  readonly onOpening: (doing: string | null) => void;
}

export interface Opening {
  /** For the store to tell what it does, once it holds the data directory. Never throws. */
  readonly tell: (doing: string) => void;
  /** Opens the store, and says how the last process left it. */
  readonly open: (store: Store) => Promise<OpenedStore>;
}

/** Says in the data directory, and to whoever started the gateway, what is done to open its database. */
export function createOpening({ config, log, onOpening }: OpeningOptions): Opening {
  const file = join(config.server.data_dir, OPENING_FILE);
  let isTold = false;

  function tell(doing: string): void {
    isTold = true;
    try {
      const { pid } = process;
      const mark = processMark(pid);
      const state = { pid, ...(mark !== null && { process: mark }), doing };
      writeFileSync(`${file}.${pid}`, JSON.stringify(state), { mode: 0o600 });
      renameSync(`${file}.${pid}`, file);
    } catch (error) {
      // What keeps it from being written is told when the database opens.
      log.debug({ err: error }, "the commands on this machine do not know that the database is being opened");
    }
    onOpening(doing);
  }

  return {
    tell,
    async open(store) {
      try {
        const opened = await store.open();
        tellLastStop(opened, log);
        return opened;
      } finally {
        if (isTold) end();
      }
    },
  };

  function end(): void {
    forgetOpening(config.server.data_dir);
    onOpening(null);
  }
}

/** For a process that ends, or becomes another program, while it opens the database. */
export function forgetOpening(data_dir: string): void {
  try {
    rmSync(join(data_dir, OPENING_FILE), { force: true });
  } catch {
    // Of a directory that is read-only by now: it is that of a process, and ends with it.
  }
}

/** What the last process left, and what was done about it. */
function tellLastStop({ last_stop, unended, upgraded }: OpenedStore, log: Logger): void {
  if (upgraded !== undefined) log.info(upgraded, "the database was brought up to date; it is kept as it was");
  if (last_stop === "clean") return;
  log.warn({ last_stop, runs: unended.length }, "the last process did not stop cleanly");
}
