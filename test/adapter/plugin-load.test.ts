import { expect, test } from "bun:test";
import { manualClock } from "../support/clock.ts";
import { openPlugins, sayer } from "./plugin.fixture.ts";
import { eventually } from "../gateway/stack.ts";

/** Files on disk become plug-ins, and stay what they are until a better version is there. */

/** Waits until it answers that. */
async function becomes(read: () => unknown, wanted: unknown): Promise<void> {
  await eventually(read, (value) => Bun.deepEquals(value, wanted));
}

test("a file is a plug-in, and so is a folder with an index; what helps them is none", async () => {
  await using world = await openPlugins();
  await world.write("plugins/one.ts", sayer("one", `"1"`));
  await world.write("plugins/two/index.ts", sayer("two", "word", `import { word } from "./word.ts";`));
  await world.write("plugins/two/word.ts", `export const word: string = "2";`);
  await world.write("plugins/_shared.ts", `export const nothing = 1;`);
  await world.write("plugins/lib/part.ts", `export const nothing = 1;`);
  await world.write("plugins/one.test.ts", `throw new Error("a test is not run");`);
  await world.folders.start();
  expect(world.states()).toEqual(["one ready", "two ready"]);
  expect(await world.call("one.say")).toEqual({ said: "1" });
  expect(await world.call("two.say")).toEqual({ said: "2" });
  expect(world.plugins.list()[1]).toMatchObject({ source: "plugins/two", methods: ["two.say"], tools: [] });
});

test("editing it takes effect, and so does editing what it imports", async () => {
  await using world = await openPlugins({ auto_reload: true });
  const imports = `import { word } from "./_words/word.ts";`;
  await world.write("plugins/_words/word.ts", `export const word: string = "first";`);
  await world.write("plugins/one.ts", sayer("one", "word", imports));
  await world.folders.start();
  expect(await world.call("one.say")).toEqual({ said: "first" });
  await world.write("plugins/_words/word.ts", `export const word: string = "second";`);
  await becomes(() => world.call("one.say"), { said: "second" });
  await world.write("plugins/one.ts", sayer("one", "word + '!'", imports));
  await becomes(() => world.call("one.say"), { said: "second!" });
  await world.write("plugins/two.ts", sayer("two", `"new"`));
  await becomes(world.states, ["one ready", "two ready"]);
  await world.remove("plugins/one.ts");
  await becomes(world.states, ["two ready"]);
  expect([...world.methods.keys()]).toEqual(["two.say"]);
});

test("what is written in several steps is read once it is whole", async () => {
  const clock = manualClock();
  await using world = await openPlugins({ auto_reload: true, clock });
  const file = world.path("plugins/one.ts");
  await world.write("plugins/one.ts", sayer("one", `"first"`));
  await world.folders.start();
  const waiting = clock.pending;
  const text = sayer("one", `"second"`);
  for (const part of [0.2, 0.6, 1]) {
    await Bun.write(file, text.slice(0, Math.ceil(text.length * part)));
    clock.advance(500);
    // It has seen that, and waits whether there is more.
    await eventually(
      () => clock.pending,
      (pending) => pending === waiting,
    );
  }
  expect(await world.call("one.say")).toEqual({ said: "first" });
  clock.advance(500);
  await becomes(() => world.call("one.say"), { said: "second" });
  expect(world.log.lines.map(({ level }) => level)).not.toContain("error");
});

test("what changes beside it all the time does not keep a new version from being seen", async () => {
  const clock = manualClock();
  await using world = await openPlugins({ auto_reload: true, clock });
  await world.write("plugins/one.ts", sayer("one", `"first"`));
  await world.folders.start();
  const waiting = clock.pending;
  await world.write("plugins/one.ts", sayer("one", `"second"`));
  let count = 0;
  await eventually(
    async () => {
      await world.write("plugins/_state.json", String(++count));
      if (clock.pending === waiting) clock.advance(500);
      return world.call("one.say");
    },
    (answer) => Bun.deepEquals(answer, { said: "second" }),
  );
});

/** What a version may be like that is not loaded, and what is said of it. */
const BROKEN: Readonly<Record<string, readonly [text: string, reason: RegExp]>> = {
  "does not parse": [`export default {`, /one\.ts:1/],
  throws: [`throw new Error("no luck");`, /^no luck$/],
  "throws in what it imports": [`import "./_bad.ts"; export default {};`, /^bad luck$/],
  "imports what is not there": [`import "./_nothing.ts";`, /_nothing/],
  "exports nothing": [`export const a = 1;`, /the default export: missing/],
  "exports something else": [`export default 7;`, /the default export: export default definePlugin/],
  "has a part that does not exist": [
    `export default { name: "one", method: {} };`,
    /there is no method in a plug-in/,
  ],
  "has no name": [`export default { tools: {} };`, /^name: /],
  "has a method without a schema": [
    `export default { name: "one", methods: { "a.b": { scope: null, doc: "x", run() {} } } };`,
    /methods\["a\.b"\]\.params: missing/,
  ],
  "has a method with an unknown scope": [
    `import { Type } from "agentbus/plugin"; const o = Type.Object({});
     export default { name: "one", methods: { "a.b": { scope: "all", doc: "x", params: o, result: o, run() {} } } };`,
    /methods\["a\.b"\]\.scope: null, or one of/,
  ],
  "has a route that says nothing of who may use it": [
    `export default { name: "one", routes: { "GET /x": { doc: "x", run() {} } } };`,
    /routes\["GET \/x"\]: say who may use it/,
  ],
  "has a hook that does not exist": [
    `export default { name: "one", hooks: { before_lunch() {} } };`,
    /there is no such hook/,
  ],
  "fails when it is set up": [
    `export default { name: "one", setup() { throw new Error("not set up"); } };`,
    /^not set up$/,
  ],
};

