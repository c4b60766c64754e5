import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenedStore, Store } from "../../src/core/store.ts";
import { salvage } from "../../src/store/sqlite/salvage.ts";
import { SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import { commitAll, create, say } from "./store.builders.ts";
import { makeOld } from "./store.old.ts";
import { refusal, sqliteStore, temporaryDirectory, withStore } from "./store.sqlite.ts";

for (let version = 1; version < SCHEMA_VERSION; version++) {
  test(`a database of schema ${version} is kept as it was, then brought up to date`, async () => {
    await using directory = await temporaryDirectory();
    makeOld(directory.path, version);
    const kept = join(directory.path, `agentbus.db.schema-${version}`);
    const done: string[] = [];
    const onOpening = (doing: string): void => void done.push(doing);
    const look = async (store: Store, { upgraded }: OpenedStore): Promise<void> => {
      expect(upgraded).toEqual({ from: version, kept });
      const history = await store.history("ses_old", { limit: 10, max_bytes: 1_000_000 });
      expect(history?.messages.map(({ data }) => data)).toEqual([
        '{"content":"said 1"}',
        '{"content":"said 2"}',
      ]);
      await commitAll(store, say("ses_old", "msg_3"));
    };
    await withStore(directory.path, look, { onOpening });
    expect(done.splice(0)).toEqual([
      "opening the database",
      `copying the database, which has schema ${version}, before it is brought to schema ${SCHEMA_VERSION}`,
      `bringing the database from schema ${version} to schema ${SCHEMA_VERSION}`,
    ]);
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    const old = new Database(kept, { readonly: true });
    expect(old.query("PRAGMA user_version").get()).toEqual({ user_version: version });
    expect(old.query("SELECT COUNT(*) AS n FROM messages").get()).toEqual({ n: 2 });
    old.close(true);
    const again = async (_store: Store, { upgraded }: OpenedStore) => expect(upgraded).toBeUndefined();
    await withStore(directory.path, again, { onOpening });
    expect(done).toEqual(["opening the database"]);
  });
}

test("two of them are kept, the newest, and nothing of an upgrade that was cut short", async () => {
  await using directory = await temporaryDirectory();
  makeOld(directory.path, 3);
  const drafts = ["schema-3.part", "schema-3.part-journal", `schema-${SCHEMA_VERSION}.part`];
  const leave = (...names: readonly string[]): void => {
    for (const name of names) writeFileSync(join(directory.path, `agentbus.db.${name}`), "");
  };
  const left = (): string[] => readdirSync(directory.path).filter((name) => name.includes("schema"));
  const kept = ["agentbus.db.schema-2", "agentbus.db.schema-3", "agentbus.db.schema-notes"];
  leave("schema-1", "schema-2", "schema-notes", ...drafts);
  await withStore(directory.path, async () => undefined);
  expect(left().toSorted()).toEqual(kept);
  // Of a newer version, which was taken back before it had come further.
  leave(...drafts);
  await withStore(directory.path, async () => undefined);
  expect(left().toSorted()).toEqual(kept);
});

/** One that was closed, with much in it. */
async function makeFull(data_dir: string): Promise<string> {
  await withStore(data_dir, async (store) => {
    await commitAll(store, create("ses_a"), create("ses_b"));
    for (let n = 0; n < 400; n += 50) {
      const group = Array.from({ length: 50 }, (_, i) => [
        say("ses_a", `msg_${n + i}`, { content: "words ".repeat(500) }),
        say("ses_b", `msg_${n + i}`),
      ]);
      await commitAll(store, ...group.flat());
    }
  });
  return join(data_dir, "agentbus.db");
}

test("a file that was cut off, or whose pages are not what they were, is told at the start, with the way out", async () => {
  await using directory = await temporaryDirectory();
  const path = await makeFull(directory.path);
  truncateSync(path, statSync(path).size - 50 * 4_096);
  const error = await refusal(sqliteStore(directory.path).store.open());
  expect(error).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "damaged" } });
  expect(error.message).toMatch(
    /is damaged \(the file has \d+ bytes of \d+\): put a backup .* agentbus restore FILE, or .* agentbus repair/,
  );
});

test("after a write of unknown outcome the whole of it is read; word of it stays until it is whole", async () => {
  await using directory = await temporaryDirectory();
  const path = await makeFull(directory.path);
  const db = new Database(path, { readonly: true });
  const root = db.query<{ rootpage: number }, []>(
    "SELECT rootpage FROM sqlite_schema WHERE name = 'messages_seq'",
  );
  const at = ((root.get()?.rootpage ?? 0) - 1) * 4_096;
  db.close(true);
  const bytes = Buffer.from(await Bun.file(path).arrayBuffer());
  // Of an index: nothing that a quick look finds.
  bytes.fill(0x5a, at, at + 4_096);
  writeFileSync(path, bytes);
  await withStore(directory.path, async () => undefined);
  writeFileSync(join(directory.path, "suspect"), "a test\n");
  const { store: suspected, lines } = sqliteStore(directory.path);
  const error = await refusal(suspected.open());
  expect(error).toMatchObject({ details: { kind: "damaged" } });
  const message = "reading all of the database, since the outcome of its last write is not known";
  expect(lines).toEqual([{ level: "info", path, bytes: bytes.length, message }]);
  expect(readdirSync(directory.path)).toContain("suspect");
  expect(salvage(directory.path, 0).tables.every(({ whole }) => whole)).toBe(true);
  await withStore(directory.path, async (store) => {
    expect((await store.session("ses_a"))?.message_count).toBe(400);
  });
});

test("what can be read of a damaged database is saved, with new epochs, and the damaged one is kept", async () => {
  await using directory = await temporaryDirectory();
  const path = await makeFull(directory.path);
  const before = new Database(path, { readonly: true });
  const { epoch } = before
    .query<{ epoch: string }, []>("SELECT epoch FROM sessions WHERE id = 'ses_a'")
    .get() ?? { epoch: "" };
  before.close(true);
  const bytes = Buffer.from(await Bun.file(path).arrayBuffer());
  // Pages in the middle of what messages are in.
  bytes.fill(0x5a, Math.floor(bytes.length * 0.6), Math.floor(bytes.length * 0.6) + 3 * 4_096);
  writeFileSync(path, bytes);
  const { kept, tables } = salvage(directory.path, 0);
  expect(statSync(kept).size).toBe(bytes.length);
  expect(tables.find(({ table }) => table === "sessions")).toMatchObject({ rows: 2, whole: true });
  await withStore(directory.path, async (store, { last_stop }) => {
    expect(last_stop).toBe("clean");
    const session = await store.session("ses_a");
    expect(session?.epoch).not.toBe(epoch);
    expect(session?.message_count).toBeGreaterThan(100);
    const history = await store.history("ses_a", { limit: 1_000, max_bytes: 100_000_000 });
    expect(history?.messages).toHaveLength(session?.message_count ?? -1);
    await commitAll(store, say("ses_a", "msg_new"));
    expect(await store.page("ses_a", session?.head ?? 0, (session?.head ?? 0) + 1)).toMatchObject({
      events: [{}],
    });
  });
});
