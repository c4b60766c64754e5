import { beingMigrated, MARKER, MIGRATION_LOCK, unfinishedDatabase } from "../migration/unfinished.ts";
import type { Queries } from "./queries.ts";
import { SCHEMA } from "./schema.ts";

/** @throws GatewayError UNAVAILABLE {kind:"migration"} where somebody copies the database or into it, or did not come to the end */
export async function refuseMigration(q: Queries): Promise<void> {
  // Whoever migrates holds it alone, and looks for nodes afterwards; a node makes itself known and looks for that afterwards.
  const claimed = await q.one<{ free: boolean }>(
    "SELECT pg_try_advisory_xact_lock_shared($1::bigint) AS free",
    [MIGRATION_LOCK],
  );
  if (claimed?.free !== true) throw beingMigrated();
  if (await isUnfinished(q)) throw unfinishedDatabase();
}

/** Whether what is in the database was not copied to its end. */
export async function isUnfinished(q: Queries): Promise<boolean> {
  const found = await q.one<{ made: boolean }>("SELECT to_regclass($1::text) IS NOT NULL AS made", [
    `${SCHEMA}.meta`,
  ]);
  if (found?.made !== true) return false;
  return (await q.one("SELECT 1 AS found FROM meta WHERE name = $1::text", [MARKER])) !== null;
}
