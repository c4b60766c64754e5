import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { releaseLock, takeLock } from "../../src/store/sqlite/lock.ts";
import { takeLockOver } from "../../src/store/sqlite/takeover.ts";
import { manualClock } from "../support/clock.ts";
import { migrate, SCHEMA_VERSION } from "../../src/store/sqlite/schema.ts";
import { checkVersion } from "../../src/store/sqlite/upgrade.ts";
import { createLogbook } from "../support/logbook.ts";

/** As a gateway does that listens. */
function saysItRuns(data_dir: string, pid: number): void {
  writeFileSync(join(data_dir, "gateway.json"), JSON.stringify({ pid, url: "http://127.0.0.1:1" }));
}

/** A data directory that another process holds, which ends when it is asked to; how it ended. */
async function held(
  set: (place: { data_dir: string; pid: number }) => { check?: () => void },
): Promise<{ stopped: boolean; failure: unknown; said: string }> {
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-takeover-"));
  const other = Bun.spawn(["sleep", "60"]);
  const lock = takeLock(data_dir, other.pid);
  try {
    const { check } = set({ data_dir, pid: other.pid });
    const clock = manualClock();
    const log = createLogbook();
    const taken = takeLockOver({ data_dir, ms: 1_000, clock, log, ...(check && { check }) });
    const failed = taken.then(releaseLock, (error: unknown) => error);
    const stopped = await Promise.race([other.exited.then(() => true), Bun.sleep(300).then(() => false)]);
    if (stopped) releaseLock(lock);
    clock.advance(1_000);
    const failure = await failed;
    if (!stopped) releaseLock(lock);
    return { stopped, failure, said: JSON.stringify(log.lines) };
  } finally {
    other.kill();
    rmSync(data_dir, { recursive: true });
  }
}

test("a gateway that listens is asked to stop", async () => {
  const { stopped, failure } = await held(({ data_dir, pid }) => {
    saysItRuns(data_dir, pid);
    return {};
  });
  expect([stopped, failure]).toEqual([true, undefined]);
});

test("a command that has the directory, such as a restore, is waited for and never stopped", async () => {
  const { stopped, failure, said } = await held(({ data_dir, pid }) => {
    // What a gateway left that died.
    saysItRuns(data_dir, pid + 1);
    return {};
  });
  expect(stopped).toBe(false);
  expect(failure).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "locked" } });
  expect(said).toContain("waiting for it");
});

test("nobody is asked by who could not take the place: the database is of a newer version", async () => {
  const { stopped, failure } = await held(({ data_dir, pid }) => {
    saysItRuns(data_dir, pid);
    const path = join(data_dir, "agentbus.db");
    using db = new Database(path, { create: true });
    migrate(db);
    db.run(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    return { check: () => checkVersion(path) };
  });
  expect(stopped).toBe(false);
  expect(failure).toMatchObject({ reason: "UNAVAILABLE", details: { kind: "schema" } });
});

test.skipIf(process.getuid?.() !== 0 || process.platform !== "linux")(
  "what is in a directory of somebody else's has root stop nobody",
  async () => {
    const { stopped } = await held(({ data_dir, pid }) => {
      saysItRuns(data_dir, pid);
      chownSync(data_dir, 65_534, 65_534);
      return {};
    });
    expect(stopped).toBe(false);
  },
);

test("a gateway in a container of its own that has the pid of this process is waited for, and nobody is stopped", async () => {
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-takeover-"));
  let signals = 0;
  const onSignal = (): void => void signals++;
  process.on("SIGTERM", onSignal);
  try {
    const held = takeLock(data_dir, process.pid);
    saysItRuns(data_dir, process.pid);
    const clock = manualClock();
    const log = createLogbook();
    const taken = takeLockOver({ data_dir, ms: 10_000, clock, log });
    // A signal is told a turn or two after it was sent.
    await Bun.sleep(50);
    expect(signals).toBe(0);
    expect(JSON.stringify(log.lines)).toContain("cannot be asked from here");
    releaseLock(held);
    clock.advance(20);
    releaseLock(await taken);
  } finally {
    process.off("SIGTERM", onSignal);
    rmSync(data_dir, { recursive: true });
  }
});
