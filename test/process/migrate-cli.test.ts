import { SQL } from "bun";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fillSqlite } from "../adapter/migration.fixture.ts";
import { postgresStore } from "../adapter/store.postgres.ts";
import { eventually } from "../gateway/stack.ts";
import { AGENTBUS, agentbus, inTerminal, plainEnvironment, workplace } from "../support/executable.ts";
import { hasPostgres, testDatabase } from "../support/postgres.ts";

setDefaultTimeout(120_000);
interface Options {
  readonly cwd: string;
  readonly env?: Record<string, string>;
  /** What is locked in which way, once `begun` has come. */
  readonly table: string;
  readonly mode: string;
  readonly begun: () => Promise<unknown>;
}

/** Waits until the process that migrates waits for a lock on a table, and kills it. */
async function killWhereItWaits(sql: SQL, argv: readonly string[], options: Options): Promise<void> {
  const env = plainEnvironment(options.env);
  const child = Bun.spawn([...AGENTBUS, "migrate", ...argv], {
    cwd: options.cwd,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  await options.begun();
  await sql.unsafe(`BEGIN; LOCK TABLE agentbus.${options.table} IN ${options.mode} MODE`);
  const waiting = (): Promise<unknown[]> =>
    sql.unsafe(
      `SELECT 1 FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
         WHERE NOT granted AND d.datname = current_database() AND relation = 'agentbus.${options.table}'::regclass`,
    );
  await eventually(waiting, (rows) => rows.length > 0, 20_000);
  child.kill("SIGKILL");
  await child.exited;
  await sql.unsafe("ROLLBACK");
  // The server hears of it when it next says something.
  const connected = (): Promise<unknown[]> =>
    sql.unsafe(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'agentbus migrate' AND datname = current_database()",
    );
  await eventually(connected, (rows) => rows.length === 0, 20_000);
}

describe.skipIf(!hasPostgres)("agentbus migrate", () => {
  test("that is killed goes on where it stopped; until it came to its end no gateway starts on the target", async () => {
    using place = workplace();
    await using database = await testDatabase();
    const data_dir = join(place.path, "data");
    mkdirSync(data_dir);
    fillSqlite(data_dir, 50, { events: 20_000 });
    writeFileSync(join(place.path, "url"), `${database.url}\n`);
    const at = { cwd: place.path };
    const cli = ["--data-dir", data_dir];
    const sql = new SQL(database.url, { max: 1 });
    // Of a node that found nothing to keep: an empty database all the same.
    const { store } = postgresStore(database.url, join(place.path, "node"));
    await store.open();
    await store.close();

    const there = ["--from", "sqlite", "--to-file", "url", ...cli];
    const mode = "SHARE ROW EXCLUSIVE";
    await killWhereItWaits(sql, there, { ...at, table: "audit", mode, begun: async () => undefined });
    const elsewhere = ["serve", "--port", "0", "--data-dir", join(place.path, "other")];
    const refused = await agentbus(elsewhere, { ...at, env: { AGENTBUS_STORAGE_URL: database.url } });
    expect([refused.code, refused.err + refused.out]).toEqual([
      1,
      expect.stringContaining("run agentbus migrate again"),
    ]);
    const doctor = await agentbus(["doctor", ...cli], { ...at, env: { AGENTBUS_STORAGE_URL: database.url } });
    expect(doctor.out).toMatch(/✗ database .*not all was copied\n +→ run agentbus migrate again/);
    const done = await agentbus(["migrate", ...there], at);
    expect([done.code, done.err]).toEqual([0, ""]);
    expect(done.out).toMatch(/^went on where an earlier run stopped, after 20,\d+ rows\ncopied 20,\d+ rows/);
    expect(done.out).toMatch(/\n {2}events +20,000 +[0-9a-f]{64}\n/);
    expect(done.out).toContain("Now set storage.url to that address");

    for (const rest of ["", "-wal", "-shm"]) {
      const name = join(data_dir, `agentbus.db${rest}`);
      if (existsSync(name)) renameSync(name, `${name}.old`);
    }
    const draft = join(data_dir, "agentbus.db.migrating");
    const begun = (): Promise<unknown> => eventually(() => existsSync(draft), Boolean, 20_000);
    const back = ["--from-file", "url", "--to", "sqlite", ...cli];
    await killWhereItWaits(sql, back, { ...at, table: "attachments", mode: "ACCESS EXCLUSIVE", begun });
    const serve = await agentbus(["serve", "--port", "0", ...cli], at);
    expect([serve.code, serve.err + serve.out]).toEqual([
      1,
      expect.stringContaining(`${draft} is a migration that was not finished`),
    ]);
    const looked = await agentbus(["doctor", ...cli], at);
    expect(looked.out).toMatch(
      /✗ database .*agentbus\.db\.migrating is not as it should be.*\n +→ run agentbus migrate again/,
    );
    const json = await agentbus(["migrate", ...back, "--json"], at);
    expect(JSON.parse(json.out)).toMatchObject({ resumed_after: expect.any(Number), files: 3 });
    expect(existsSync(draft)).toBe(false);
    await sql.close({ timeout: 1 });
  });

  test("counts at a terminal, a line for each table", async () => {
    using place = workplace();
    await using database = await testDatabase();
    const data_dir = join(place.path, "data");
    mkdirSync(data_dir);
    fillSqlite(data_dir, 50, { events: 20_000 });
    const env = { AGENTBUS_STORAGE_URL: database.url };
    const argv = ["migrate", "--from", "sqlite", "--to", "postgres", "--data-dir", data_dir];
    await using terminal = inTerminal(argv, { cwd: place.path, env, rows: 100 });
    expect(await terminal.exited).toBe(0);
    expect(terminal.shown).toMatch(/copying events: [\d,]+ rows, \d+ %/);
    const screen = await terminal.screen();
    expect(screen.slice(0, 2)).toEqual(["copying sessions: 7 rows", "copying events: 20,000 rows"]);
    expect(screen).toContain("verifying attachments: 50 rows");
  });
});

test("agentbus migrate takes no password on its command line, and repeats none", async () => {
  using place = workplace();
  const cli = ["migrate", "--data-dir", join(place.path, "data")];
  const url = "postgres://ann:hunter2@127.0.0.1:1/none";
  writeFileSync(join(place.path, "url"), url);
  writeFileSync(join(place.path, "wrong"), `nothing ${url}`);
  mkdirSync(join(place.path, "data"));
  fillSqlite(join(place.path, "data"), 3);
  const cases: readonly (readonly [argv: string[], code: number, said: RegExp])[] = [
    [["--from", "sqlite", "--to", url], 2, /others see a password on the command line: .*--to-file FILE/],
    [["--from", "sqlite", "--to", "postgres"], 2, /storage\.url, which is empty/],
    [["--from", "sqlite"], 2, /migrate needs --to/],
    [["--from", "sqlite", "--to", "sqlite"], 2, /one of --from and --to is sqlite/],
    [["--from-file", "url", "--to-file", "url"], 2, /one of --from and --to is sqlite/],
    [["--from", "sqlite", "--to", "sqlite", "--to-file", "url"], 2, /not both/],
    [["--from", "sqlite", "--to-file", "missing"], 1, /cannot read .*missing: ENOENT/],
    [["--from", "sqlite", "--to-file", "wrong"], 2, /--to-file: it is no address/],
    [["--from", "sqlite", "--to", "mysql://x/y"], 2, /--to: it begins with mysql:/],
    [
      ["--from", "sqlite", "--to-file", "url"],
      1,
      /cannot use the database none of 127\.0\.0\.1:1: is it running/,
    ],
  ];
  for (const [argv, code, said] of cases) {
    const done = await agentbus([...cli, ...argv], { cwd: place.path });
    expect([argv, done.code, done.out]).toEqual([argv, code, ""]);
    expect(done.err).toMatch(said);
    expect(done.err).not.toContain("hunter2");
  }
});
