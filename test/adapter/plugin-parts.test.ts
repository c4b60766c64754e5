import { expect, test } from "bun:test";
import type { ModelEvent, ModelRequest } from "../../src/core/ports.ts";
import { eventually } from "../gateway/stack.ts";
import { openPlugins } from "./plugin.fixture.ts";
import type { PluginWorld } from "./plugin.fixture.ts";

/** What a plug-in adds besides methods: tools, listeners, hooks and providers. */

/** A plug-in `one` with these parts. What it has to tell it puts into `told`. */
async function openWith(
  parts: string,
  limits: Record<string, number> = {},
): Promise<PluginWorld & { told: string[] }> {
  const told: string[] = [];
  Object.assign(globalThis, { told });
  const world = await openPlugins({ limits });
  await world.write("plugins/one.ts", partsText(parts));
  await world.folders.start();
  expect(world.states()).toEqual(["one ready"]);
  return Object.assign(world, { told });
}

function partsText(parts: string): string {
  return `import { definePlugin, GatewayError, Type } from "agentbus/plugin";
    const { told } = globalThis as unknown as { told: string[] };
    const say = (text: string): void => void told.push(text);
    export default definePlugin({ name: "one", ${parts} });`;
}

const CONTEXT = { session_id: "ses_1", run_id: "run_1" };

test("a tool is called with its arguments and told its run; what it throws is for the model", async () => {
  await using world = await openWith(`tools: {
    add: {
      description: "Adds.",
      parameters: Type.Object({ a: Type.Number(), b: Type.Number() }),
      run: ({ a, b }, { run_id }) => {
        if (a < 0) throw new Error("only what is not negative");
        return run_id + " " + (a + b);
      },
    },
    odd: { description: "Answers no text.", parameters: Type.Object({}), run: () => 7 as unknown as string },
  }`);
  const [add, odd] = world.plugins.tools();
  const { signal } = new AbortController();
  expect(add).toMatchObject({ name: "add", description: "Adds.", source: "plugin:one" });
  expect(await add?.run({ a: 1, b: 2 }, { ...CONTEXT, signal })).toBe("run_1 3");
  expect(add?.run({ a: -1, b: 2 }, { ...CONTEXT, signal })).rejects.toThrow("only what is not negative");
  expect(odd?.run({}, { ...CONTEXT, signal })).rejects.toThrow("odd answered number in place of text");
  expect(world.states()).toEqual(["one ready"]);
});

test("a listener hears the events of one session in their order, whatever it waits for; others do not wait", async () => {
  await using world = await openWith(`events: {
    async "message.created"({ session_id, payload }) {
      if (payload.wait === true) await new Promise((resolve) => setTimeout(resolve, 50));
      say(session_id + " " + payload.number);
    },
    "*": ({ type }) => say(type),
  }`);
  world.tell("message.created", { session_id: "a", payload: { number: 1, wait: true } });
  world.tell("message.created", { session_id: "a", payload: { number: 2 } });
  world.tell("message.created", { session_id: "b", payload: { number: 3 } });
  world.tell("run.completed", { session_id: "c" });
  await eventually(
    () => world.told.length,
    (length) => length === 4,
  );
  expect(world.told).toEqual(["b 3", "run.completed", "a 1", "a 2"]);
});

test("what a listener changes in an event nobody else sees", async () => {
  await using world = await openWith(`events: {
    "app.x": ({ payload }) => { (payload as Record<string, unknown>).seen = true; say("changed"); },
  }`);
  await world.write(
    "plugins/two.ts",
    partsText(`events: { "app.x": ({ payload }) => say(JSON.stringify(payload)) }`).replace(`"one"`, `"two"`),
  );
  await world.folders.reload();
  world.tell("app.x", { payload: { a: 1 } });
  await eventually(
    () => world.told,
    (told) => told.length === 2,
  );
  expect(world.told).toEqual(["changed", `{"a":1}`]);
});

