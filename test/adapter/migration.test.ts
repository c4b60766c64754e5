import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { checkDatabase } from "../../src/store/sqlite/check.ts";
import { hasPostgres } from "../support/postgres.ts";
import { dump, epochsOf, filled, interrupted, move, SESSIONS, setAside } from "./migration.fixture.ts";
import { postgresStore } from "./store.postgres.ts";
import { refusal, sqliteStore, temporaryDirectory } from "./store.sqlite.ts";

setDefaultTimeout(60_000);

describe.skipIf(!hasPostgres)("a migration", () => {
  test("to PostgreSQL and back leaves everything as it was, but the epochs", async () => {
    await using place = await filled();
    const { data_dir, url, sql } = place;
    const before = dump(data_dir);
    const epochs = epochsOf(data_dir);
    const file = Bun.hash(readFileSync(join(data_dir, "agentbus.db")));
    const there = await move({ data_dir, url, from: "sqlite" });
    const rows = Object.values(before.rows).reduce((sum, each) => sum + each.length, 0);
    expect(there).toMatchObject({ rows, resumed_after: null, files: 3, damaged_files: 0 });
    expect(Object.fromEntries(there.tables.map((each) => [each.table, each.rows]))).toEqual(
      Object.fromEntries(Object.entries(before.rows).map(([table, all]) => [table, all.length])),
    );
    // The source is as it was, byte for byte.
    expect(Bun.hash(readFileSync(join(data_dir, "agentbus.db")))).toBe(file);

    const [kept] = await sql.unsafe("SELECT count(*)::int AS n, min(fence)::int AS fence FROM sessions");
    expect(kept).toEqual({ n: SESSIONS, fence: 0 });
    const [folded] = await sql.unsafe(
      "SELECT name, name_folded FROM sessions WHERE name IS NOT NULL LIMIT 1",
    );
    expect(folded.name_folded).toBe(folded.name.toLowerCase());
    const [next] = await sql.unsafe(
      "SELECT nextval('audit_id_seq')::int AS audit, nextval('sessions_session_key_seq')::int AS session",
    );
    expect(next).toEqual({ audit: 5_001, session: SESSIONS + 1 });
    await sql.unsafe("SELECT setval('audit_id_seq', 5000)");

    setAside(data_dir);
    const back = await move({ data_dir, url, from: "postgres" });
    expect(back.tables).toEqual(there.tables);
    expect(dump(data_dir)).toEqual(before);
    for (const [n, epoch] of epochsOf(data_dir).entries()) {
      expect(epoch).toMatch(/^[a-z0-9]{8}$/);
      expect(epoch).not.toBe(epochs[n] ?? "");
    }
    expect(existsSync(join(data_dir, "agentbus.db.migrating"))).toBe(false);
  });

  test("goes on in the middle of a table, in both directions, and says after how much", async () => {
    await using place = await filled(20, { events: 5_000, messages: 5_000 });
    const { data_dir, url, sql } = place;
    const before = dump(data_dir);
    await interrupted({ data_dir, url, from: "sqlite" }, { step: "copy", table: "events" });
    const [{ n }] = await sql.unsafe("SELECT count(*)::int AS n FROM events");
    expect(n).toBeGreaterThan(0);
    expect(n).toBeLessThan(5_000);
    const there = await move({ data_dir, url, from: "sqlite" });
    expect(there.resumed_after).toBe(n + SESSIONS);
    await sql.unsafe("SELECT setval('audit_id_seq', 5000)");
    setAside(data_dir);
    await interrupted({ data_dir, url, from: "postgres" }, { step: "copy", table: "messages" });
    expect(existsSync(join(data_dir, "agentbus.db"))).toBe(false);
    await interrupted({ data_dir, url, from: "postgres" }, { step: "verify", table: "uploads" });
    const back = await move({ data_dir, url, from: "postgres" });
    expect(back.resumed_after).toBe(back.rows);
    expect(dump(data_dir)).toEqual(before);
  });

  test("of which only the new name was missing is finished, after another look", async () => {
    await using place = await filled(20);
    const { data_dir, url } = place;
    const before = dump(data_dir);
    await move({ data_dir, url, from: "sqlite" });
    setAside(data_dir);
    await move({ data_dir, url, from: "postgres" });
    renameSync(join(data_dir, "agentbus.db"), join(data_dir, "agentbus.db.migrating"));
    const done = await move({ data_dir, url, from: "postgres" });
    expect(done.resumed_after).toBe(done.rows);
    expect(dump(data_dir).rows).toEqual(before.rows);
  });

  test("with a character that PostgreSQL has not has another in its place, and both are the same", async () => {
    await using place = await filled(20);
    const { data_dir, url, sql } = place;
    const db = new Database(join(data_dir, "agentbus.db"), { readwrite: true });
    db.query("UPDATE audit SET details = ? WHERE id = 7").run("a\0b");
    db.close(true);
    await move({ data_dir, url, from: "sqlite" });
    expect(await sql.unsafe("SELECT details FROM audit WHERE id = 7").values()).toEqual([["a\ufffdb"]]);
  });
});

