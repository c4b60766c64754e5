import type { Config } from "./config.ts";
import { checkStorage } from "./config/storage.ts";
import type { Migrated, MigrationProgress } from "./store/migration/migration.ts";
import { withinDataDir } from "./store/sqlite/data-dir.ts";
import { migrateStore } from "./store/migration/migration.ts";

export type { Migrated, MigrationProgress };

export interface Move {
  /** Where everything is now: SQLite in the data directory, or the database of `url`. */
  readonly from: "sqlite" | "postgres";
  readonly url: string;
  /** What errors call the address. */
  readonly named: string;
  readonly restart: boolean;
  readonly onProgress: (progress: MigrationProgress) => void;
}

/**
 * Copies what the gateway of a configuration keeps to the other kind of database, and verifies it; no gateway may run.
 * @throws GatewayError, ConfigError where the address is none
 */
export async function migrateGateway(config: Config, { named, url, ...move }: Move): Promise<Migrated> {
  checkStorage({ ...config.storage, url }, () => named);
  const { data_dir } = config.server;
  return withinDataDir(data_dir, () => migrateStore({ ...move, url, data_dir }));
}