for (const [what, [text, reason]] of Object.entries(BROKEN)) {
  test(`a version that ${what} is reported; the one before it stays until it is mended`, async () => {
    await using world = await openPlugins();
    await world.write("plugins/_bad.ts", `throw new Error("bad luck");`);
    await world.write("plugins/new.ts", text.replaceAll(`"one"`, `"new"`));
    await world.write("plugins/one.ts", sayer("one", `"good"`));
    await world.folders.start();
    expect(world.states()).toEqual(["new failed", "one ready"]);
    await world.write("plugins/one.ts", text);
    await world.folders.reload();
    expect(world.states()).toEqual(["new failed", "one stale"]);
    expect(world.reason("one")).toMatch(reason);
    expect(await world.call("one.say")).toEqual({ said: "good" });
    expect(world.log.lines).toContainEqual({
      level: "error",
      fields: { plugin: "one", source: "plugins/one.ts", reason: expect.stringMatching(reason) },
      message: "a plug-in cannot be loaded: its last good version stays",
    });
    await world.write("plugins/_bad.ts", `export {};`);
    await world.write("plugins/one.ts", sayer("one", `"better"`));
    expect(await world.folders.reload()).toEqual(["one"]);
    expect(await world.call("one.say")).toEqual({ said: "better" });
    expect(world.reason("one")).toBeUndefined();
  });
}

test("one that is never loaded or never set up is given up after plugin_load_ms, the others are there", async () => {
  await using world = await openPlugins({ limits: { plugin_load_ms: 100 } });
  await world.write("plugins/a.ts", `await new Promise(() => {});\n${sayer("a", `"a"`)}`);
  await world.write("plugins/b.ts", `export default { name: "b", setup: () => new Promise(() => {}) };`);
  await world.write("plugins/c.ts", sayer("c", `"c"`));
  await world.folders.start();
  expect(world.states()).toEqual(["a failed", "b failed", "c ready"]);
  expect(world.reason("a")).toBe("it was not loaded within 100 ms: something it awaits never comes");
  expect(world.reason("b")).toBe("b: setup took longer than 100 ms");
  await world.write("plugins/a.ts", sayer("a", `"mended"`));
  await world.folders.reload();
  expect(await world.call("a.say")).toEqual({ said: "mended" });
});

test("names that are taken are refused, whoever has them", async () => {
  await using world = await openPlugins({ taken: ["b.say", "look"] });
  await world.write("plugins/a.ts", sayer("a", `"a"`));
  await world.write("plugins/b.ts", sayer("b", `"b"`));
  await world.write("plugins/c/index.ts", sayer("a", `"another"`));
  const tool = `{ description: "x", parameters: Type.Object({}), run: () => "x" }`;
  const head = `import { Type } from "agentbus/plugin";`;
  await world.write("plugins/d.ts", `${head} export default { name: "d", tools: { look: ${tool} } };`);
  await world.write("plugins/e.ts", `${head} export default { name: "e", tools: { see: ${tool} } };`);
  await world.write("plugins/f.ts", `${head} export default { name: "f", tools: { see: ${tool} } };`);
  await world.write("plugins/g.ts", sayer("a", `"g"`).replace(`name: "a"`, `name: "g"`));
  await world.folders.start();
  const reasons = world.plugins
    .list()
    .flatMap(({ name, reason }) => (reason === undefined ? [] : [[name, reason]]));
  expect(reasons).toEqual([
    ["b", "there is a method b.say already (the gateway has one): choose another name"],
    ["c", "there is a plug-in a already, from plugins/a.ts"],
    ["d", "there is a tool look already (the gateway has one): choose another name"],
    ["f", "there is a tool see already (the plug-in e has one): choose another name"],
    ["g", "there is a method a.say already (the plug-in a has one): choose another name"],
  ]);
  expect(world.plugins.tools().map(({ name, source }) => [name, source])).toEqual([["see", "plugin:e"]]);
});

test("plugin.reload with a name loads what did not change, and one that failed in any case", async () => {
  await using world = await openPlugins();
  await world.write("plugins/a.ts", sayer("a", `count`, `const count = String(process.hrtime.bigint());`));
  await world.folders.start();
  const first = await world.call("a.say");
  expect(await world.folders.reload()).toEqual([]);
  expect(await world.call("a.say")).toEqual(first);
  expect(await world.folders.reload("a")).toEqual(["a"]);
  expect(await world.call("a.say")).not.toEqual(first);
});
