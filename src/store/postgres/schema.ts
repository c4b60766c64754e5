import { GatewayError } from "../../protocol/errors.ts";
import { MIGRATIONS } from "./migrations.ts";
import type { Queries } from "./queries.ts";

const SCHEMA_VERSION = MIGRATIONS.length;
/** Where everything is, apart from what else the database holds. */
export const SCHEMA = "agentbus";
/** Of the lock that one node at a time holds while it brings the schema up to date. */
const LOCK = 0x61_67_62_01;

/**
 * Brings the schema up to date, within a transaction; of several nodes that start at once the others wait for the first.
 * @throws GatewayError UNAVAILABLE when it is newer than this program.
 */
export async function migrate(q: Queries): Promise<void> {
  await q.run("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0");
  await q.all("SELECT pg_advisory_xact_lock($1::bigint)", [LOCK]);
  const version = await versionOf(q);
  if (version > SCHEMA_VERSION) {
    throw new GatewayError(
      "UNAVAILABLE",
      `the database was written by a newer agentbus (schema ${version}, this one knows ${SCHEMA_VERSION}): ` +
        "run that version, or restore a backup made before the upgrade",
      { details: { kind: "schema", found: version, known: SCHEMA_VERSION } },
    );
  }
  for (const text of MIGRATIONS.slice(version)) await q.run(text);
  if (version < SCHEMA_VERSION) {
    await q.run(
      `INSERT INTO meta (name, value) VALUES ('schema', $1::text)
       ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
      [String(SCHEMA_VERSION)],
    );
  }
}

/** 0: there is none yet. */
async function versionOf(q: Queries): Promise<number> {
  const found = await q.one<{ namespace: boolean; meta: boolean }>(
    "SELECT to_regnamespace($1::text) IS NOT NULL AS namespace, to_regclass($2::text) IS NOT NULL AS meta",
    [SCHEMA, `${SCHEMA}.meta`],
  );
  if (found?.namespace !== true) await q.run(`CREATE SCHEMA ${SCHEMA}`);
  if (found?.meta !== true) {
    await q.run(`CREATE TABLE meta (name text COLLATE "C" PRIMARY KEY, value text COLLATE "C" NOT NULL)`);
    return 0;
  }
  const row = await q.one<{ value: string }>("SELECT value FROM meta WHERE name = 'schema'");
  return Number(row?.value ?? 0);
}
