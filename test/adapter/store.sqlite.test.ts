import { termsOf } from "../../src/core/search.ts";
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import {
  auditRow,
  close,
  append,
  commit,
  commitAll,
  copyOf,
  create,
  event,
  failure,
  ok,
  put,
  say,
  startRun,
} from "./store.builders.ts";
import { used } from "./store.usage.ts";
import { startStoreProcess } from "./store.process.ts";
import { openSqlite, refusal, sqliteStore, temporaryDirectory, withStore } from "./store.sqlite.ts";

describe("data directory", () => {
  test("is made for its owner only, and holds one file and the lock after a clean close", async () => {
    await using directory = await temporaryDirectory();
    const data_dir = join(directory.path, "a", "b");
    await withStore(data_dir, async (store) => {
      await commitAll(store, create("ses_a"));
      expect((await stat(data_dir)).mode & 0o777).toBe(0o700);
      expect((await stat(join(data_dir, "agentbus.db"))).mode & 0o777).toBe(0o600);
      expect(await readFile(join(data_dir, "pid"), "utf8")).toBe(`${process.pid}\n`);
    });
    expect((await readdir(data_dir)).toSorted()).toEqual(["agentbus.db", "lock.db"]);
  });

  test("that cannot be one is refused in a line that says what to do", async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "file");
    await writeFile(file, "");
    for (const data_dir of [file, join(file, "below")]) {
      const error = await refusal(sqliteStore(data_dir).store.open());
      expect(error).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "data_dir" } });
      expect(error.message).toBe(
        `${data_dir} is not a directory: move away the file in its place, or choose another server.data_dir`,
      );
    }
  });

  test("with something else in the database's place is refused, and left alone", async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, "agentbus.db");
    await writeFile(path, "this is no database, and long enough to be seen as none".repeat(100));
    const error = await refusal(sqliteStore(directory.path).store.open());
    expect(error.message).toContain("it is not an agentbus database");
    expect((await readFile(path, "utf8")).startsWith("this is no database")).toBe(true);
  });

  test("written by a newer version is refused, and left alone", async () => {
    await using directory = await temporaryDirectory();
    await withStore(directory.path, async (store) => commitAll(store, create("ses_a")));
    const path = join(directory.path, "agentbus.db");
    const db = new Database(path);
    db.run("PRAGMA user_version = 7");
    db.close(true);
    const error = await refusal(sqliteStore(directory.path).store.open());
    expect(error).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "schema", found: 7 } });
    expect(error.message).toContain("written by a newer agentbus (schema 7,");
    const again = new Database(path);
    expect(again.query("SELECT COUNT(*) AS n FROM sessions").get()).toEqual({ n: 1 });
    again.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    again.close(true);
    await withStore(directory.path, async (store, { last_stop }) => {
      expect(last_stop).toBe("clean");
      expect(await store.session("ses_a")).not.toBeNull();
    });
  });
});

test("a database of the first version is brought up to date, with what it holds", async () => {
  await using directory = await temporaryDirectory();
  await withStore(directory.path, async (store) => commitAll(store, create("ses_a"), say("ses_a", "msg_1")));
  const db = new Database(join(directory.path, "agentbus.db"));
  db.run("DROP INDEX messages_summary");
  db.run("ALTER TABLE messages DROP COLUMN covers");
  for (const table of [
    "audit",
    "usage_days",
    "usage_sessions",
    "contents",
    "pieces",
    "holders",
    "uploads",
    "attachments",
    "search",
    "search_rows",
    "search_queue",
    "search_moved",
  ]) {
    db.run(`DROP TABLE ${table}`);
  }
  for (const trigger of ["said", "completed", "owned"]) db.run(`DROP TRIGGER search_${trigger}`);
  for (const column of ["attachment_count", "attachment_bytes"]) {
    db.run(`ALTER TABLE quotas DROP COLUMN ${column}`);
  }
  db.run("PRAGMA user_version = 1");
  db.close(true);
  await withStore(directory.path, async (store, { last_stop }) => {
    expect(last_stop).toBe("clean");
    expect(await store.context("ses_a", 9, 1_000)).toMatchObject({
      summary: null,
      messages: [{ message_id: "msg_1" }],
    });
    while ((await store.index(10)) > 0);
    const search = { user: "ada", shared: [], terms: termsOf("msg_1")!, limit: 5 };
    expect((await store.search(search)).found).toHaveLength(1);
    await commitAll(store, append(null, [], [auditRow({ action: "login" })]));
    expect(await store.audit({ limit: 10 })).toMatchObject([{ action: "login" }]);
    await commitAll(store, append("ses_a", [], [used()]));
    const query = { by: "session", currency: "EUR", limit: 1 } as const;
    expect(await store.usage(query)).toMatchObject([{ key: "ses_a", calls: 1 }]);
  });
});

