import { describe, expect, test } from "bun:test";
import { MIGRATIONS } from "../../src/store/postgres/migrations.ts";

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
