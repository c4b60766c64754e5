import type { Subprocess } from "bun";
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { archiveName } from "../../src/cli/release-file.ts";
import { OPENING_FILE } from "../../src/opening.ts";
import { SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import { makeOld } from "../adapter/store.old.ts";
import { plainEnvironment, workplace } from "../support/executable.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { BuiltRelease, Published } from "../support/release.ts";
import { RELEASE_MS, builtRelease, publish, scriptArchive } from "../support/release.ts";

// An executable is built, started, replaced and put back.
setDefaultTimeout(120_000);

/** An upgrade that is under way: what it does about a database that takes long, and about whoever asked for it and is gone. */
const TARGET = "linux-x64";
/** As the tests of upgrades have it, so that it is built once for both. */
const RELEASE = { version: "7.1.0", targets: [TARGET], deb: false };
const OLD = RELEASE.version;
const able = process.platform === "linux" && process.arch === "x64";
const onSqlite = Bun.env["AGENTBUS_TEST_STORE"] !== "postgres";
const GRACE = { AGENTBUS_SERVER_SHUTDOWN_GRACE_SECS: "1" };
const place = workplace();
const binary = join(place.path, "bin/agentbus");
let site: Published;
let own: BuiltRelease;
let original: Buffer;

beforeAll(async () => {
  if (!able) return;
  own = await builtRelease("next", RELEASE);
  Bun.spawnSync(["tar", "-xzf", join(own.directory, archiveName(OLD, TARGET))], { cwd: place.path });
  original = readFileSync(join(place.path, `agentbus-${OLD}-${TARGET}/agentbus`));
  site = publish();
}, RELEASE_MS);
afterAll(() => {
  if (able) site[Symbol.dispose]();
  place[Symbol.dispose]();
});
beforeEach(() => {
  if (!able) return;
  rmSync(join(place.path, "bin"), { recursive: true, force: true });
  mkdirSync(join(place.path, "bin"));
  copyFileSync(join(place.path, `agentbus-${OLD}-${TARGET}/agentbus`), binary);
});

/** Publishes a version of a shell script that tells it, and what else it knows, and does `serve` as its gateway. */
function publishScript(version: string, serve: string, more: object = {}): void {
  const facts = JSON.stringify({ version, ...more });
  site.put(
    version,
    scriptArchive(version, TARGET, `case $1 in version) echo '${facts}' ;; *) ${serve} ;; esac`),
    own.key,
  );
}

const command = (data_dir: string, ...argv: readonly string[]): string[] =>
  [binary, "upgrade", "--base-url", site.url, "--data-dir", data_dir].concat(argv);
const where = { cwd: place.path, env: plainEnvironment(GRACE) };

async function upgrade(data_dir: string, ...argv: readonly string[]): Promise<{ code: number; err: string }> {
  const child = Bun.spawn(command(data_dir, ...argv), { ...where, stdin: "ignore", stderr: "pipe" });
  const [err, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  return { code, err };
}

const isOriginal = (file: string): boolean => readFileSync(file).equals(original);

describe.skipIf(!able || !onSqlite)("a database that a version brings up to date", () => {
  test("is waited for, and who cannot read it then is not put back", async () => {
    // In place of a version with another schema: on a slow disk, and with something wrong that shows only then.
    const program = place.file(
      "newer.ts",
      `import { Database } from "bun:sqlite";
      import { rmSync, writeFileSync } from "node:fs";
      import { OPENING_FILE } from ${JSON.stringify(resolve(import.meta.dir, "../../src/opening.ts"))};
      const { AGENTBUS_SERVER_DATA_DIR: data_dir } = process.env;
      const { pid } = process;
      const doing = "bringing the database up to date";
      writeFileSync(data_dir + "/" + OPENING_FILE, JSON.stringify({ pid, doing }));
      await Bun.sleep(6_000);
      const db = new Database(data_dir + "/agentbus.db");
      db.run("PRAGMA user_version = 99");
      db.close(true);
      writeFileSync(data_dir + "/agentbus.db.schema-${SCHEMA_VERSION}", "");
      rmSync(data_dir + "/" + OPENING_FILE);
      process.exit(7);`,
    );
    await using gateway = await startGateway({ binary, env: GRACE });
    const { data_dir, pid } = gateway;
    publishScript("7.5.0", `exec ${process.execPath} ${program}`);
    const { code, err } = await upgrade(data_dir, "--ready-secs", "1");
    expect(code).toBe(1);
    expect(err).toContain(`process ${pid} is bringing the database up to date: waiting for it\n`);
    expect(err).toContain("7.5.0 is not ready (it ended) and stays in its place");
    const restore = `agentbus restore ${data_dir}/agentbus.db.schema-${SCHEMA_VERSION} --data-dir ${data_dir}\n`;
    expect(err).toContain(`agentbus upgrade --rollback --no-restart, then ${restore}`);
    expect(await gateway.exited).toBe(7);
    expect(readFileSync(binary, "utf8")).toContain("7.5.0");
    expect(isOriginal(`${binary}.previous`)).toBe(true);
  });

  test("is not given to a version that cannot read it, nor is anything changed while one is at it", async () => {
    const data_dir = join(place.path, "data");
    mkdirSync(data_dir);
    makeOld(data_dir, SCHEMA_VERSION);
    publishScript("0.0.9", "exit 1", { schemas: { sqlite: SCHEMA_VERSION - 1, postgres: 1 } });
    const older = ["--version", "0.0.9"];
    const { code, err } = await upgrade(data_dir, ...older);
    expect([code, err]).toEqual([1, expect.stringContaining("0.0.9 cannot read that: nothing was changed")]);
    const { pid } = process;
    const opening = join(data_dir, OPENING_FILE);
    writeFileSync(opening, JSON.stringify({ pid, doing: "copying the database" }));
    const early = await upgrade(data_dir, ...older, "--no-restart");
    expect([early.code, early.err]).toEqual([
      1,
      `agentbus: the gateway (process ${pid}) is copying the database: wait until it listens (agentbus status); nothing was changed\n`,
    ]);
    expect(readdirSync(join(place.path, "bin"))).toEqual(["agentbus"]);
    rmSync(opening);
    // The way back: what is there is replaced, then the database.
    expect((await upgrade(data_dir, ...older, "--no-restart")).code).toBe(0);
    expect(isOriginal(`${binary}.previous`)).toBe(true);
  });
});

/** An upgrade whose terminal, or whoever read it, goes as soon as it has said `word`; its exit code. */
async function leaveAfter(word: string, how: "terminal" | "pipe", argv: string[]): Promise<number> {
  const said = Promise.withResolvers<void>();
  let text = "";
  const heard = (bytes: Uint8Array): void => {
    text += new TextDecoder().decode(bytes);
    if (text.includes(word)) said.resolve();
  };
  if (how === "terminal") {
    const terminal = { cols: 200, rows: 24, data: (_terminal: unknown, bytes: Uint8Array) => heard(bytes) };
    const child: Subprocess = Bun.spawn(argv, { ...where, terminal });
    await said.promise;
    child.terminal?.close();
    return child.exited;
  }
  const child = Bun.spawn(argv, { ...where, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const reader = child.stderr.getReader();
  while (!text.includes(word)) heard((await reader.read()).value ?? new Uint8Array());
  await Promise.all([reader.cancel(), child.stdout.cancel()]);
  return child.exited;
}

describe.skipIf(!able)("whoever asked for an upgrade is gone, and it is judged nevertheless:", () => {
  test.each([
    ["terminal", "restarting the gateway"],
    // Before the rest of what it says, so that it meets nobody.
    ["pipe", "fetching"],
  ] as const)("by its %s", async (how, word) => {
    // As a service manager with Restart=always.
    const supervisor = place.file(
      "supervisor.sh",
      `#!/bin/sh\ntrap 'kill $!; exit' TERM\nwhile :; do ${binary} "$@" & wait $!; done\n`,
    );
    Bun.spawnSync(["chmod", "+x", supervisor]);
    await using gateway = await startGateway({ binary: supervisor, env: GRACE });
    publishScript("7.6.0", "exec sleep 1000");
    const argv = command(gateway.data_dir, "--ready-secs", "2");
    expect(await leaveAfter(word, how, argv)).toBe(1);
    expect(isOriginal(binary)).toBe(true);
    const lines = gateway.log.filter(({ msg }) => msg === "listening");
    expect(lines.map((line) => line["version"])).toEqual([OLD, OLD]);
  });
});

test.skipIf(!able)("whoever ends the wait is told that nobody judges any more", async () => {
  await using gateway = await startGateway({ binary, env: GRACE });
  publishScript("7.7.0", "exec sleep 1000");
  const child = Bun.spawn(command(gateway.data_dir), { ...where, stdin: "ignore", stderr: "pipe" });
  let text = "";
  for await (const bytes of child.stderr) {
    text += new TextDecoder().decode(bytes);
    if (text.endsWith(")\n") && text.includes("restarting the gateway")) child.kill("SIGINT");
  }
  expect([await child.exited, text]).toEqual([130, expect.stringContaining("upgrade --rollback puts back")]);
});
