import type { Where } from "./auth.ts";
import { ConfigError } from "./error.ts";
import type { Config } from "./schema.ts";

const FORM = "write postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite in server.data_dir";

/**
 * The rules of `[storage]`. Returns warnings. What is in the address is never repeated: a password may be.
 * @throws ConfigError
 */
export function checkStorage({ url, durability, max_bytes }: Config["storage"], where: Where): string[] {
  if (url === "") return [];
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new ConfigError(`${where("storage.url")}: it is no address: ${FORM}`);
  }
  if (!["postgres:", "postgresql:"].includes(parsed.protocol))
    throw new ConfigError(`${where("storage.url")}: it begins with ${parsed.protocol}: ${FORM}`);
  if (parsed.pathname.length < 2)
    throw new ConfigError(`${where("storage.url")}: it names no database: ${FORM}`);
  const warnings: string[] = [];
  if (durability !== "full")
    warnings.push(
      `${where("storage.durability")}: it is of no effect with PostgreSQL, which keeps what it acknowledged`,
    );
  if (max_bytes > 0)
    warnings.push(
      `${where("storage.max_bytes")}: it is of no effect with PostgreSQL: bound its disk instead`,
    );
  return warnings;
}