test("a listener that throws has its plug-in unloaded, one that is refused something has not", async () => {
  await using world = await openWith(`events: {
    "app.refused": () => { throw new GatewayError("FORBIDDEN", "not for you"); },
    "app.bad": () => { throw new Error("out of luck"); },
  }`);
  world.tell("app.refused");
  await eventually(
    () => world.log.lines.map(({ message }) => message),
    (messages) => messages.includes("a listener of a plug-in was refused something"),
  );
  expect(world.states()).toEqual(["one ready"]);
  world.tell("app.bad");
  await eventually(world.states, (states) => states.includes("one failed"));
  expect(world.reason("one")).toBe("the listener of app.bad: out of luck");
});

test("more than hook_backlog events that wait for a listener are too many", async () => {
  await using world = await openWith(`events: { "*": () => new Promise(() => {}) }`, { hook_backlog: 3 });
  for (let count = 0; count < 4; count++) world.tell("app.x", { session_id: "a" });
  await Bun.sleep(1);
  expect(world.states()).toEqual(["one ready"]);
  world.tell("app.x", { session_id: "a" });
  await eventually(world.states, (states) => states.includes("one failed"));
  expect(world.reason("one")).toBe("app.x: 3 events wait for it");
});

test("after a reload the new version hears of what happens, the old one of what waited for it", async () => {
  const text = (version: number): string => `events: {
    async "app.x"({ payload }) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      say("${version} " + payload.number);
    },
  }`;
  await using world = await openWith(text(1));
  world.tell("app.x", { session_id: "a", payload: { number: 1 } });
  world.tell("app.x", { session_id: "a", payload: { number: 2 } });
  await Bun.sleep(1);
  await world.write("plugins/one.ts", partsText(text(2)));
  await world.folders.reload();
  world.tell("app.x", { session_id: "a", payload: { number: 3 } });
  await eventually(
    () => world.told.length,
    (length) => length === 3,
  );
  expect(world.told.toSorted()).toEqual(["1 1", "1 2", "2 3"]);
});

test("hooks are called in the order of the plug-ins' names, also after a reload, and go with them", async () => {
  const appends = (text: string): string => `hooks: {
    before_message: ({ message }, { gateway, log }) => ({ message: message + "${text}" + gateway.name.length }),
  }`;
  await using world = await openWith(appends("1"));
  await world.write("plugins/two.ts", partsText(appends("2")).replace(`"one"`, `"two"`));
  await world.folders.reload();
  const sent = { session_id: null, user: "ada", role: "user", message: "", metadata: {} } as const;
  expect(await world.hooks.beforeMessage(sent)).toBe("1828");
  await world.write("plugins/one.ts", partsText(appends("3")));
  await world.folders.reload();
  expect(await world.hooks.beforeMessage(sent)).toBe("3828");
  await world.remove("plugins/two.ts");
  await world.folders.reload();
  expect(await world.hooks.beforeMessage(sent)).toBe("38");
  await world.write("plugins/one.ts", partsText(`hooks: { before_message() { throw new Error("bad"); } }`));
  await world.folders.reload();
  expect(await world.hooks.beforeMessage(sent)).toBe("");
  expect(world.reason("one")).toBe("hook: before_message: bad");
  expect(world.hooks.has.before_message).toBe(false);
});

test("a plug-in that is unloaded holds up no message, and none of its hooks is called once its setup is undone", async () => {
  await using world = await openWith(
    `setup: () => () => say("undone"),
    hooks: {
      before_message: () => new Promise(() => say("asked")),
      after_message: ({ message }) => new Promise((resolve) => {
        say("heard " + message.message_id);
        (globalThis as unknown as { goOn: unknown }).goOn = resolve;
      }),
    }`,
    { hook_ms: 3_600_000 },
  );
  const sent = { session_id: null, user: "ada", role: "user", message: "as it is", metadata: {} } as const;
  const asked = world.hooks.beforeMessage(sent);
  for (const message_id of ["m1", "m2"]) {
    const data = JSON.stringify({ message_id });
    const row = { message_id, role: "user", status: "complete", run_id: null, event: 0, data } as const;
    world.hooks.committed({ id: "ses_1", owner: "ada", name: null }, [{ kind: "message.put", ...row }]);
  }
  await eventually(
    () => world.told.length,
    (length) => length === 2,
  );
  await world.remove("plugins/one.ts");
  await world.folders.reload();
  expect(await asked).toBe("as it is");
  (globalThis as unknown as { goOn: () => void }).goOn();
  await new Promise((resolve) => setTimeout(resolve, 1));
  expect(world.told).toEqual(["asked", "heard m1", "undone"]);
});