/** Each is done to a copy behind the back of the migration. */
const FAULTS: readonly (readonly [fault: string, sql: string, said: RegExp])[] = [
  [
    "a changed event",
    "UPDATE events SET payload = payload || ' ' WHERE session_key = 3 AND seq = 2",
    /events of session ses_3: not the same/,
  ],
  [
    "a missing message",
    "DELETE FROM messages WHERE message_id LIKE 'message_id-9-%'",
    /messages of session \S+: \d+ rows of \d+/,
  ],
  [
    "a missing session",
    "DELETE FROM sessions WHERE session_key = 7",
    /sessions of session \S+: 1 rows are missing/,
  ],
  [
    "a session too many",
    "DELETE FROM sessions WHERE session_key = 7; INSERT INTO sessions (session_key, id, owner, state, epoch, fence, floor, head, message_count, archived, created_at, updated_at, title, title_folded, metadata) OVERRIDING SYSTEM VALUE VALUES (77, 'x', 'x', 'live', 'abcdefgh', 0, 0, 0, 0, false, 0, 0, '', '', '')",
    /sessions of session 77: 1 rows are there that the source has not/,
  ],
  [
    "another name",
    "UPDATE sessions SET title = 'other' WHERE session_key = 2",
    /sessions of session \S+: not the same/,
  ],
  ["a key less", "DELETE FROM idempotency WHERE seq = 5", /idempotency: 19 rows of 20/],
  [
    "another answer of a key",
    "UPDATE idempotency SET answer = 'other' WHERE seq = 5",
    /idempotency: not the same/,
  ],
  ["a changed record", "UPDATE records SET data = 'x' WHERE place = 5", /records: not the same/],
  [
    "a changed run",
    "UPDATE runs SET status = 'failed' WHERE session_key = 2",
    /runs of session \S+: not the same/,
  ],
  ["another amount", "UPDATE usage_days SET cost = cost + 1 WHERE calls = 3", /usage_days: not the same/],
  ["an entry of the trail", "UPDATE audit SET outcome = 'x' WHERE id = 3", /audit: not the same/],
];

describe.skipIf(!hasPostgres)("a copy that is not the same", () => {
  const at = { step: "verify", table: "sessions" } as const;
  test.each(FAULTS)("by %s is found in PostgreSQL", async (_fault, change, said) => {
    await using place = await filled(20);
    const { data_dir, url, sql } = place;
    await interrupted({ data_dir, url, from: "sqlite" }, at);
    await sql.unsafe(change);
    const { message, details } = await refusal(move({ data_dir, url, from: "sqlite" }));
    expect(message).toMatch(said);
    expect(message).toContain("--restart");
    expect(details).toMatchObject({ kind: "differs" });
  });

  test("is opened by no gateway, and made anew with --restart", async () => {
    await using place = await filled(20);
    const { data_dir, url } = place;
    await interrupted({ data_dir, url, from: "sqlite" }, at);
    await using other = await temporaryDirectory();
    expect((await refusal(postgresStore(url, other.path).store.open())).message).toContain(
      "run agentbus migrate again",
    );
    const again = await move({ data_dir, url, from: "sqlite", restart: true });
    expect(again.resumed_after).toBeNull();
    const { store } = postgresStore(url, other.path);
    await store.open();
    await store.close();
  });

  test("by a byte of a file is found, and so is an epoch that is no new one", async () => {
    await using place = await filled(20);
    const { data_dir, url, sql } = place;
    await interrupted({ data_dir, url, from: "sqlite" }, at);
    await sql.unsafe(
      "UPDATE pieces SET data = set_byte(data, 9, get_byte(data, 9) # 1) WHERE content_key = 2 AND n = 1",
    );
    await sql.unsafe("UPDATE sessions SET epoch = $1 WHERE session_key = 1", [epochsOf(data_dir)[0]]);
    const { details } = await refusal(move({ data_dir, url, from: "sqlite" }));
    expect((details as { differences: string[] }).differences).toEqual([
      "sessions of session ses_1: its epoch is no new one",
      "pieces of content 2: not the same",
      "pieces of content 2: the content is not what its SHA-256 says",
    ]);
  });

  test("is found in SQLite, whose gateway does not start on it", async () => {
    await using place = await filled(20);
    const { data_dir, url } = place;
    await move({ data_dir, url, from: "sqlite" });
    setAside(data_dir);
    await interrupted({ data_dir, url, from: "postgres" }, at);
    const draft = new Database(join(data_dir, "agentbus.db.migrating"), { readwrite: true });
    draft.run("UPDATE events SET ts = ts + 1 WHERE session_key = 2 AND seq = 1");
    draft.close(true);
    const refused = await refusal(move({ data_dir, url, from: "postgres" }));
    expect(refused.message).toMatch(/events of session \S+: not the same/);
    expect((await refusal(sqliteStore(data_dir).store.open())).message).toContain(
      "run agentbus migrate again",
    );
    expect(checkDatabase(data_dir, false, 1_000_000)?.faults).toEqual([
      "it is a migration that was not finished",
    ]);
    await move({ data_dir, url, from: "postgres", restart: true });
    const { store } = sqliteStore(data_dir);
    await store.open();
    await store.close();
  });

  test("of a file that was damaged before is made all the same, and told", async () => {
    await using place = await filled(20);
    const { data_dir, url } = place;
    const db = new Database(join(data_dir, "agentbus.db"), { readwrite: true });
    db.run("UPDATE pieces SET data = zeroblob(5) WHERE content_key = 1 AND n = 0");
    db.close(true);
    expect(await move({ data_dir, url, from: "sqlite" })).toMatchObject({ files: 3, damaged_files: 1 });
  });
});
