import { existsSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseCheck } from "./store/sqlite/check.ts";
import { checkDatabase, isNewer } from "./store/sqlite/check.ts";
import { keptCopy } from "./store/sqlite/upgrade.ts";

/** How the database in a data directory is; null: there is none. */
export function inspectDatabase(data_dir: string, deep: boolean, most_bytes: number): DatabaseCheck | null {
  return checkDatabase(data_dir, deep, most_bytes);
}

/** What to do about a database that a newer version brought up to date; null: this one can read it. */
export function copyBefore(data_dir: string): string | null {
  const path = join(data_dir, "agentbus.db");
  if (!isNewer(path)) return null;
  const copy = keptCopy(path);
  const found = existsSync(copy)
    ? `${copy} is what it was before: agentbus restore ${copy} --data-dir ${data_dir}, as the user of the gateway, puts that back`
    : "agentbus restore FILE puts a backup of before in its place";
  return `The database was brought up to date meanwhile, and this version cannot read it. ${found} (what was said since is lost); then start the gateway`;
}
