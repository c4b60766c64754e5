import type { Clock, Logger } from "./core/ports.ts";
import type { Store } from "./core/store.ts";
import type { Engine } from "./engine.ts";
import { VERSION } from "./build.ts";
import { sectionDigests } from "./config/digest.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import type { LiveConfig } from "./settings.ts";
import type { Examined } from "./store/postgres/examine.ts";
import { examine } from "./store/postgres/examine.ts";
import { createPostgresStore } from "./store/postgres/store.ts";
import { createSqliteStore } from "./store/sqlite/store.ts";

/** How long another gateway's stop may take beyond the grace for its answers. */
const STOP_MS = 30_000;

export interface StorageOptions {
  readonly settings: LiveConfig;
  /** Whoever holds the data directory is asked to stop. */
  readonly takeover: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told what is done before it is open, from when the data directory is held. */
  readonly onOpening: (doing: string) => void;
  /** Asked for once the store is open. */
  readonly engine: () => Engine;
}

/** What keeps everything, as the configuration chooses it. */
export function createStore({ settings, takeover, clock, log, onOpening, engine }: StorageOptions): Store {
  const { live, config } = settings;
  const { server, storage, limits, cluster } = config;
  const stop_secs = server.shutdown_delay_secs + server.shutdown_grace_secs;
  const common = {
    data_dir: server.data_dir,
    clock,
    log,
    limits,
    onOpening,
    ...(takeover && { takeover_ms: stop_secs * 1_000 + STOP_MS }),
  };
  const { url, connections, durability, max_bytes } = storage;
  if (url === "") {
    const onLimits = (told: () => void): void => live.onReplaced(told);
    return createSqliteStore({ ...common, onLimits, durability, max_bytes });
  }
  return createPostgresStore({
    ...common,
    url,
    connections,
    node_id: cluster.node_id,
    facts: () => ({ version: VERSION, sections: sectionDigests(config) }),
    lease_ms: cluster.lease_secs * 1_000,
    onAdopted: (left) => engine().adopt(left),
    onLease: (lasts) => engine().leased(lasts),
    onFenced: (sessions) => engine().lost(sessions),
  });
}

/** What is found out about the database of a configuration without changing it; null: it is SQLite. Never rejects. */
export async function examineStorage({ storage }: Config): Promise<Examined | null> {
  return storage.url === "" ? null : examine(storage.url, systemClock);
}
