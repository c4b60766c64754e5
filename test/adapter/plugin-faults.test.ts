import { expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { eventually } from "../gateway/stack.ts";
import { openPlugins, sayer } from "./plugin.fixture.ts";
import type { PluginWorld } from "./plugin.fixture.ts";

/** A plug-in that fails while it is used is reported and unloaded, and nothing else notices. */

/** What a call was refused with. */
async function refusal(call: Promise<unknown>): Promise<GatewayError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error("it was answered");
}

/** Two plug-ins: `bad`, whose method does what is said, and one beside it. */
async function openBad(says: string, limits: Record<string, number> = {}, head = ""): Promise<PluginWorld> {
  const world = await openPlugins({ limits });
  await world.write("plugins/bad.ts", sayer("bad", says, head));
  await world.write("plugins/good.ts", sayer("good", `"fine"`));
  await world.folders.start();
  expect(world.states()).toEqual(["bad ready", "good ready"]);
  return world;
}

/** What an unexpected failure looks like, and what is left. */
async function expectUnloaded(world: PluginWorld, reason: string): Promise<void> {
  await eventually(world.states, (states) => states.includes("bad failed"));
  expect(world.states()).toEqual(["bad failed", "good ready"]);
  expect(world.reason("bad")).toBe(reason);
  expect([...world.methods.keys()]).toEqual(["good.say"]);
  expect(await world.call("good.say")).toEqual({ said: "fine" });
  expect(world.log.lines.filter(({ level }) => level === "error").map(({ message }) => message)).toEqual([
    "a plug-in failed and is unloaded",
  ]);
}

test("a method that throws", async () => {
  await using world = await openBad(`((): string => { throw new Error("out of luck"); })()`);
  expect(await refusal(world.call("bad.say"))).toMatchObject({
    reason: "INTERNAL_ERROR",
    message: "the plug-in bad failed; the log says how",
  });
  await expectUnloaded(world, "bad.say: out of luck");
});

test("an answer that its schema does not allow", async () => {
  await using world = await openBad(`7 as unknown as string`);
  expect((await refusal(world.call("bad.say"))).reason).toBe("INTERNAL_ERROR");
  await expectUnloaded(world, "bad.say: its answer does not fit its result schema: /said Expected string");
});

test("a method that does not settle within plugin_call_ms, though it was told to stop", async () => {
  const limits = { plugin_call_ms: 50, plugin_grace_ms: 50 };
  await using world = await openBad(`await new Promise<string>(() => {})`, limits);
  expect(await refusal(world.call("bad.say"))).toMatchObject({
    reason: "TIMEOUT",
    message: "bad: bad.say took longer than 50 ms",
  });
  expect(world.states()).toEqual(["bad ready", "good ready"]);
  await expectUnloaded(world, "bad.say: did not settle within 50 ms");
});

test("one that is late and heeds its signal is only late", async () => {
  await using world = await openPlugins({ limits: { plugin_call_ms: 50, plugin_grace_ms: 5_000 } });
  await world.write(
    "plugins/slow.ts",
    `import { definePlugin, Type } from "agentbus/plugin";
    let stopped = "not stopped";
    const params = Type.Object({}), result = Type.Object({ said: Type.String() });
    export default definePlugin({
      name: "slow",
      methods: {
        "slow.say": {
          scope: null, doc: "x", params, result,
          run: (_, { signal }) => new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              stopped = "stopped";
              reject(signal.reason);
            });
          }),
        },
        "slow.ask": { scope: null, doc: "x", params, result, run: () => ({ said: stopped }) },
      },
    });`,
  );
  await world.folders.start();
  expect((await refusal(world.call("slow.say"))).reason).toBe("TIMEOUT");
  expect(await world.call("slow.ask")).toEqual({ said: "stopped" });
  expect(world.states()).toEqual(["slow ready"]);
});

test("what a plug-in answers with a GatewayError is an answer", async () => {
  const head = `import { GatewayError } from "agentbus/plugin";`;
  const throws = `((): string => { throw new GatewayError("NOT_FOUND", "no such thing"); })()`;
  await using world = await openBad(throws, {}, head);
  expect(await refusal(world.call("bad.say"))).toMatchObject({
    reason: "NOT_FOUND",
    message: "no such thing",
  });
  expect(world.states()).toEqual(["bad ready", "good ready"]);
});

test("who waits for an answer of one that is unloaded is told so", async () => {
  await using world = await openBad(`await new Promise<string>(() => {})`);
  const asked = refusal(world.call("bad.say"));
  await world.remove("plugins/bad.ts");
  await world.folders.reload();
  expect(await asked).toMatchObject({ reason: "UNAVAILABLE", message: "the plug-in bad was unloaded" });
  expect(world.states()).toEqual(["good ready"]);
});

test("calls that a version has begun are finished by it, whatever comes in its place", async () => {
  const head = `const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const gate = (globalThis as { gate?: Promise<void> }).gate;`;
  const gate = Promise.withResolvers<void>();
  Object.assign(globalThis, { gate: gate.promise });
  await using world = await openBad(`(await gate, "old")`, {}, head);
  const asked = world.call("bad.say");
  await world.write("plugins/bad.ts", sayer("bad", `"new"`));
  await world.folders.reload();
  expect(await world.call("bad.say")).toEqual({ said: "new" });
  gate.resolve();
  expect(await asked).toEqual({ said: "old" });
});

test("what it set up is undone when it goes, once, after the new version is there", async () => {
  const told: string[] = [];
  Object.assign(globalThis, { told });
  await using world = await openPlugins();
  const text = (version: number): string =>
    `const { told } = globalThis as unknown as { told: string[] };
    export default {
      name: "one",
      setup() { told.push("set up ${version}"); return async () => { told.push("undone ${version}"); }; },
    };`;
  await world.write("plugins/one.ts", text(1));
  await world.folders.start();
  await world.write("plugins/one.ts", text(2));
  await world.folders.reload();
  await eventually(
    () => told.length,
    (length) => length === 3,
  );
  await world.remove("plugins/one.ts");
  await world.folders.reload();
  expect(told).toEqual(["set up 1", "set up 2", "undone 1", "undone 2"]);
});
