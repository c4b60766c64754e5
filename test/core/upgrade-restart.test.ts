import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ClientError } from "../../src/client/error.ts";
import { configOf } from "../../src/config.ts";
import { localTarget, withAdvice } from "../../src/cli/target.ts";
import type { Opening } from "../../src/cli/running.ts";
import { readOpening } from "../../src/cli/running.ts";
import { restart, waitReady, wayToRestart } from "../../src/cli/upgrade-restart.ts";
import { OPENING_FILE } from "../../src/opening.ts";
import { processMark } from "../../src/process-mark.ts";
import { workplace } from "../support/executable.ts";

const RUNNING = { url: "http://127.0.0.1:1", certificate: null, version: "1.0.0", started_at: 1 };

test.skipIf(process.platform !== "linux")(
  "a process that the data directory names and that is not the executable is not restarted",
  async () => {
    const other = Bun.spawn(["sleep", "60"]);
    const running = { ...RUNNING, pid: other.pid, executable: process.execPath };
    expect(wayToRestart(running, process.execPath)).toMatchObject({
      kind: "none",
      why: expect.stringContaining("is not this executable"),
    });
    expect(restart({ kind: "signal" }, other.pid, process.execPath)).toBe(false);
    expect(await Promise.race([other.exited, Bun.sleep(200).then(() => "runs")])).toBe("runs");
    other.kill();
  },
);

test("one that is, is told by a signal", async () => {
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      "process.on('SIGUSR2', () => process.exit(7)); console.log(1); setInterval(() => 0, 1000)",
    ],
    {
      stdout: "pipe",
    },
  );
  await child.stdout.getReader().read();
  expect(
    wayToRestart({ ...RUNNING, pid: child.pid, executable: process.execPath }, process.execPath),
  ).toEqual({
    kind: "signal",
  });
  expect(restart({ kind: "signal" }, child.pid, process.execPath)).toBe(true);
  expect(await child.exited).toBe(7);
});

/** Waits, a tenth of a second, for a gateway that opens its database as long as `opening` says. */
async function waited(opening: (ms: number) => Opening | null, isReady: (ms: number) => boolean) {
  const said: string[] = [];
  const began = performance.now();
  const passed = (): number => performance.now() - began;
  const wrong = await waitReady({
    running: () =>
      isReady(passed()) ? { ...RUNNING, pid: process.pid, executable: null, started_at: 2 } : null,
    opening: () => opening(passed()),
    tell: (line) => void said.push(line),
    version: "1.0.0",
    after: 1,
    pid: process.pid,
    way: { kind: "signal" },
    ms: 100,
    fetch: async () => new Response("ok"),
  });
  return { wrong, said, ms: passed() };
}

test("one that opens its database is waited for, however long that takes, and it is said once", async () => {
  const opens = { pid: 4711, doing: "copying the database" };
  const slow = await waited(
    (ms) => (ms < 2_700 ? opens : null),
    (ms) => ms > 2_700,
  );
  expect(slow).toMatchObject({ wrong: null, said: ["process 4711 is copying the database: waiting for it"] });
  // Then it has as long as any to be ready.
  const never = await waited(
    (ms) => (ms < 500 ? opens : null),
    () => false,
  );
  expect(never).toMatchObject({ wrong: "it did not start", said: [] });
  expect(never.ms).toBeGreaterThan(500);
  expect(never.ms).toBeLessThan(30_000);
});

test("one that ends each time while it opens its database, and is started anew, is not waited for endlessly", async () => {
  const { wrong, ms } = await waited(
    (passed) => ({ pid: 4711 + Math.floor(passed / 250), doing: "copying the database" }),
    () => false,
  );
  expect(wrong).toBe("it did not start");
  expect(ms).toBeGreaterThan(500);
});

test("what a gateway left that was killed while it opened its database is not waited for", async () => {
  using place = workplace();
  const { pid } = process;
  const mark = processMark(pid);
  const write = (text: string): void => writeFileSync(join(place.path, OPENING_FILE), text);
  expect(readOpening(place.path)).toBeNull();
  write(JSON.stringify({ pid, process: mark, doing: "copying \u001b[2Jit" }));
  expect(readOpening(place.path)).toEqual({ pid, doing: "copying \ufffd[2Jit" });
  const { config } = configOf({ server: { data_dir: place.path } }, { env: {}, cwd: place.path });
  const target = { ...localTarget(config), url: "http://127.0.0.1:1" };
  const advice = `nobody listens; process ${pid} is copying \ufffd[2Jit, and listens as soon as that is done`;
  expect(withAdvice(new ClientError("UNREACHABLE", "nobody listens"), target).message).toBe(advice);
  const ended = Bun.spawn(["true"]);
  await ended.exited;
  write(JSON.stringify({ pid: ended.pid, process: mark, doing: "copying it" }));
  expect(readOpening(place.path)).toBeNull();
  for (const text of ["", "null", "{", '{"pid":"1"}', `{"pid":${pid}}`]) {
    write(text);
    expect(readOpening(place.path)).toBeNull();
  }
  if (process.platform !== "linux") return;
  // Another process has its id by now.
  write(JSON.stringify({ pid, process: "1", doing: "copying it" }));
  expect(readOpening(place.path)).toBeNull();
});
