import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { MIGRATION_LOCK } from "../../src/store/migration/unfinished.ts";
import { hasPostgres } from "../support/postgres.ts";
import { change, filled, fillSqlite, interrupted, move, setAside } from "./migration.fixture.ts";
import { postgresStore } from "./store.postgres.ts";
import { refusal, sqliteStore, temporaryDirectory } from "./store.sqlite.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasPostgres)("a migration is refused", () => {
  test("where a gateway has the data directory, or lives in the database", async () => {
    await using place = await filled(5);
    await using other = await temporaryDirectory();
    const { data_dir, url, sql } = place;
    const { store } = sqliteStore(data_dir);
    await store.open();
    const held = await refusal(move({ data_dir, url, from: "sqlite" }));
    expect(held.details).toMatchObject({ kind: "locked" });
    await store.close();

    const node = postgresStore(url, other.path, { node_id: "berlin" });
    await node.store.open();
    const living = await refusal(move({ data_dir, url, from: "sqlite" }));
    expect(living.message).toMatch(
      /a gateway runs on the database test_\w+ of 127\.0\.0\.1:\d+ \(berlin\): stop it first/,
    );
    setAside(data_dir);
    expect((await refusal(move({ data_dir, url, from: "postgres" }))).message).toContain("(berlin)");
    await node.store.close();
    await sql.unsafe("SELECT 1 FROM audit");
  });

  test("where the target is not empty, which leaves it as it is", async () => {
    await using place = await filled(5);
    const { data_dir, url, sql } = place;
    await move({ data_dir, url, from: "sqlite" });
    for (const restart of [false, true]) {
      const { reason, message } = await refusal(move({ data_dir, url, from: "sqlite", restart }));
      expect([reason, message]).toEqual(["CONFLICT", expect.stringContaining("is not empty")]);
    }
    expect([...(await sql.unsafe("SELECT count(*)::int AS n FROM audit"))]).toEqual([{ n: 5 }]);
    const file = await refusal(move({ data_dir, url, from: "postgres" }));
    expect(file.message).toMatch(/there is a database already: move \S+agentbus\.db away/);
    setAside(data_dir);
    renameSync(join(data_dir, "old.db"), join(data_dir, "agentbus.db-wal"));
    expect((await refusal(move({ data_dir, url, from: "postgres" }))).message).toContain(
      "agentbus.db-wal away",
    );
  });

  test("where the interrupted one was of another gateway, or the source is not what it was", async () => {
    await using place = await filled(5);
    await using another = await temporaryDirectory();
    const { data_dir, url } = place;
    await interrupted({ data_dir, url, from: "sqlite" }, { step: "copy", table: "audit" });
    fillSqlite(another.path, 5);
    change(another.path, "UPDATE meta SET value = 'another' WHERE name = 'server_id'");
    const other = await refusal(move({ data_dir: another.path, url, from: "sqlite" }));
    expect(other.message).toContain("a migration of another gateway");
    change(data_dir, "UPDATE sessions SET head = head + 1 WHERE session_key = 1");
    const changed = await refusal(move({ data_dir, url, from: "sqlite" }));
    expect(changed.message).toContain("a gateway ran on the source since");
    const source = await refusal(move({ data_dir: another.path, url, from: "postgres" }));
    expect(source.message).toContain("is itself a migration that was not finished");
    await move({ data_dir, url, from: "sqlite", restart: true });
  });

  test("where there is nothing to migrate, or only an older or newer schema", async () => {
    await using place = await filled(5);
    await using empty = await temporaryDirectory();
    const { data_dir, url } = place;
    const nothing = await refusal(move({ data_dir: empty.path, url, from: "sqlite" }));
    expect(nothing.message).toContain("there is nothing to migrate");
    expect(readdirSync(empty.path)).toEqual([]);
    expect((await refusal(move({ data_dir: empty.path, url, from: "postgres" }))).message).toContain(
      "there is nothing to migrate",
    );
    change(data_dir, "PRAGMA user_version = 1");
    expect((await refusal(move({ data_dir, url, from: "sqlite" }))).message).toContain(
      "start the gateway on it once",
    );
    change(data_dir, "PRAGMA user_version = 999");
    expect((await refusal(move({ data_dir, url, from: "sqlite" }))).message).toContain("newer agentbus");
  });

  test("where the server cannot be used, without a word of the password", async () => {
    await using place = await filled(5);
    const { data_dir } = place;
    for (const from of ["sqlite", "postgres"] as const) {
      if (from === "postgres") setAside(data_dir);
      const url = "postgres://nobody:hunter2@127.0.0.1:1/none";
      const { message } = await refusal(move({ data_dir, url, from }));
      expect(message).toContain(
        "cannot use the database none of 127.0.0.1:1: is it running, and does its address",
      );
      expect(message).not.toContain("hunter2");
    }
  });
});

test.skipIf(!hasPostgres)("no gateway begins on a database that a migration reads or writes", async () => {
  await using place = await filled(5);
  await using other = await temporaryDirectory();
  const { data_dir, url, sql } = place;
  await move({ data_dir, url, from: "sqlite" });
  await sql.unsafe("SELECT pg_advisory_lock($1::bigint)", [MIGRATION_LOCK]);
  const { message } = await refusal(postgresStore(url, other.path).store.open());
  expect(message).toContain("agentbus migrate is at work");
  expect((await refusal(move({ data_dir, url, from: "sqlite" }))).message).toContain(
    "another agentbus migrate",
  );
  await sql.unsafe("SELECT pg_advisory_unlock($1::bigint)", [MIGRATION_LOCK]);
  expect(await sql.unsafe("SELECT * FROM nodes WHERE lease_until > clock_timestamp()")).toHaveLength(0);
  const { store } = postgresStore(url, other.path);
  await store.open();
  await store.close();
});
