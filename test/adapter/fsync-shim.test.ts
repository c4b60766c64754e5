import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import { startScript } from "./store.process.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

/** Commits as it is asked to on stdin, one line each: FULL or NORMAL. Says how that went. */
const COMMITTER = `
import { Database } from "bun:sqlite";
const db = new Database(process.argv[2]);
db.run("PRAGMA journal_mode = WAL");
db.run("CREATE TABLE t (n INTEGER)");
const say = (line) => process.stdout.write(JSON.stringify(line) + "\\n");
say({ ready: true });
for await (const line of console) {
  const began = performance.now();
  let error = null;
  try {
    db.run("PRAGMA synchronous = " + line);
    db.run("INSERT INTO t VALUES (1)");
  } catch (caught) {
    error = caught.code;
    if (db.inTransaction) db.run("ROLLBACK");
  }
  say({ ms: performance.now() - began, error });
}
`;

async function committer() {
  const directory = await temporaryDirectory();
  const database = join(directory.path, "data.db");
  const shim = compileFsyncShim(directory.path, "data.db");
  const script = join(directory.path, "committer.ts");
  await Bun.write(script, COMMITTER);
  const child = startScript(script, [database], shim.env);
  await child.line();
  const commit = async (synchronous: "FULL" | "NORMAL") => {
    const before = shim.calls().length;
    child.write(`${synchronous}\n`);
    const { ms, error } = (await child.line()) as { ms: number; error: string | null };
    return { ms, error, calls: shim.calls().slice(before) };
  };
  return {
    shim,
    commit,
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

describe.if(canShim())("fsync shim", () => {
  test("counts what a commit syncs: nothing when NORMAL, the log once when FULL", async () => {
    await using fixture = await committer();
    for (let i = 0; i < 20; i++)
      expect(await fixture.commit("NORMAL")).toMatchObject({ error: null, calls: [] });
    const began = Date.now();
    const { calls } = await fixture.commit("FULL");
    expect(calls).toMatchObject([{ path: expect.stringMatching(/data\.db-wal$/), errno: 0 }]);
    const [call] = calls;
    if (call === undefined) throw new Error("no call");
    expect(call.ended_ns >= call.began_ns).toBe(true);
    expect(call.at_ms).toBeGreaterThanOrEqual(began);
    expect(call.at_ms).toBeLessThanOrEqual(Date.now());
  });

  test("delays each call while it is told to", async () => {
    await using fixture = await committer();
    fixture.shim.delay(60);
    const slow = await fixture.commit("FULL");
    expect(slow.ms).toBeGreaterThanOrEqual(60);
    expect(slow.calls).toHaveLength(1);
    expect(Number((slow.calls[0]?.ended_ns ?? 0n) - (slow.calls[0]?.began_ns ?? 0n))).toBeGreaterThanOrEqual(
      60e6,
    );
    expect((await fixture.commit("NORMAL")).calls).toEqual([]);
    fixture.shim.delay(0);
    expect((await fixture.commit("FULL")).calls).toHaveLength(1);
  });

  test("fails each call while it is told to", async () => {
    await using fixture = await committer();
    fixture.shim.failSync("EIO");
    expect(await fixture.commit("FULL")).toMatchObject({
      error: "SQLITE_IOERR_FSYNC",
      calls: [{ errno: 5 }],
    });
    fixture.shim.failSync(null);
    expect(await fixture.commit("FULL")).toMatchObject({ error: null });
  });

  test("fails writes as a full disk does", async () => {
    await using fixture = await committer();
    fixture.shim.failWrites("ENOSPC");
    expect(await fixture.commit("NORMAL")).toMatchObject({ error: "SQLITE_FULL" });
    expect(fixture.shim.failedWrites()).toBeGreaterThan(0);
    fixture.shim.failWrites(null);
    expect(await fixture.commit("NORMAL")).toMatchObject({ error: null });
  });
});
