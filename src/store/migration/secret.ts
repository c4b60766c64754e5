import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The key that secrets are sealed with: a file beside SQLite, a row of `meta` in PostgreSQL. */
const FILE = "secrets.key";
export const META = "secrets_key";

/** Of a data directory; null: nothing was sealed there yet. */
export function keyOfDirectory(data_dir: string): string | null {
  const path = join(data_dir, FILE);
  return existsSync(path) ? readFileSync(path, "utf8").trim() : null;
}

/** Puts the key of a database into a data directory; another one that is there is kept beside it. */
export function putKey(data_dir: string, key: string): void {
  const path = join(data_dir, FILE);
  const before = keyOfDirectory(data_dir);
  if (before === key) return;
  if (before !== null) renameSync(path, `${path}.before-migration`);
  writeFileSync(path, `${key}\n`, { mode: 0o600 });
}
