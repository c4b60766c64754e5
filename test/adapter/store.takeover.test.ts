import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { releaseLock, takeLock } from "../../src/store/sqlite/lock.ts";
import { takeLockOver } from "../../src/store/sqlite/takeover.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";

test("a gateway in a container of its own that has the pid of this process is waited for, and nobody is stopped", async () => {
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-takeover-"));
  let signals = 0;
  const onSignal = (): void => void signals++;
  process.on("SIGTERM", onSignal);
  try {
    const held = takeLock(data_dir, process.pid);
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
