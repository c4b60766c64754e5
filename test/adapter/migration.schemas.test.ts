import { SQL } from "bun";
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import {
  INDEX_TABLES,
  NODE_COLUMNS,
  NODE_TABLES,
  sqliteName,
  TABLES,
} from "../../src/store/migration/tables.ts";
import { MIGRATIONS } from "../../src/store/postgres/migrations.ts";
import { SCHEMA } from "../../src/store/postgres/schema.ts";
import { migrate } from "../../src/store/sqlite/schema.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { columnsOf } from "./migration.fixture.ts";

/** Whoever adds a table or a column says in src/store/migration/tables.ts what a migration does with it. */
const MIGRATED = TABLES.map(({ name, columns }) => [name, Object.keys(columns).toSorted()] as const);
/** `server_id` of it is copied by its name. */
const KNOWN = new Set([...TABLES.map(({ name }) => name), ...INDEX_TABLES, "meta"]);

function newSqlite(): Database {
  const db = new Database(":memory:");
  migrate(db);
  return db;
}

describe("a migration knows", () => {
  test("every table and column of SQLite", () => {
    const db = newSqlite();
    const tables = db
      .query<{ name: string }, []>(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'",
      )
      .all()
      .map(({ name }) => name);
    expect(tables.filter((name) => !KNOWN.has(name))).toEqual([]);
    const found = TABLES.map(({ name }) => [
      name,
      columnsOf(db, name)
        .map((each) => each.name)
        .toSorted(),
    ]);
    const kept = TABLES.map(({ name, columns }) => {
      const names = Object.keys(columns).filter((column) => columns[column] !== "folded");
      return [name, names.map(sqliteName).toSorted()];
    });
    expect(found).toEqual(kept);
  });

  test.skipIf(!hasPostgres)("every table and column of PostgreSQL, those of nodes aside", async () => {
    await using database = await testDatabase();
    const sql = new SQL(database.url, { max: 1 });
    await sql.unsafe(
      `CREATE SCHEMA ${SCHEMA}; SET search_path = ${SCHEMA}; CREATE TABLE meta (name text, value text)`,
    );
    for (const text of MIGRATIONS) await sql.unsafe(text);
    const rows: { table: string; column: string }[] = await sql.unsafe(
      `SELECT table_name AS "table", column_name AS "column" FROM information_schema.columns
       WHERE table_schema = '${SCHEMA}' AND is_generated = 'NEVER' ORDER BY column_name COLLATE "C"`,
    );
    await sql.close({ timeout: 1 });
    const columns = Map.groupBy(rows, ({ table }) => table);
    const known = new Set([...KNOWN, ...NODE_TABLES]);
    expect([...columns.keys()].filter((name) => !known.has(name))).toEqual([]);
    const found = TABLES.map(({ name }) => {
      const of_nodes = Object.keys(NODE_COLUMNS[name] ?? {});
      const names = (columns.get(name) ?? []).map(({ column }) => column);
      return [name, names.filter((column) => !of_nodes.includes(column))];
    });
    expect(found).toEqual(MIGRATED.map(([name, names]) => [name, [...names]]));
  });

  test("an order of every table that names each row once and needs no sort", () => {
    const db = newSqlite();
    for (const { name, key } of TABLES) {
      const order = key.map((column) => `"${sqliteName(column)}"`).join(", ");
      const marks = key.map(() => "?").join(", ");
      const plan = db
        .query<{ detail: string }, []>(
          `EXPLAIN QUERY PLAN SELECT * FROM ${name} WHERE (${order}) > (${marks}) ORDER BY ${order} LIMIT 10`,
        )
        .all()
        .map(({ detail }) => detail);
      expect([name, plan.join("; ")]).toEqual([name, expect.stringMatching(/^SEARCH /)]);
      const primary = columnsOf(db, name)
        .filter(({ pk }) => pk > 0)
        .map((each) => each.name);
      const unique = db
        .query<{ name: string }, [string]>(
          `SELECT i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i WHERE l."unique" = 1`,
        )
        .all(name)
        .map((each) => each.name);
      const names = key.map(sqliteName);
      const isUnique = [primary, unique].some(
        (some) => some.length > 0 && some.every((each) => names.includes(each)),
      );
      expect([name, isUnique]).toEqual([name, true]);
    }
  });
});
