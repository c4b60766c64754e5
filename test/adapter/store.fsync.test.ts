import { describe, expect, test } from "bun:test";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Limits } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import type { OpenedStore } from "../../src/core/store.ts";
import { canShim, compileFsyncShim } from "../support/fsync-shim.ts";
import { append, close, copyOf, create, event, ok, say, START, startRun } from "./store.builders.ts";
import { startStoreProcess } from "./store.process.ts";
import { temporaryDirectory, withStore } from "./store.sqlite.ts";

/** A process with a store whose fsyncs are counted and can be delayed and failed. */
async function serve(mode: "serve" | "serve-normal", limits: Partial<Limits> = {}) {
  const directory = await temporaryDirectory();
  const data_dir = join(directory.path, "data");
  await mkdir(join(directory.path, "shim"));
  const shim = compileFsyncShim(join(directory.path, "shim"), "agentbus.db");
  const child = startStoreProcess(mode, data_dir, { limits, env: shim.env });
  await child.line();
  const commit = async (...group: StoreItem[]) => {
    const before = shim.calls().length;
    child.write(`${JSON.stringify(group)}\n`);
    const { answer, error } = await child.line();
    const synced = shim
      .calls()
      .slice(before)
      .map(({ path }) => path.slice(data_dir.length + 1));
    return { answer, error, synced };
  };
  return {
    data_dir,
    shim,
    commit,
    async close() {
      child.write("close\n");
      expect(await child.line()).toEqual({ closed: true });
    },
    /** How the store finds itself at the next start. */
    async reopen(): Promise<OpenedStore & { readonly head: number | undefined }> {
      await child.kill();
      return withStore(
        data_dir,
        async (store, opened) => ({ ...opened, head: (await store.session("ses_a"))?.head }),
        { boot_id: () => "boot-1" },
      );
    },
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

const quiet = (...types: string[]): StoreItem => ({
  ...append(
    "ses_a",
    types.map((type) => event(type)),
  ),
  ack: false,
});
const WAL = ["agentbus.db-wal"];
const MEGABYTE: StoreItem = {
  ...append(
    "ses_a",
    Array.from({ length: 16 }, () => event("x", { text: "x".repeat(65_000) })),
  ),
  ack: false,
};

describe.if(canShim())("fsync", () => {
  test("durability full: one before the answer of a group that somebody waits for, none else", async () => {
    await using fixture = await serve("serve");
    const { commit } = fixture;
    expect(fixture.shim.calls().length).toBeGreaterThan(0);
    expect((await commit(create("ses_a"), say("ses_a", "msg_1"))).synced).toEqual(WAL);
    expect((await commit(quiet("x"), quiet("y"))).synced).toEqual([]);
    expect((await commit({ kind: "load", session: "ses_a" })).synced).toEqual([]);
    expect((await commit({ kind: "trim", session: "ses_a", before: START + 1, max_rows: 9 })).synced).toEqual(
      [],
    );
    expect((await commit(quiet("x"), append("ses_a", []), quiet("y"))).synced).toEqual(WAL);
    expect((await commit(copyOf("ses_a", "ses_b"))).synced).toEqual(WAL);
    expect((await commit(close("ses_b"))).synced).toEqual(WAL);
    expect((await commit({ kind: "erase", session: "ses_b", max_rows: 100 })).synced).toEqual(WAL);
    await fixture.close();
    expect(await fixture.reopen()).toMatchObject({ last_stop: "clean", head: 6 });
  });

  test("durability normal: none for any group", async () => {
    await using fixture = await serve("serve-normal");
    expect((await fixture.commit(create("ses_a"), say("ses_a", "msg_1"))).synced).toEqual([]);
    expect((await fixture.commit(copyOf("ses_a", "ses_b"))).synced).toEqual([]);
    const before = fixture.shim.calls().length;
    await fixture.close();
    expect(fixture.shim.calls().length).toBeGreaterThan(before);
  });

  test("of what nobody waits for, the disk takes in each megabyte beside the writer", async () => {
    await using fixture = await serve("serve");
    await fixture.commit(create("ses_a"));
    const before = fixture.shim.calls().length;
    for (let i = 0; i < 4; i++) expect((await fixture.commit(MEGABYTE)).error).toBeUndefined();
    const synced = (): string[] =>
      fixture.shim
        .calls()
        .slice(before)
        .map(({ path }) => path);
    for (const until = performance.now() + 3_000; synced().length === 0 && performance.now() < until;)
      await Bun.sleep(20);
    expect(synced()).toContain(join(fixture.data_dir, "agentbus.db-wal"));
    await fixture.close();
    expect(await fixture.reopen()).toMatchObject({ last_stop: "clean", head: 65 });
  });

  test("one that fails: the outcome is unknown, and the next start treats it as loss of power", async () => {
    await using fixture = await serve("serve");
    await fixture.commit(create("ses_a"), startRun("ses_a", "run_1"));
    fixture.shim.failSync("EIO");
    expect((await fixture.commit(quiet("x"))).error).toBeUndefined();
    expect((await fixture.commit(append("ses_a", [event("z")]))).error).toContain("SQLITE_IOERR_FSYNC");
    expect((await fixture.commit(quiet("y"))).error).toContain("the store is lost");
    expect(await readFile(join(fixture.data_dir, "suspect"), "utf8")).toContain("SQLITE_IOERR_FSYNC");
    expect(await fixture.reopen()).toMatchObject({ last_stop: "power", unended: [{}] });
    expect(await readdir(fixture.data_dir)).not.toContain("suspect");
  });

  test("one that fails while the log is moved into the database file is not passed over", async () => {
    await using fixture = await serve("serve");
    await fixture.commit(create("ses_a"));
    fixture.shim.failSync("EIO");
    let error: unknown;
    for (let i = 0; i < 40 && error === undefined; i++) {
      ({ error } = await fixture.commit(MEGABYTE));
    }
    // Whichever finds it first: the one who has it moved, or the one who has it taken in before.
    expect(error).toMatch(/SQLITE_IOERR|EIO/);
    expect(await fixture.reopen()).toMatchObject({ last_stop: "power" });
  });

  test("one that does not come back: the writer counts as gone", async () => {
    await using fixture = await serve("serve", { writer_silence_ms: 200 });
    await fixture.commit(create("ses_a"));
    fixture.shim.delay(3_000);
    expect((await fixture.commit(append("ses_a", [event("z")]))).error).toBe("no answer for 200 ms");
    expect(await readFile(join(fixture.data_dir, "suspect"), "utf8")).toBe("no answer for 200 ms\n");
    expect(await fixture.reopen()).toMatchObject({ last_stop: "power" });
  });

  test("a disk without room refuses the group, and takes the next one when there is some", async () => {
    await using fixture = await serve("serve");
    await fixture.commit(create("ses_a"));
    fixture.shim.failWrites("ENOSPC");
    const refused = { ok: false, refused: "full" };
    expect((await fixture.commit(append("ses_a", [event("x")]))).answer).toEqual(refused);
    expect((await fixture.commit(quiet("x"))).answer).toEqual(refused);
    expect(fixture.shim.failedWrites()).toBeGreaterThan(0);
    fixture.shim.failWrites(null);
    expect((await fixture.commit(append("ses_a", [event("x")]))).answer).toEqual({
      ok: true,
      results: [ok(2)],
    });
    await fixture.close();
    expect(await fixture.reopen()).toMatchObject({ last_stop: "clean", head: 2 });
  });
});
