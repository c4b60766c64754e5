import { GatewayError } from "../../protocol/errors.ts";
import { isUnfinished } from "../postgres/migrating.ts";
import { MIGRATIONS } from "../postgres/migrations.ts";
import type { Queries } from "../postgres/queries.ts";
import { migrate, SCHEMA } from "../postgres/schema.ts";
import type { End, Target } from "./end.ts";
import { SEARCHABLE } from "./end.ts";
import type { PostgresPlace } from "./postgres-claim.ts";
import { claimDatabase } from "./postgres-claim.ts";
import { insertRows, readRows } from "./postgres-rows.ts";
import { TABLES } from "./tables.ts";
import { MARKER } from "./unfinished.ts";

const KNOWN_SCHEMA = MIGRATIONS.length;

/** A database of PostgreSQL, which is only read. @throws GatewayError UNAVAILABLE */
export function openPostgresSource(to: PostgresPlace): Promise<End> {
  return claimDatabase(to, async ({ q, place, close }) => {
    await q.run("SET default_transaction_read_only = on");
    const schema = await schemaOf(q);
    if (schema === 0) throw refuse(`there is nothing to migrate: no gateway was started on ${place}`);
    if (schema > KNOWN_SCHEMA)
      throw refuse(`${place} is of a newer agentbus (schema ${schema}, this one knows ${KNOWN_SCHEMA})`);
    if (schema < KNOWN_SCHEMA) {
      throw refuse(
        `${place} has schema ${schema}, and this agentbus wants ${KNOWN_SCHEMA}: start a gateway on it once, and stop it`,
      );
    }
    const end = endOf(q, place, close);
    if ((await end.meta(MARKER)) !== null)
      throw refuse(`${place} is itself a migration that was not finished: run that one again first`);
    return end;
  });
}

/** One that takes what is copied; its schema is made where there is none. @throws GatewayError UNAVAILABLE */
export function openPostgresTarget(to: PostgresPlace): Promise<Target> {
  return claimDatabase(to, async ({ q, place, close }) => {
    // What is lost with the server's power is lost with its mark; the end of it all is waited for.
    await q.run("SET synchronous_commit = off");
    const schema = await schemaOf(q);
    if (schema > 0 && schema < KNOWN_SCHEMA && !(await isUnfinished(q)))
      throw refuse(`${place} is one of an older agentbus: name an empty database`);
    await within(q, () => migrate(q));
    return {
      ...endOf(q, place, close),
      async isEmpty() {
        const parts = TABLES.map(({ name }) => `EXISTS (SELECT 1 FROM ${name})`);
        const found = await q.one<{ some: boolean }>(`SELECT ${parts.join(" OR ")} AS some`);
        return found?.some !== true;
      },
      begin: (meta, clear) =>
        within(q, async () => {
          const all = [...TABLES.map(({ name }) => name), "search_queue", "search_words", "search_moved"];
          if (clear) await q.run(`TRUNCATE ${all.join(", ")}`);
          for (const [name, value] of Object.entries(meta)) await putMeta(q, name, value);
        }),
      write: (table, rows, marker) =>
        within(q, async () => {
          await Promise.all([...insertRows(q, table, rows), putMeta(q, MARKER, marker)]);
        }),
      finish: (audit) => finish(q, audit),
    };
  });
}

/** 0: there is none. */
async function schemaOf(q: Queries): Promise<number> {
  const found = await q.one<{ made: boolean }>("SELECT to_regclass($1::text) IS NOT NULL AS made", [
    `${SCHEMA}.meta`,
  ]);
  if (found?.made !== true) return 0;
  const row = await q.one<{ value: string }>("SELECT value FROM meta WHERE name = 'schema'");
  return Number(row?.value ?? 0);
}

function endOf(q: Queries, place: string, close: () => Promise<void>): End {
  return {
    kind: "postgres",
    place,
    schema: KNOWN_SCHEMA,
    async meta(name) {
      const row = await q.one<{ value: string }>("SELECT value FROM meta WHERE name = $1::text", [name]);
      return row?.value ?? null;
    },
    read: (table, after) => readRows(q, table, after),
    async count({ name }) {
      const row = await q.one<{ n: number }>(`SELECT count(*)::float8 AS n FROM ${name}`);
      return row?.n ?? 0;
    },
    async ask(sql) {
      const rows = await q.all<Record<string, string>>(sql);
      return rows.flatMap((row) => Object.values(row).map(String)).join(" ");
    },
    async size() {
      const sizes = TABLES.map(({ name }) => `pg_total_relation_size('${SCHEMA}.${name}')`).join(" + ");
      const row = await q.one<{ bytes: number }>(`SELECT (${sizes})::float8 AS bytes`);
      return row?.bytes ?? 0;
    },
    async highestAudit() {
      const row = await q.one<{ n: number }>(
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END::float8 AS n FROM audit_id_seq",
      );
      return row?.n ?? 0;
    },
    close,
  };
}

async function finish(q: Queries, audit: number): Promise<void> {
  // Whoever reads first is answered as quickly as later.
  for (const { name } of TABLES) await q.run(`ANALYZE ${name}`);
  await within(q, async () => {
    await q.run("SET LOCAL synchronous_commit = on");
    await q.run("DELETE FROM search_queue");
    await q.run(SEARCHABLE);
    const numbered = await q.all<{ table: string; column: string }>(
      `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
       WHERE table_schema = $1::text AND is_identity = 'YES'`,
      [SCHEMA],
    );
    for (const { table, column } of numbered) {
      if (!TABLES.some(({ name }) => name === table)) continue;
      const least = table === "audit" ? audit : 0;
      await q.run(
        `SELECT setval(pg_get_serial_sequence('${SCHEMA}.${table}', '${column}'), greatest(n, 1), n > 0)
         FROM (SELECT greatest(coalesce(max(${column}), 0), ${least}) AS n FROM ${table}) AS highest`,
      );
    }
    await q.run("DELETE FROM meta WHERE name = $1::text", [MARKER]);
  });
}

async function within(q: Queries, task: () => Promise<void>): Promise<void> {
  await q.run("BEGIN");
  try {
    await task();
    await q.run("COMMIT");
  } catch (error) {
    await q.run("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

function putMeta(q: Queries, name: string, value: string): Promise<number> {
  return q.run(
    `INSERT INTO meta (name, value) VALUES ($1::text, $2::text)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    [name, value],
  );
}

function refuse(message: string, cause?: unknown): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" }, cause });
}
