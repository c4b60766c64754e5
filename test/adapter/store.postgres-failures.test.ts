import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { SQL } from "bun";
import { systemClock } from "../../src/clock.ts";
import { configOf } from "../../src/config.ts";
import type { Store } from "../../src/core/store.ts";
import { SCHEMAS, wayBack } from "../../src/database-check.ts";
import { examine } from "../../src/store/postgres/examine.ts";
import { postgresProxy } from "../support/postgres-proxy.ts";
import { hasPostgres, testCluster, testDatabase } from "../support/postgres.ts";
import { append, commitAll, create, event, failure, key, ok, START } from "./store.builders.ts";
import { openPostgres, postgresStore } from "./store.postgres.ts";
import { refusal, temporaryDirectory } from "./store.sqlite.ts";

// A test that is too slow has its server ended with it.
setDefaultTimeout(60_000);
const cluster = hasPostgres ? await testCluster() : null;

/** Statements of the administrator. */
async function admin<T>(url: string, use: (sql: SQL) => Promise<T>): Promise<T> {
  const sql = new SQL(url, { max: 1 });
  try {
    return await use(sql);
  } finally {
    await sql.close({ timeout: 1 });
  }
}

async function seqs(store: Store): Promise<string> {
  const page = await store.page("ses_a", 0, 1_000);
  return page?.events.map(({ seq, payload }) => `${seq}${payload}`).join(" ") ?? "none";
}

