import { expect, test } from "bun:test";
import { resolve } from "node:path";

test("what is due already is done at once, and nothing is said of it", () => {
  const clock = JSON.stringify(resolve(import.meta.dir, "../../src/clock.ts"));
  const script = `import { systemClock } from ${clock}; systemClock.after(-0.5, () => console.log("done"));`;
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", script]);
  expect([stdout.toString(), stderr.toString()]).toEqual(["done\n", ""]);
});