const REQUEST: ModelRequest = { model: "m", messages: [], session_id: "s", run_id: "r" };

async function read(world: PluginWorld, signal = new AbortController().signal): Promise<ModelEvent[]> {
  const events: ModelEvent[] = [];
  const [provider] = world.providers.all();
  if (provider === undefined) throw new Error("there is no provider");
  for await (const event of provider.stream(REQUEST, { signal })) events.push(event);
  return events;
}

/** A provider whose stream does what is said. */
function provider(stream: string): string {
  return `providers: [{
    name: "mine",
    state: () => ({ name: "mine", ready: true }),
    models: () => ["m"],
    async *stream(request, { signal }) { ${stream} },
  }]`;
}

test("a provider is one of the gateway's, and goes with its plug-in", async () => {
  await using world = await openWith(
    provider(`yield { type: "text", text: request.model }; yield { type: "done", finish_reason: "stop" };`),
  );
  expect(world.providers.all().map((each) => [each.state(), each.models()])).toEqual([
    [{ name: "mine", ready: true }, ["m"]],
  ]);
  expect(await read(world)).toEqual([
    { type: "text", text: "m" },
    { type: "done", finish_reason: "stop" },
  ]);
  await world.remove("plugins/one.ts");
  await world.folders.reload();
  expect(world.providers.all()).toEqual([]);
});

const FAULTS: Readonly<Record<string, readonly [stream: string, reason: string]>> = {
  throws: [`throw new Error("broken");`, "mine.stream: broken"],
  "ends without an end": [
    `yield { type: "text", text: "a" };`,
    "mine.stream: the stream ended without an end",
  ],
  "says no text": [
    `yield { type: "text", text: 7 as unknown as string };`,
    "mine.stream: it yields text without a text",
  ],
  "says nothing for plugin_stream_ms": [
    `await new Promise(() => {});`,
    "mine.stream: did not settle within 50 ms",
  ],
};
for (const [what, [stream, reason]] of Object.entries(FAULTS)) {
  test(`a provider that ${what} ends with one error, and its plug-in is unloaded`, async () => {
    await using world = await openWith(provider(stream), { plugin_stream_ms: 50, plugin_grace_ms: 50 });
    const events = await read(world);
    expect(events.filter(({ type }) => type !== "text").map(({ type }) => type)).toEqual(["error"]);
    await eventually(world.states, (states) => states.includes("one failed"));
    expect(world.reason("one")).toBe(reason);
    expect(world.providers.all()).toEqual([]);
  });
}

test("a stream that a version has begun goes on after a reload", async () => {
  const gate = Promise.withResolvers<void>();
  Object.assign(globalThis, { gate: gate.promise });
  const stream = (text: string): string =>
    provider(`yield { type: "text", text: "${text}" };
      await (globalThis as unknown as { gate: Promise<void> }).gate;
      yield { type: "done", finish_reason: "stop" };`);
  await using world = await openWith(stream("old"));
  const [old] = world.providers.all();
  const events = old?.stream(REQUEST, { signal: new AbortController().signal })[Symbol.asyncIterator]();
  expect((await events?.next())?.value).toEqual({ type: "text", text: "old" });
  await world.write("plugins/one.ts", partsText(stream("new")));
  await world.folders.reload();
  gate.resolve();
  expect((await events?.next())?.value).toEqual({ type: "done", finish_reason: "stop" });
  expect(await read(world)).toContainEqual({ type: "text", text: "new" });
});
