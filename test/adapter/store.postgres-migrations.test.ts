import { SQL } from "bun";
import { describe, expect, test } from "bun:test";
import { MIGRATIONS } from "../../src/store/postgres/migrations.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";
import { postgresStore } from "./store.postgres.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

/** What a node of the version before would stumble over while it still runs beside the one that upgraded the schema. */
const BREAKS = [
  /\bDROP\b/i,
  /\bRENAME\b/i,
  /\bSET NOT NULL\b/i,
  /\bALTER COLUMN \w+ (SET DATA )?TYPE\b/i,
  /\bADD CONSTRAINT\b/i,
  /\bTRUNCATE\b/i,
];

/** Columns that are added without a value for those who do not know them. */
function columnsThatAreAskedFor(text: string): string[] {
  const added = text.match(/\bADD COLUMN\b[^,;]*/gi) ?? [];
  return added.filter((each) => /\bNOT NULL\b/i.test(each) && !/\b(DEFAULT|GENERATED)\b/i.test(each));
}

describe("a migration only adds, so that nodes of two versions run side by side", () => {
  test.each(MIGRATIONS.slice(1).map((text, at) => [at + 2, text] as const))(
    "version %d",
    (_version, text) => {
      expect(BREAKS.filter((each) => each.test(text))).toEqual([]);
      expect(columnsThatAreAskedFor(text)).toEqual([]);
    },
  );

  test("what would break them is found", () => {
    const bad = "ALTER TABLE a DROP COLUMN b; ALTER TABLE a ADD COLUMN c text NOT NULL, ADD COLUMN d text";
    expect(BREAKS.some((each) => each.test(bad))).toBe(true);
    expect(columnsThatAreAskedFor(bad)).toHaveLength(1);
  });
});

test.skipIf(!hasPostgres)(
  "what is there already is brought up to date, and that is told before",
  async () => {
    await using database = await testDatabase();
    await using directory = await temporaryDirectory();
    const from = MIGRATIONS.length - 1;
    const sql = new SQL(database.url, { max: 1 });
    await sql.unsafe(
      [
        "CREATE SCHEMA agentbus",
        "SET search_path = agentbus",
        `CREATE TABLE meta (name text COLLATE "C" PRIMARY KEY, value text COLLATE "C" NOT NULL)`,
        ...MIGRATIONS.slice(0, from),
        `INSERT INTO meta VALUES ('schema', '${from}')`,
      ].join(";\n"),
    );
    await sql.close({ timeout: 1 });
    const bringing = `bringing the database from schema ${from} to schema ${MIGRATIONS.length}`;
    for (const told of [["opening the database", bringing], ["opening the database"]]) {
      const doing: string[] = [];
      const { store, lines } = postgresStore(database.url, directory.path, {
        onOpening: (each) => void doing.push(each),
      });
      await store.open();
      await store.close();
      expect(doing).toEqual(told);
      expect(lines.map(({ message }) => message).filter((each) => each.startsWith("bringing"))).toEqual(
        told.slice(1),
      );
    }
  },
  60_000,
);