/** A store whose connections go through a proxy. */
async function behindProxy(limits = {}) {
  const database = await testDatabase();
  const directory = await temporaryDirectory();
  const proxy = postgresProxy(cluster!.port);
  const url = database.url.replace(`:${cluster!.port}/`, `:${proxy.port}/`);
  const made = postgresStore(url, directory.path, { limits });
  await made.store.open();
  return {
    ...made,
    proxy,
    async [Symbol.asyncDispose]() {
      await made.store.close();
      proxy[Symbol.dispose]();
      await database[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Tries until storage takes it, as the journal does. */
async function persist(store: Store, ...group: Parameters<Store["commit"]>[0]): Promise<unknown> {
  for (let tries = 0; tries < 200; tries++) {
    const answer = await store.commit(group);
    if (answer.ok) return answer.results;
    await Bun.sleep(25);
  }
  throw new Error("storage did not take it");
}

describe.skipIf(!hasPostgres)("postgres", () => {
  test("a commit whose answer is lost was made, and is not made again", async () => {
    await using fixture = await behindProxy();
    const { store, proxy } = fixture;
    await commitAll(store, create("ses_a"));
    proxy.cutCommit("after");
    const rows = [key("k")];
    expect(await store.commit([append("ses_a", [event("x", { n: 1 })], rows)])).toEqual({
      ok: true,
      results: [ok(2)],
    });
    expect(await store.commit([append("ses_a", [event("x", { n: 2 })])])).toEqual({
      ok: true,
      results: [ok(3)],
    });
    expect(await seqs(store)).toBe('1{} 2{"n":1} 3{"n":2}');
  });

  test("a commit that did not get there changed nothing", async () => {
    await using fixture = await behindProxy();
    const { store, proxy } = fixture;
    await commitAll(store, create("ses_a"));
    proxy.cutCommit("before");
    const group = [append("ses_a", [event("x", { n: 1 })]), append(null, [], [key("k")])];
    expect(await store.commit(group)).toEqual({ ok: false, refused: "unreachable" });
    expect(await store.idempotency("ada", "k")).toBeNull();
    expect(await persist(store, ...group)).toEqual([ok(2), { ok: true, first_seq: 0, epoch: "" }]);
    expect(await seqs(store)).toBe('1{} 2{"n":1}');
  });

  test("a server that says nothing is given up", async () => {
    await using fixture = await behindProxy({ writer_silence_ms: 500 });
    const { store, proxy } = fixture;
    await commitAll(store, create("ses_a"));
    proxy.freeze();
    expect(await store.commit([append("ses_a", [event("x")])])).toEqual({
      ok: false,
      refused: "unreachable",
    });
    await failure(store.session("ses_a"));
  });

  test("where nobody tells what became of a commit, nothing goes on", async () => {
    await using fixture = await behindProxy({ writer_silence_ms: 500 });
    const { store, proxy } = fixture;
    await commitAll(store, create("ses_a"));
    proxy.cutCommit("after", true);
    expect((await failure(store.commit([append("ses_a", [event("x")])]))).message).toBe(
      "what became of the last group cannot be found out",
    );
  });

  test("connections that are ended again and again lose and double nothing", async () => {
    await using fixture = await openPostgres();
    const { store, url } = fixture;
    await commitAll(store, create("ses_a"));
    // So many times: a machine that is busy takes longer to connect than one attack waits for the next.
    const enemy = admin(url, async (sql) => {
      for (let attacks = 0; attacks < 20; attacks++) {
        await sql.unsafe(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
        );
        await Bun.sleep(20 + Math.random() * 80);
      }
    });
    for (let n = 1; n <= 60; n++) {
      expect(await persist(store, append("ses_a", [event("x", { n })], [key(`k${n}`)]))).toEqual([ok(n + 1)]);
    }
    await enemy;
    expect(await seqs(store)).toBe(
      ["1{}", ...Array.from({ length: 60 }, (_, i) => `${i + 2}{"n":${i + 1}}`)].join(" "),
    );
  });

  test("a server that is stopped at once and started again is found again", async () => {
    await using fixture = await openPostgres();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    await cluster!.stop("immediate");
    expect(await store.commit([append("ses_a", [event("x")])])).toEqual({
      ok: false,
      refused: "unreachable",
    });
    await cluster!.start();
    expect(await persist(store, append("ses_a", [event("x", { n: 2 })]))).toEqual([ok(2)]);
    expect(await seqs(store)).toBe('1{} 2{"n":2}');
  });

  test("says what to do about a server that cannot be used", async () => {
    await using directory = await temporaryDirectory();
    const { url } = await (await testCluster()).database();
    const why = async (to: string) => (await refusal(postgresStore(to, directory.path).store.open())).message;
    expect(await why(url.replace(/:\d+\//, ":1/"))).toMatch(
      /is it running, and does storage\.url name its address\?/,
    );
    expect(await why(`${url}_missing`)).toContain("createdb --encoding=UTF8 NAME");
    expect(await why(`${url}?sslmode=require`)).toContain("?sslmode=disable");
    const secret = await why(url.replace("postgres@", "nobody:hunter2@"));
    expect(secret).toContain("the user or the password of storage.url is not accepted");
    expect(secret).not.toContain("hunter2");
    await admin(url, (sql) => sql.unsafe("CREATE ROLE guest LOGIN"));
    expect(await why(url.replace("postgres@", "guest@"))).toContain("GRANT CREATE ON DATABASE");
    await admin(url, (sql) =>
      sql.unsafe(
        "CREATE SCHEMA agentbus; CREATE TABLE agentbus.meta (name text, value text); INSERT INTO agentbus.meta VALUES ('schema', '999')",
      ),
    );
    const newer = "written by a newer agentbus (schema 999";
    expect(await why(url)).toContain(newer);
    expect(await examine(url, systemClock)).toMatchObject({
      state: "failed",
      finding: expect.stringContaining(newer),
      advice: expect.stringContaining("use that version"),
    });
    const { config } = configOf({ storage: { url } }, { env: {}, cwd: directory.path });
    expect(await wayBack(config, SCHEMAS)).toContain("the backup of its server");
    expect(await wayBack(config, { ...SCHEMAS, postgres: 999 })).toBeNull();
  });

  test("a database that is of no use is told with what to do", async () => {
    await using database = await testDatabase();
    const name = `${database.name}_latin`;
    const how = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    await admin(database.url, (sql) => sql.unsafe(`CREATE DATABASE ${name} ${how}`));
    try {
      expect(await examine(`${database.url}_latin`, systemClock)).toEqual({
        state: "failed",
        finding: expect.stringContaining("its encoding is LATIN1"),
        advice: expect.stringContaining("storage.url"),
      });
    } finally {
      await admin(database.url, (sql) => sql.unsafe(`DROP DATABASE ${name}`));
    }
  });

  test("another timeline, or another server, draws epochs anew", async () => {
    await using database = await testDatabase();
    await using directory = await temporaryDirectory();
    const first = postgresStore(database.url, directory.path);
    expect(await first.store.open()).toMatchObject({ last_stop: "clean" });
    await commitAll(first.store, create("ses_a"));
    await first.store.close();
    await admin(database.url, (sql) =>
      sql.unsafe("UPDATE agentbus.meta SET value = '{}' WHERE name = 'identity'"),
    );
    const second = postgresStore(database.url, directory.path);
    expect(await second.store.open()).toMatchObject({ last_stop: "power" });
    const row = await second.store.session("ses_a");
    expect(row).toMatchObject({ head: 1, updated_at: START });
    expect(row?.epoch).toMatch(/^(?!epoch001$)[a-z0-9]{8}$/);
    await second.store.close();
  });
});
