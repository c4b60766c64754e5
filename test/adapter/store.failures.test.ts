import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GroupResult } from "../../src/core/operation.ts";
import { append, commit, commitAll, create, event, failure, ok, START, startRun } from "./store.builders.ts";
import { startStoreProcess } from "./store.process.ts";
import { openSqlite, refusal, sqliteStore, temporaryDirectory, withStore } from "./store.sqlite.ts";

describe("storage that refuses", () => {
  test("a full one changes nothing, says so, and takes writes again when there is room", async () => {
    await using fixture = await openSqlite({ max_bytes: 640 * 1024 });
    const { store, lines } = fixture;
    await commitAll(store, create("ses_a"));
    const empty = (await store.room())?.used_bytes ?? 0;
    const big = () => append("ses_a", [event("x", { text: "x".repeat(20_000) })]);
    let answer: GroupResult = { ok: true, results: [] };
    let head = 1;
    for (; head < 100; head++) {
      answer = await store.commit([{ ...big(), ack: head % 2 === 0 }, append("ses_a", [])]);
      if (!answer.ok) break;
    }
    expect(answer).toEqual({ ok: false, refused: "full" });
    expect(head).toBeGreaterThan(10);
    expect(await store.commit([create("ses_b"), big()])).toEqual({ ok: false, refused: "full" });
    expect(await store.session("ses_a")).toMatchObject({ head });
    expect(await store.session("ses_b")).toBeNull();
    const full = await store.room();
    expect(full).toEqual({ used_bytes: expect.any(Number), max_bytes: 640 * 1024 });
    const { used_bytes = 0 } = full ?? {};
    expect(used_bytes).toBeWithin(600 * 1024, 640 * 1024 + 1);
    expect(
      await store.commit([{ kind: "trim", session: "ses_a", before: START + 1, max_rows: 5 }]),
    ).toMatchObject({ ok: true });
    // What is free inside of the file is room.
    expect((await store.room())?.used_bytes).toBeWithin(empty, used_bytes - 4 * 20_000 + 1);
    await store.probe();
    expect(await commit(store, big(), create("ses_b"))).toEqual([ok(head + 1), ok(1)]);
    expect(lines).toEqual([]);
  });

  test("one that another program holds is busy, and nothing is lost by it", async () => {
    await using fixture = await openSqlite();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    const other = new Database(join(fixture.data_dir, "agentbus.db"));
    other.run("BEGIN IMMEDIATE");
    expect(await store.commit([append("ses_a", [event("x")])])).toEqual({ ok: false, refused: "busy" });
    expect(await refusal(store.probe())).toMatchObject({
      reason: "UNAVAILABLE",
      details: { kind: "storage", refused: "busy" },
    });
    expect(await refusal(store.expire(0, 1))).toMatchObject({ details: { refused: "busy" } });
    other.run("ROLLBACK");
    other.close(true);
    await store.probe();
    expect(await commit(store, append("ses_a", [event("x")]))).toEqual([ok(2)]);
  });

  test("an operation no rule foresees ends the store, and the next start draws new epochs", async () => {
    await using directory = await temporaryDirectory();
    const { store, lines } = sqliteStore(directory.path);
    await store.open();
    await commitAll(store, create("ses_a"), startRun("ses_a", "run_1"), create("ses_b"));
    const broken = event("x", {}, { ts: 1.5 });
    expect((await failure(store.commit([append("ses_a", [broken])]))).message).toContain("SQLITE_CONSTRAINT");
    expect((await failure(store.commit([append("ses_a", [])]))).message).toContain("the store is lost");
    await store.close();
    expect(lines).toMatchObject([
      { level: "error", message: expect.stringContaining("outcome of the last write is unknown") },
    ]);
    expect(await readFile(join(directory.path, "suspect"), "utf8")).toContain("SQLITE_CONSTRAINT");
    await withStore(directory.path, async (again, { last_stop, unended }) => {
      expect(last_stop).toBe("power");
      expect(unended).toHaveLength(1);
      expect((await again.session("ses_a"))?.epoch).not.toBe("epoch001");
      expect((await again.session("ses_b"))?.epoch).toBe("epoch001");
      expect((await again.session("ses_a"))?.head).toBe(3);
    });
    expect(await readdir(directory.path)).not.toContain("suspect");
  });
});

describe("a stop that was not a close", () => {
  /** A store whose process was killed while it wrote; the last seq it was told of in ses_busy. */
  async function crash(data_dir: string, mode = "write"): Promise<number> {
    await using child = startStoreProcess(mode, data_dir);
    await child.line();
    for (let lines = 0; lines < 25; lines++) await child.line();
    return Number((await child.kill()).at(-1)?.["head"]);
  }

  test("kill -9: everything that was answered is there, with the same epochs", async () => {
    await using directory = await temporaryDirectory();
    const acked = await crash(directory.path);
    expect(acked).toBeGreaterThanOrEqual(28);
    await withStore(
      directory.path,
      async (store, { last_stop, unended }) => {
        expect(last_stop).toBe("crash");
        expect(unended.map(({ run }) => run.run_id)).toEqual(["run_1"]);
        const session = await store.session("ses_busy");
        const head = session?.head ?? 0;
        expect(head).toBeGreaterThanOrEqual(acked);
        expect(session?.epoch).toBe("epoch001");
        const seqs = [];
        for (let after = 0; after < head;) {
          const events = (await store.page("ses_busy", after, head))?.events ?? [];
          seqs.push(...events.map(({ seq }) => seq));
          after = events.at(-1)?.seq ?? head;
        }
        expect(seqs).toEqual(Array.from({ length: head }, (_, index) => index + 1));
        expect(await commit(store, append("ses_busy", [event("x")]))).toEqual([ok(head + 1)]);
      },
      { boot_id: () => "boot-1" },
    );
  });

  const epochsAfter = (data_dir: string, boot_id: string | null, durability: "full" | "normal" = "full") =>
    withStore(
      data_dir,
      async (store, { last_stop }) => {
        const drawn = async (id: string) => (await store.session(id))?.epoch !== "epoch001";
        return { last_stop, busy: await drawn("ses_busy"), idle: await drawn("ses_idle") };
      },
      { boot_id: () => boot_id, durability },
    );

  test("another start of the machine, durability full: new epochs where a run had not ended", async () => {
    await using directory = await temporaryDirectory();
    await crash(directory.path);
    expect(await epochsAfter(directory.path, "boot-2")).toEqual({
      last_stop: "power",
      busy: true,
      idle: false,
    });
    expect((await epochsAfter(directory.path, "boot-3")).last_stop).toBe("clean");
  });

  test("durability normal: new epochs everywhere, also when it is full from then on", async () => {
    await using directory = await temporaryDirectory();
    await crash(directory.path, "write-normal");
    expect(await epochsAfter(directory.path, "boot-2")).toEqual({
      last_stop: "power",
      busy: true,
      idle: true,
    });
  });

  test("a start of the machine that cannot be told from another counts as one", async () => {
    await using directory = await temporaryDirectory();
    await crash(directory.path);
    expect(await epochsAfter(directory.path, null)).toEqual({ last_stop: "power", busy: true, idle: false });
  });

  test("the word of a lost outcome counts as loss of power", async () => {
    await using directory = await temporaryDirectory();
    await crash(directory.path);
    await writeFile(join(directory.path, "suspect"), "");
    expect(await epochsAfter(directory.path, "boot-1")).toEqual({
      last_stop: "power",
      busy: true,
      idle: false,
    });
    expect((await epochsAfter(directory.path, "boot-1")).last_stop).toBe("clean");
  });
});