test("long messages are made findable a few at a time: who writes meanwhile waits for no more", async () => {
  await using fixture = await openSqlite();
  const { store } = fixture;
  await commitAll(store, create("ses_a"));
  const content = "word ".repeat(20_000);
  for (let at = 0; at < 10; at++) await commitAll(store, say("ses_a", `m${at}`, { content }));
  // Each takes milliseconds, and a step begins none after five.
  expect([1, 2, 3]).toContain(await store.index(10));
  while ((await store.index(10)) > 0);
  const query = { user: "ada", shared: [], terms: termsOf("word")!, limit: 1 };
  expect((await store.search(query)).found).toMatchObject([{ message: { message_id: "m9" } }]);
  // And erased a few at a time.
  await commitAll(store, close("ses_a"));
  let groups = 0;
  for (let done = false; !done; groups++) {
    const [result] = await commit(store, { kind: "erase", session: "ses_a", max_rows: 1_000 });
    done = result?.ok === true && "done" in result && result.done;
  }
  expect(groups).toBeGreaterThanOrEqual(3);
  expect((await store.search(query)).found).toEqual([]);
});

test("more sessions than the writer remembers go on where they were", async () => {
  await using fixture = await openSqlite();
  const { store } = fixture;
  const ids = Array.from({ length: 5_000 }, (_, i) => `ses_${i}`);
  for (let from = 0; from < ids.length; from += 512) {
    const some = ids.slice(from, from + 512);
    await commitAll(store, ...some.map((id) => create(id, { name: id })));
  }
  const more = ids.filter((_, i) => i % 50 === 0);
  for (const seq of [2, 3]) {
    const results = await commit(store, ...more.map((id) => say(id, `msg_${seq}`)));
    expect(results).toEqual(more.map(() => ok(seq)));
  }
  // What is written back of them is all there is of them.
  expect(await store.named("ada", "ses_50")).toMatchObject({ id: "ses_50", head: 3, message_count: 2 });
});

describe("lock", () => {
  test("keeps a second process out until the first ends, collected garbage or not", async () => {
    await using directory = await temporaryDirectory();
    await using holder = startStoreProcess("hold", directory.path);
    expect(await holder.line()).toEqual({ opened: holder.pid });
    expect(await holder.line()).toEqual({ collected: true });
    const error = await refusal(sqliteStore(directory.path).store.open());
    expect(error).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "locked", pid: holder.pid } });
    expect(error.message).toBe(
      `${directory.path} is in use by another agentbus process (pid ${holder.pid}): ` +
        "stop that one, or choose another server.data_dir",
    );
    await holder.kill();
    await withStore(directory.path, async (_, { last_stop }) => expect(last_stop).toBe("crash"), {
      boot_id: () => "boot-1",
    });
  });

  test("outlives a collection and reads of the database in its own process", async () => {
    await using fixture = await openSqlite();
    await commitAll(fixture.store, create("ses_a"));
    const other = new Database(join(fixture.data_dir, "agentbus.db"), { readonly: true });
    other.query("SELECT * FROM sessions").all();
    other.close(true);
    Bun.gc(true);
    await using child = startStoreProcess("hold", fixture.data_dir);
    expect(await child.line()).toEqual({ refused: expect.stringContaining(`(pid ${process.pid})`) });
    expect(await commit(fixture.store, append("ses_a", [event("x")]))).toEqual([ok(2)]);
  });

  test("is free after close, and after an open that failed", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(join(directory.path, "agentbus.db"));
    await refusal(sqliteStore(directory.path).store.open());
    const { store } = sqliteStore(directory.path);
    expect((await refusal(store.open())).details).toEqual({ kind: "database" });
    await store.close();
  });
});

