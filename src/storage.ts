import type { Config } from "./config.ts";
import type { Clock, Logger } from "./core/ports.ts";
import type { Store } from "./core/store.ts";
import { createSqliteStore } from "./store/sqlite/store.ts";

/** How long another gateway's stop may take beyond the grace for its answers. */
const STOP_MS = 30_000;

/** What keeps everything, as the configuration chooses it; `takeover`: whoever holds the data directory is asked to stop. */
export function createStore(config: Config, takeover: boolean, clock: Clock, log: Logger): Store {
  const { server, storage, limits } = config;
  return createSqliteStore({
    data_dir: server.data_dir,
    durability: storage.durability,
    max_bytes: storage.max_bytes,
    clock,
    log,
    limits,
    ...(takeover && { takeover_ms: server.shutdown_grace_secs * 1_000 + STOP_MS }),
  });
}
