import { expect, test } from "bun:test";
import { join } from "node:path";
import { exclusive } from "../support/exclusive.ts";

const SUPPORT = join(import.meta.dir, "../support/exclusive.ts");
const HOLDER = `const { hold } = await import(${JSON.stringify(SUPPORT)});
await hold(process.argv[1]);
console.log("held");
setInterval(() => undefined, 1_000);`;

const name = (what: string): string => `test-${what}-${process.pid}`;

test("one is inside at a time, and the next comes in when it has left or failed", async () => {
  let inside = 0;
  const most: number[] = [];
  const work = async (fails: boolean): Promise<void> => {
    most.push(++inside);
    await Bun.sleep(5);
    inside--;
    if (fails) throw new Error("it failed");
  };
  const all = [false, true, false].map((fails) => exclusive(name("inside"), () => work(fails)));
  const ends = await Promise.allSettled(all);
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(most).toEqual([1, 1, 1]);
});

test("another process waits as long as the one that holds it lives, however that ends", async () => {
  await using holder = Bun.spawn([process.execPath, "-e", HOLDER, name("process")], { stdout: "pipe" });
  await holder.stdout.getReader().read();
  const came: string[] = [];
  const waits = exclusive(name("process"), async () => void came.push("in"));
  await Bun.sleep(300);
  expect(came).toEqual([]);
  holder.kill("SIGKILL");
  await waits;
  expect(came).toEqual(["in"]);
});
