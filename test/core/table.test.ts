import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { refreshTable } from "../../scripts/table.ts";
import { configTable } from "../../src/config/print.ts";

test("the table in the README is found stale, written, and then fresh; what is around it stays", () => {
  const folder = mkdtempSync(join(tmpdir(), "agentbus-table-"));
  try {
    const file = join(folder, "README.md");
    expect(refreshTable(file, false)).toBe("none");
    writeFileSync(file, "# agentbus\n");
    expect(refreshTable(file, true)).toBe("none");

    writeFileSync(file, "before\n<!-- config:start -->\nold\n<!-- config:end -->\nafter\n");
    expect(refreshTable(file, false)).toBe("stale");
    expect(readFileSync(file, "utf8")).toContain("\nold\n");
    expect(refreshTable(file, true)).toBe("written");
    expect(refreshTable(file, false)).toBe("fresh");
    expect(readFileSync(file, "utf8")).toBe(
      `before\n<!-- config:start -->\n\n${configTable()}\n\n<!-- config:end -->\nafter\n`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
