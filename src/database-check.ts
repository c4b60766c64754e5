import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { schemaOf as schemaOnServer } from "./store/postgres/examine.ts";
import { SCHEMA_VERSION as OF_POSTGRES } from "./store/postgres/schema.ts";
import type { DatabaseCheck } from "./store/sqlite/check.ts";
import { checkDatabase, schemaOf } from "./store/sqlite/check.ts";
import { withinDataDir } from "./store/sqlite/data-dir.ts";
import { SCHEMA_VERSION as OF_SQLITE } from "./store/sqlite/schema.ts";
import { keptCopy } from "./store/sqlite/upgrade.ts";

/** The newest schema that a version can read, of each kind of database. */
export interface Schemas {
  readonly sqlite: number;
  readonly postgres: number;
}

/** Those of this version. */
export const SCHEMAS: Schemas = { sqlite: OF_SQLITE, postgres: OF_POSTGRES };

/** How the database in a data directory is; null: there is none. */
export function inspectDatabase(data_dir: string, deep: boolean, most_bytes: number): DatabaseCheck | null {
  return checkDatabase(data_dir, deep, most_bytes);
}

/** How to have a database again that a version can read; null: it can read the one there is, or nobody knows. */
export async function wayBack({ server, storage }: Config, readable: Schemas): Promise<string | null> {
  const { data_dir } = server;
  if (storage.url !== "") {
    const isReadable = (await schemaOnServer(storage.url, systemClock)) <= readable.postgres;
    return isReadable ? null : "put back the backup of its server that was made before";
  }
  const path = join(data_dir, "agentbus.db");
  // What root does not look at, for a link is there, counts as nothing that is newer.
  const schema = await withinDataDir(data_dir, () => schemaOf(path)).catch(() => 0);
  if (schema <= readable.sqlite) return null;
  const copy = keptCopy(path, readable.sqlite);
  const restore = (file: string): string => `agentbus restore ${file} --data-dir ${data_dir}`;
  return existsSync(copy) ? restore(copy) : `${restore("FILE")}, a backup of before`;
}
