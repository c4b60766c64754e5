import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { CHECKS } from "../../src/cli/conformance.ts";

test("docs/conformance.md has every check, with what it expects, in its order", () => {
  const page = readFileSync(resolve(import.meta.dir, "../../docs/conformance.md"), "utf8");
  const rows = CHECKS.map(({ name, expects }) => `| \`${name}\` | ${expects} |`);
  expect(
    page
      .slice(page.indexOf("| --- | --- |\n") + 14)
      .trimEnd()
      .split("\n"),
  ).toEqual(rows);
  expect(new Set(CHECKS.map(({ name }) => name)).size).toBe(CHECKS.length);
});
