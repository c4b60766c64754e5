import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRunning, readWritten } from "../../src/cli/running.ts";
import { configOf } from "../../src/config.ts";
import { SCHEMAS, wayBack } from "../../src/database-check.ts";
import { checkDatabase, recordsIn, schemaOf } from "../../src/store/sqlite/check.ts";
import { withinDataDir } from "../../src/store/sqlite/data-dir.ts";
import { takeLock } from "../../src/store/sqlite/lock.ts";

/** Somebody else. */
const UID = 4_321;
const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.log("skipped: needs root, sudo");

let home: string;
let data_dir: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "agentbus-owner-"));
  data_dir = join(home, "data");
  mkdirSync(data_dir);
  if (isRoot) chownSync(data_dir, UID, UID);
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

describe.skipIf(!isRoot)("in a directory of another user, root", () => {
  test("leaves what it makes to them, also where it fails", async () => {
    const make = (name: string): void => writeFileSync(join(data_dir, name), "");
    await withinDataDir(data_dir, () => make("agentbus.db"));
    const failing = withinDataDir(data_dir, () => {
      for (const name of ["lock.db", "agentbus.db.migrating", "secrets.key", "theirs"]) make(name);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    const owners = readdirSync(data_dir).map((name) => [name, lstatSync(join(data_dir, name)).uid]);
    expect(Object.fromEntries(owners)).toEqual({
      "agentbus.db": UID,
      "agentbus.db.migrating": UID,
      "lock.db": UID,
      "secrets.key": UID,
      theirs: 0,
    });
  });

  test("writes through nothing that they put there", async () => {
    writeFileSync(join(home, "precious"), "precious");
    symlinkSync(join(home, "precious"), join(data_dir, "pid"));
    const locking = withinDataDir(data_dir, () => takeLock(data_dir, 1));
    await expect(locking).rejects.toThrow("pid is a link, or no file");
    expect(readFileSync(join(home, "precious"), "utf8")).toBe("precious");
    expect(readdirSync(data_dir)).toEqual(["pid"]);
  });

  test("reads nothing that they put there", () => {
    writeFileSync(join(home, "secret"), "secret");
    symlinkSync(join(home, "secret"), join(data_dir, "token"));
    symlinkSync(join(home, "secret"), join(data_dir, "gateway.json"));
    expect(() => readWritten(data_dir, "token")).toThrow("token is not what a gateway wrote");
    expect(() => readRunning(data_dir)).toThrow("gateway.json is not what a gateway wrote");
    rmSync(join(data_dir, "token"));
    expect(readWritten(data_dir, "token")).toBeUndefined();
    writeFileSync(join(data_dir, "token"), "theirs");
    chownSync(join(data_dir, "token"), UID, UID);
    expect(readWritten(data_dir, "token")).toBe("theirs");
  });

  test("looks at no database that they only lead to", async () => {
    const { config } = configOf({ server: { data_dir } }, { env: {}, cwd: home });
    const newer = (): void => {
      using db = new Database(join(home, "newer.db"));
      db.run("PRAGMA user_version = 999");
    };
    newer();
    renameSync(join(home, "newer.db"), join(data_dir, "agentbus.db"));
    expect(await wayBack(config, SCHEMAS)).toContain("agentbus restore");
    rmSync(join(data_dir, "agentbus.db"));
    newer();
    symlinkSync(join(home, "newer.db"), join(data_dir, "agentbus.db"));
    expect(await wayBack(config, SCHEMAS)).toBeNull();
  });

  test("reads what they replace at that moment", async () => {
    const file = JSON.stringify(join(data_dir, "gateway.json"));
    const code = `import { chownSync, renameSync, writeFileSync } from "node:fs";
      for (let n = 0; ; n++) {
        writeFileSync(${file} + ".new", "{}");
        chownSync(${file} + ".new", ${UID}, ${UID});
        renameSync(${file} + ".new", ${file});
        if (n === 0) console.log("begun");
      }`;
    const writer = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe" });
    try {
      await writer.stdout.getReader().read();
      const seen = new Set<string | undefined>();
      for (let n = 0; n < 4_000; n++) seen.add(readWritten(data_dir, "gateway.json"));
      expect([...seen]).toEqual(["{}"]);
    } finally {
      writer.kill("SIGKILL");
      await writer.exited;
    }
  });
});

test.skipIf(process.platform === "win32")("nobody waits at a pipe in the place of a database", () => {
  const file = join(data_dir, "agentbus.db");
  Bun.spawnSync(["mkfifo", file]);
  const faults = ["it is no file"];
  expect(checkDatabase(data_dir, false, 1)).toEqual({ file, bytes: 0, read: false, faults });
  expect([schemaOf(file), recordsIn(data_dir, [])]).toEqual([0, []]);
});

test("a lock that can only be read is none", () => {
  writeFileSync(join(data_dir, "lock.db"), "", { mode: 0o444 });
  const lock = (): string => {
    const code = `const { takeLock } = await import(${JSON.stringify(join(import.meta.dir, "../../src/store/sqlite/lock.ts"))});
      process.setgid?.(${UID}); process.setuid?.(${UID});
      try { takeLock(${JSON.stringify(data_dir)}, 1); console.log("locked"); } catch (error) { console.log(error.message); }`;
    return Bun.spawnSync([process.execPath, "-e", isRoot ? code : code.replace(/process\.set.*;/, "")])
      .stdout.toString()
      .trim();
  };
  if (isRoot) Bun.spawnSync(["chmod", "755", home]);
  expect(lock()).toContain("let this user own it");
});
