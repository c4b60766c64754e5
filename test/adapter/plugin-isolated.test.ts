import { expect, test } from "bun:test";
import { until } from "../support/engine.ts";
import { openPlugins, sayer } from "./plugin.fixture.ts";
import type { PluginWorld } from "./plugin.fixture.ts";

const alone = (name: string, says: string, head = "", more = ""): string =>
  sayer(name, says, head).replace("methods:", `isolate: true,\n  ${more}\n  methods:`);
const HANDS = `import { isMainThread } from "node:worker_threads";`;

/** Goes on turning while something else happens: the longest time it did not, in ms. */
async function turning(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 5);
  await work.catch(() => undefined);
  clearInterval(timer);
  return longest;
}

const errorOf = (world: PluginWorld, method: string): Promise<unknown> =>
  world.call(method).then(
    () => "an answer",
    (error: unknown) => error,
  );

test("an isolated plug-in answers from a worker, as any other", async () => {
  await using world = await openPlugins();
  await world.write("plugins/iso.ts", alone("iso", `String(isMainThread)`, HANDS));
  await world.folders.start();
  expect(world.states()).toEqual(["iso ready"]);
  expect(world.plugins.list()[0]).toMatchObject({ isolated: true, methods: ["iso.say"] });
  expect(await world.call("iso.say")).toEqual({ said: "false" });
  const definition = world.methods.get("iso.say")?.definition;
  expect(definition).toMatchObject({ scope: "chat.read", doc: "Says it.", params: { type: "object" } });
});

test("editing it takes effect, and so does editing what it imports", async () => {
  await using world = await openPlugins();
  await world.write("plugins/iso/word.ts", `export const word = "one";`);
  await world.write("plugins/iso/index.ts", alone("iso", "word", `import { word } from "./word.ts";`));
  await world.folders.start();
  expect(await world.call("iso.say")).toEqual({ said: "one" });
  await world.write("plugins/iso/word.ts", `export const word = "two";`);
  await world.folders.reload();
  expect(await world.call("iso.say")).toEqual({ said: "two" });
});

test("everything it is made of crosses: context, tools, routes, events, hooks, its log, the gateway, errors", async () => {
  await using world = await openPlugins();
  await world.write(
    "plugins/all.ts",
    `import { definePlugin, GatewayError, Type } from "agentbus/plugin";
const undone: string[] = [];
export default definePlugin({
  name: "all",
  isolate: true,
  async setup(gateway, { log }) {
    log.info({ at: gateway.name }, "set up");
    return () => log.warn({}, "undone");
  },
  methods: {
    "all.context": {
      scope: null, doc: "What it is handed.", mutates: true,
      params: Type.Object({ n: Type.Optional(Type.Integer({ minimum: 1 })) }),
      result: Type.Object({ seen: Type.Unknown() }),
      run: async ({ n }, { user, scopes, client_id, gateway }) => {
        const answer = await gateway.call("chat.send", { n }, { user });
        return { seen: { user, scopes: [...scopes], client_id, answer } };
      },
    },
    "all.refuse": {
      scope: null, doc: "Refuses.", params: Type.Object({}), result: Type.Object({}),
      run: () => { throw new GatewayError("CONFLICT", "not now", { details: { kind: "busy" } }); },
    },
  },
  tools: {
    add: {
      description: "Adds.", parameters: Type.Object({ a: Type.Number(), b: Type.Number() }),
      run: ({ a, b }, { session_id }) => session_id + ":" + (a + b),
    },
  },
  routes: {
    "POST /echo/:word": {
      open: true, doc: "Echoes.",
      run: async (request, { params }) =>
        new Response(params.word + (await request.text()) + request.headers.get("x-a"), { status: 201, headers: { "x-b": "c" } }),
    },
  },
  hooks: { before_message: ({ message }) => ({ message: message + "!" }) },
});
`,
  );
  await world.folders.start();
  expect(world.states()).toEqual(["all ready"]);
  expect(await world.call("all.context", { n: 2 })).toEqual({
    seen: {
      user: "ada",
      scopes: [],
      client_id: "test",
      answer: { method: "chat.send", params: { n: 2 }, by: { user: "ada" } },
    },
  });
  expect(await errorOf(world, "all.refuse")).toMatchObject({
    reason: "CONFLICT",
    message: "not now",
    details: { kind: "busy" },
  });
  const [add] = world.plugins.tools();
  const context = { signal: new AbortController().signal, session_id: "ses_1", run_id: "run_1" };
  expect(await add?.run({ a: 1, b: 2 }, context)).toBe("ses_1:3");
  expect(world.log.lines).toContainEqual({
    level: "info",
    fields: { at: "agentbus" },
    message: "set up",
  });
  await world.remove("plugins/all.ts");
  await world.folders.reload();
  expect(world.states()).toEqual([]);
  expect(world.log.lines).toContainEqual({ level: "warn", fields: {}, message: "undone" });
});

test("one that spins is ended, and nobody else waits for it", async () => {
  await using world = await openPlugins({ limits: { plugin_call_ms: 150, plugin_grace_ms: 50 } });
  await world.write("plugins/iso.ts", alone("iso", `(() => { for (;;); })()`));
  await world.write("plugins/other.ts", sayer("other", `"here"`));
  await world.folders.start();
  const spun = errorOf(world, "iso.say");
  // In this thread it would turn no more.
  expect(await turning(spun)).toBeLessThan(2_000);
  expect(await spun).toMatchObject({ reason: "TIMEOUT" });
  await until(() => world.states().includes("iso failed"));
  expect(world.reason("iso")).toBe("iso.say: did not settle within 150 ms");
  expect(await world.call("other.say")).toEqual({ said: "here" });
});

