import { existsSync } from "node:fs";
import { GatewayError } from "../../protocol/errors.ts";

/** In `meta`: something is being copied into this database, and how far it came. */
export const MARKER = "migration";

/** Of the lock that a migration holds on a database of PostgreSQL, so that no gateway begins on it. */
export const MIGRATION_LOCK = 0x61_67_62_02;

/** What a database of SQLite is called until all of it is there. */
export function draftPath(database: string): string {
  return `${database}.migrating`;
}

/** @throws GatewayError UNAVAILABLE {kind:"migration"} where what was to become this database was not copied to its end */
export function refuseDraft(database: string): void {
  const draft = draftPath(database);
  if (!existsSync(draft)) return;
  throw unfinished(
    `${draft} is a migration that was not finished: run agentbus migrate again, it goes on where it stopped; or remove that file to do without it`,
  );
}

/** What is to be said of a database of PostgreSQL that has the marker. */
export function unfinishedDatabase(): GatewayError {
  return unfinished(
    "the database of storage.url is being copied into, or was not to its end: run agentbus migrate again, it goes on where it stopped",
  );
}

export function beingMigrated(): GatewayError {
  return unfinished(
    "agentbus migrate is at work on the database of storage.url: start again when it has ended",
  );
}

function unfinished(message: string): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" } });
}
