import { expect, test } from "bun:test";
import { restart, wayToRestart } from "../../src/cli/upgrade-restart.ts";

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
