import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readRunning } from "../../src/cli/running.ts";
import { processMark } from "../../src/process-mark.ts";
import { workplace } from "../support/executable.ts";

let place: ReturnType<typeof workplace>;
beforeEach(() => void (place = workplace()));
afterEach(() => place[Symbol.dispose]());

/** What is read where a gateway with this mark wrote that it has the pid of this process. */
function read(mark: object): number | undefined {
  const said = { url: "http://127.0.0.1:1", pid: process.pid, ...mark };
  writeFileSync(join(place.path, "gateway.json"), JSON.stringify(said));
  return readRunning(place.path)?.pid;
}

test.skipIf(process.platform !== "linux")("a process is told from another that had its pid", () => {
  const own = processMark(process.pid);
  expect(own).toMatch(/^\d+$/);
  expect(processMark(process.pid)).toBe(own);
  const child = Bun.spawn(["sleep", "60"]);
  try {
    const others = processMark(child.pid);
    expect(others).not.toBe(own);
    expect(read({ process: own })).toBe(process.pid);
    expect(read({ process: others })).toBeUndefined();
  } finally {
    child.kill("SIGKILL");
  }
});

test("one that says nothing of itself is taken at its word", () => {
  expect(read({})).toBe(process.pid);
});
