import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configOf } from "../../src/config.ts";
import { createScheduledBackups } from "../../src/scheduled-backups.ts";
import type { BackupFacts } from "../../src/store/sqlite/backup.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";

/** When the gateway backs itself up; what a backup is, is in test/process/backup.test.ts. */

const FACTS: BackupFacts = { bytes: 1, sessions: 1, messages: 1, schema: 1 };
const HOUR_MS = 3_600_000;
let home: string;
beforeEach(() => (home = mkdtempSync(join(tmpdir(), "agentbus-backups-"))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

/** Backups that are made at once, or fail with what `failing` says. */
function schedule(options: { interval_hours?: number; keep?: number } = {}) {
  const clock = manualClock();
  const log = createLogbook();
  const world = { failing: null as string | null, hanging: false, given_up: 0 };
  const directory = join(home, "backups");
  const { config } = configOf(
    { server: { data_dir: join(home, "data") }, backup: { directory, ...options } },
    { env: {}, cwd: home },
  );
  const make = (_data_dir: string, file: string) => {
    if (world.failing === null && !world.hanging) writeFileSync(file, "");
    const made =
      world.failing !== null
        ? Promise.reject(new Error(world.failing))
        : world.hanging
          ? new Promise<BackupFacts>(() => undefined)
          : Promise.resolve(FACTS);
    return { made, giveUp: () => void world.given_up++ };
  };
  const backups = createScheduledBackups({ config, clock, log, make });
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 60_000) {
      clock.advance(Math.min(left, 60_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const names = (): string[] => readdirSync(directory).toSorted();
  return { backups, clock, log, world, directory, pass, names };
}

test("one is made soon after a start without any, then one every interval, and so many stay", async () => {
  const { backups, directory, pass, names, clock } = schedule({ interval_hours: 6, keep: 3 });
  mkdirSync(directory);
  backups.start();
  await pass(60_000);
  expect(names()).toHaveLength(1);
  await pass(5.9 * HOUR_MS);
  expect(names()).toHaveLength(1);
  await pass(0.2 * HOUR_MS);
  expect(names()).toHaveLength(2);
  const [first] = names();
  await pass(12.2 * HOUR_MS);
  expect(names()).toHaveLength(3);
  expect(names()).not.toContain(first as string);
  expect(backups.state()).toEqual({ last_at: expect.any(Number), next_at: expect.any(Number) });
  expect((backups.state()?.next_at ?? 0) - (backups.state()?.last_at ?? 0)).toBe(6 * HOUR_MS);
  backups.close();
  expect(clock.pending).toBe(0);
});

test("a restart makes none before its time, whoever made the newest", async () => {
  const { backups, directory, pass, names, clock } = schedule();
  mkdirSync(directory);
  const made = new Date(clock.now() - 23 * HOUR_MS).toISOString().replaceAll(/[:.]/g, "-");
  writeFileSync(join(directory, `agentbus-${made}.db`), "");
  backups.start();
  // Known from the first moment on: what is measured has no gap at a restart.
  const last_at = clock.now() - 23 * HOUR_MS;
  const interval_ms = 24 * HOUR_MS;
  expect(backups.measures()).toEqual({ interval_ms, last_at, counts: { made: 0, failed: 0 } });
  await pass(0.9 * HOUR_MS);
  expect(names()).toHaveLength(1);
  await pass(0.2 * HOUR_MS);
  expect(names()).toHaveLength(2);
  expect(backups.measures()?.counts).toEqual({ made: 1, failed: 0 });
  backups.close();
});

test("a backup of the future is no reason to wait for that", async () => {
  const { backups, directory, pass, names, clock } = schedule({ interval_hours: 1 });
  mkdirSync(directory);
  const made = new Date(clock.now() + 400 * 24 * HOUR_MS).toISOString().replaceAll(/[:.]/g, "-");
  writeFileSync(join(directory, `agentbus-${made}.db`), "");
  backups.start();
  await pass(HOUR_MS);
  // The clock goes on, and so would what is due: it is the interval from now on.
  expect(backups.state()?.next_at).toBeLessThanOrEqual(clock.now() + HOUR_MS);
  backups.close();
  expect(names().length).toBeGreaterThan(0);
});

test("one that fails is told, once each time, and tried again; the next good one forgets it", async () => {
  const { backups, log, pass, world, directory, names } = schedule();
  backups.start();
  await pass(60_000);
  expect(backups.state()).toMatchObject({ reason: expect.stringContaining("is no directory: make it") });
  expect(backups.measures()).toMatchObject({ last_at: null, counts: { made: 0, failed: 1 } });
  mkdirSync(directory);
  world.failing = "the disk is gone";
  await pass(16 * 60_000);
  expect(backups.state()).toMatchObject({ reason: "the disk is gone", failed_at: expect.any(Number) });
  const errors = log.lines.filter(({ level }) => level === "error");
  expect(errors.map(({ fields }) => fields["reason"])).toEqual([
    expect.stringContaining("is no directory"),
    "the disk is gone",
  ]);
  world.failing = null;
  await pass(16 * 60_000);
  expect(backups.state()).toEqual({ last_at: expect.any(Number), next_at: expect.any(Number) });
  expect(names()).toHaveLength(1);
  expect(backups.measures()).toMatchObject({
    last_at: backups.state()?.last_at,
    counts: { made: 1, failed: 2 },
  });
  backups.close();
});

test.skipIf(process.platform === "win32")("who may not write there is told whose it has to be", async () => {
  const { backups, pass, directory } = schedule();
  mkdirSync(directory);
  chmodSync(directory, 0o100);
  const isRoot = process.geteuid?.() === 0;
  // Nothing is refused to root.
  if (isRoot) process.seteuid?.(65_534);
  backups.start();
  await pass(60_000);
  const user = process.geteuid?.();
  if (isRoot) process.seteuid?.(0);
  expect(backups.state()?.reason).toContain(`cannot be written by user ${user}: chown ${user} it`);
  backups.close();
});

test("one that is under way at the stop is given up, and no other is begun beside it", async () => {
  const { backups, log, pass, world, directory } = schedule({ interval_hours: 1 });
  mkdirSync(directory);
  world.hanging = true;
  backups.start();
  await pass(5 * HOUR_MS);
  backups.close();
  expect(world.given_up).toBe(1);
  expect(log.lines).toEqual([]);
});

test("without a directory there are none", () => {
  const { config } = configOf({ server: { data_dir: home } }, { env: {}, cwd: home });
  const clock = manualClock();
  const backups = createScheduledBackups({ config, clock, log: createLogbook() });
  backups.start();
  expect([backups.state(), backups.measures()]).toEqual([null, null]);
  expect(clock.pending).toBe(0);
});