describe("life", () => {
  test("what is committed is there after a close; the store's identity stays", async () => {
    await using directory = await temporaryDirectory();
    const first = await withStore(directory.path, async (store, opened) => {
      await commitAll(
        store,
        create("ses_a", { name: "n" }),
        say("ses_a", "msg_1"),
        startRun("ses_a", "run_1"),
      );
      await commitAll(store, create("ses_x"), startRun("ses_x", "run_x"), close("ses_x"));
      return { opened, row: await store.session("ses_a") };
    });
    expect(first.opened).toMatchObject({ last_stop: "clean", unended: [], deleting: [] });
    await withStore(directory.path, async (store, opened) => {
      expect(opened).toEqual({
        last_stop: "clean",
        unended: [
          {
            run: {
              run_id: "run_1",
              session: "ses_a",
              status: "running",
              data: '{"run_id":"run_1","status":"running"}',
            },
          },
        ],
        deleting: ["ses_x"],
        server_id: first.opened.server_id,
      });
      expect(await store.session("ses_a")).toEqual(first.row);
      expect(await commit(store, { kind: "erase", session: "ses_x", max_rows: 100 })).toEqual([
        { ok: true, done: true },
      ]);
    });
  });

  test("nothing works before open and after close, and closing twice is closing once", async () => {
    await using directory = await temporaryDirectory();
    const { store } = sqliteStore(directory.path);
    expect((await refusal(store.commit([create("ses_a")]))).reason).toBe("UNAVAILABLE");
    await store.open();
    expect((await failure(store.open())).message).toContain("opened once");
    await Promise.all([store.close(), store.close()]);
    await store.close();
    expect((await refusal(store.session("ses_a"))).reason).toBe("UNAVAILABLE");
    expect((await refusal(store.page("ses_a", 0, 1))).reason).toBe("UNAVAILABLE");
    await sqliteStore(directory.path).store.close();
  });

  test("a copy that was cut short is erased when the store opens", async () => {
    await using directory = await temporaryDirectory();
    await withStore(directory.path, async (store) => {
      await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), say("ses_a", "msg_2"));
      await commitAll(store, copyOf("ses_a", "ses_b", { max_rows: 1 }));
    });
    await withStore(
      directory.path,
      async (store, { deleting }) => {
        expect(deleting).toEqual([]);
        expect(await commit(store, create("ses_b"), create("ses_c"))).toEqual([ok(1), ok(1)]);
        expect(await store.totals()).toEqual({ sessions: 3, messages: 2, events: 5 });
      },
      { limits: { sessions_per_user: 3 } },
    );
  });
});

test("readers see a group as soon as it is answered", async () => {
  await using fixture = await openSqlite();
  const { store } = fixture;
  await commitAll(store, create("ses_a"));
  for (let i = 2; i < 50; i++) {
    await commitAll(store, { ...append("ses_a", [event("x")], [put(`msg_${i}`)]), ack: i % 2 === 0 });
    expect((await store.page("ses_a", 0, 100))?.head).toBe(i);
    expect((await store.snapshot("ses_a", 10_000, 1))?.messages[0]?.seq).toBe(i);
  }
});
