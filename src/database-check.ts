import type { DatabaseCheck } from "./store/sqlite/check.ts";
import { checkDatabase } from "./store/sqlite/check.ts";

/** How the database in a data directory is; null: there is none. */
export function inspectDatabase(data_dir: string, deep: boolean, most_bytes: number): DatabaseCheck | null {
  return checkDatabase(data_dir, deep, most_bytes);
}