test("one that spins where nobody waits for it is found out", async () => {
  await using world = await openPlugins({ limits: { plugin_call_ms: 300, plugin_grace_ms: 50 } });
  await world.write("plugins/iso.ts", alone("iso", `"x"`, `setTimeout(() => { for (;;); }, 20);`));
  await world.folders.start();
  await until(() => world.states().includes("iso failed"));
  expect(world.reason("iso")).toBe("its worker: it did not answer within 300 ms");
});

test("one that spins while it is loaded is given up", async () => {
  await using world = await openPlugins({ limits: { plugin_load_ms: 150 } });
  await world.write("plugins/iso.ts", alone("iso", `"x"`, `for (;;);`));
  await world.write("plugins/other.ts", sayer("other", `"here"`));
  expect(await turning(world.folders.start())).toBeLessThan(2_000);
  expect(world.states()).toEqual(["iso failed", "other ready"]);
  expect(world.reason("iso")).toContain("it was not loaded within 150 ms");
});

const WAYS: Readonly<Record<string, readonly [says: string, reason: RegExp]>> = {
  "a promise that nobody waits for": [`(void Promise.reject(new Error("stray")), "x")`, /stray$/],
  "a timer that throws": [`(setTimeout(() => { throw new Error("stray"); }, 1), "x")`, /stray$/],
  "process.exit": [`(setTimeout(() => process.exit(0), 1), "x")`, /^its worker: it ended itself$/],
};
for (const [way, [says, reason]] of Object.entries(WAYS)) {
  test(`${way} ends an isolated plug-in, not the gateway`, async () => {
    await using world = await openPlugins();
    await world.write("plugins/iso.ts", alone("iso", says));
    await world.folders.start();
    expect(await world.call("iso.say")).toEqual({ said: "x" });
    await until(() => world.states().includes("iso failed"));
    expect(world.reason("iso")).toMatch(reason);
  });
}

test("what it waits for is told to stop, and an answer that cannot be copied is a fault", async () => {
  await using world = await openPlugins();
  const wait = `await new Promise<string>((resolve) => signal.addEventListener("abort", () => resolve("stopped")))`;
  const text = alone("iso", wait).replace("run: async ()", "run: async (_params, { signal })");
  await world.write("plugins/iso.ts", text);
  await world.write("plugins/odd.ts", alone("odd", `(() => "x") as never`));
  await world.folders.start();
  const abort = new AbortController();
  const waiting = world.call("iso.say", {}, abort.signal);
  abort.abort();
  expect(await waiting).toEqual({ said: "stopped" });
  expect(await errorOf(world, "odd.say")).toMatchObject({ reason: "INTERNAL_ERROR" });
  await until(() => world.states().includes("odd failed"));
});

test("what cannot be in a worker is refused, and says so", async () => {
  await using world = await openPlugins();
  const provider = `providers: [{ name: "p", state() {}, models() {}, stream() {} }] as never,`;
  await world.write("plugins/a.ts", alone("a", `"x"`, "", provider));
  await world.write(
    "plugins/b.ts",
    alone("b", `"x"`, `const isolate = true;`).replace("isolate: true", "isolate"),
  );
  await world.write(
    "plugins/c.ts",
    alone("c", `"x"`).replace(
      "params: Type.Object({})",
      "params: Type.Object({ n: Type.Transform(Type.String()).Decode(Number).Encode(String) })",
    ),
  );
  await world.folders.start();
  expect(world.states()).toEqual(["a failed", "b failed", "c failed"]);
  expect(world.reason("a")).toBe(
    "providers: what streams cannot run in a worker: leave isolate or the providers out",
  );
  expect(world.reason("b")).toContain(`isolate: write "isolate: true" into `);
  expect(world.reason("c")).toContain("a function there cannot be called in a worker");
});

test("a comment that speaks of it isolates nobody", async () => {
  await using world = await openPlugins();
  await world.write("plugins/iso.ts", sayer("iso", `String(isMainThread)`, `${HANDS} // isolate: true`));
  await world.folders.start();
  expect(world.plugins.list()[0]).toMatchObject({ isolated: false });
  expect(await world.call("iso.say")).toEqual({ said: "true" });
});

test.each([
  ["nothing", "null"],
  ["an answer without an outcome", `{ op: "answer", id: 2 }`],
  ["a line of no level", `{ op: "log", level: "loud", fields: {}, message: "x" }`],
])("what it sends past the gateway's own code ends it, and nothing else: %s", async (_what, message) => {
  await using world = await openPlugins();
  const sends = `(globalThis as unknown as { postMessage(m: unknown): void }).postMessage(${message})`;
  await world.write("plugins/iso.ts", alone("iso", `(${sends}, "x")`));
  await world.folders.start();
  expect(world.states()).toEqual(["iso ready"]);
  await errorOf(world, "iso.say");
  await until(() => world.states().join() === "iso failed");
  expect(world.reason("iso")).toContain("it sent what is no message of an isolated plug-in");
});
