import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { configOf } from "../../src/config.ts";
import { SCHEMAS, wayBack } from "../../src/database-check.ts";
import { SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import { refusal, sqliteStore, temporaryDirectory, withStore } from "./store.sqlite.ts";

test("the way back from a version that brought the database up to date names the copy it kept", async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, "agentbus.db");
  const { config } = configOf({ server: { data_dir: directory.path } }, { env: {}, cwd: directory.path });
  const back = (schemas = SCHEMAS): Promise<string | null> => wayBack(config, schemas);
  expect(await back()).toBeNull();
  await withStore(directory.path, async () => undefined);
  expect(await back()).toBeNull();
  {
    using db = new Database(path);
    db.run(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  }
  expect(await refusal(sqliteStore(directory.path).store.open())).toMatchObject({
    details: { kind: "schema" },
  });
  expect(await back()).toContain("agentbus restore FILE");
  const copy = `${path}.schema-${SCHEMA_VERSION}`;
  writeFileSync(copy, "");
  expect(await back()).toBe(`agentbus restore ${copy} --data-dir ${directory.path}`);
  expect(await back({ ...SCHEMAS, sqlite: SCHEMA_VERSION - 1 })).toContain("agentbus restore FILE");
  expect(await back({ ...SCHEMAS, sqlite: SCHEMA_VERSION + 1 })).toBeNull();
});
