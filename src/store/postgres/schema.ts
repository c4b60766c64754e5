import { newerSchema } from "../newer.ts";
import { MIGRATIONS } from "./migrations.ts";
import type { Queries } from "./queries.ts";

export const SCHEMA_VERSION = MIGRATIONS.length;
/** Where everything is, apart from what else the database holds. */
export const SCHEMA = "agentbus";
/** Of the lock that one node at a time holds while it brings the schema up to date. */
const LOCK = 0x61_67_62_01;

/**
 * Brings the schema up to date, within a transaction; of several nodes that start at once the others wait for the first. `tell` is
 * told before what is there already is changed.
 * @throws GatewayError UNAVAILABLE when it is newer than this program.
 */
export async function migrate(q: Queries, tell?: (doing: string) => void): Promise<void> {
  await q.run("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0");
  await q.all("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK]);
  await makeRoom(q);
  const version = await knownVersion(q);
  if (version > 0 && version < SCHEMA_VERSION)
    tell?.(`bringing the database from schema ${version} to schema ${SCHEMA_VERSION}`);
  for (const text of MIGRATIONS.slice(version)) await q.run(text);
  if (version < SCHEMA_VERSION) {
    await q.run(
      `INSERT INTO meta (name, value) VALUES ('schema', $1::text)
       ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
      [String(SCHEMA_VERSION)],
    );
  }
}

async function makeRoom(q: Queries): Promise<void> {
  const found = await q.one<{ made: boolean }>("SELECT to_regnamespace($1::text) IS NOT NULL AS made", [
    SCHEMA,
  ]);
  if (found?.made !== true) await q.run(`CREATE SCHEMA ${SCHEMA}`);
  if (!(await hasMeta(q)))
    await q.run(`CREATE TABLE meta (name text COLLATE "C" PRIMARY KEY, value text COLLATE "C" NOT NULL)`);
}

/** The schema a database has; 0: none yet. @throws GatewayError UNAVAILABLE when it is newer than this program. */
export async function knownVersion(q: Queries): Promise<number> {
  if (!(await hasMeta(q))) return 0;
  const row = await q.one<{ value: string }>("SELECT value FROM meta WHERE name = 'schema'");
  const version = Number(row?.value ?? 0);
  if (version > SCHEMA_VERSION) throw newerSchema(version, SCHEMA_VERSION);
  return version;
}

async function hasMeta(q: Queries): Promise<boolean> {
  const found = await q.one<{ made: boolean }>("SELECT to_regclass($1::text) IS NOT NULL AS made", [
    `${SCHEMA}.meta`,
  ]);
  return found?.made === true;
}
