import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { systemClock } from "../../src/clock.ts";

test("what is due already is done at once, and nothing is said of it", () => {
  const clock = JSON.stringify(resolve(import.meta.dir, "../../src/clock.ts"));
  const script = `import { systemClock } from ${clock}; systemClock.after(-0.5, () => console.log("done"));`;
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", script]);
  expect([stdout.toString(), stderr.toString()]).toEqual(["done\n", ""]);
});

test("what is put off by nothing is done after this block and before anything is read", async () => {
  const order: string[] = [];
  const both = Promise.withResolvers<void>();
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data() {
        order.push("read");
        both.resolve();
      },
    },
  });
  const open = Promise.withResolvers<void>();
  const client = await Bun.connect({
    hostname: "127.0.0.1",
    port: server.port,
    socket: { open: () => open.resolve(), data: () => undefined },
  });
  await open.promise;
  client.write("x");
  // It is there to be read before this block ends.
  Bun.sleepSync(20);
  systemClock.after(0, () => order.push("done"));
  order.push("block");
  await both.promise;
  expect(order).toEqual(["block", "done", "read"]);
  client.end();
  server.stop(true);
});

test("what is cancelled is not done", async () => {
  const done: number[] = [];
  for (const ms of [0, 1]) systemClock.after(ms, () => done.push(ms))();
  await Bun.sleep(10);
  expect(done).toEqual([]);
});
