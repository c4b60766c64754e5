import { expect, test } from "bun:test";
import { until } from "../support/engine.ts";
import { hook, texts } from "./hooks.fixture.ts";
import { call, closesEngines, ended, kinds, model, results, say, start, tool } from "./tools.fixture.ts";

closesEngines();

const FAILING: Record<string, () => never> = {
  throws: () => {
    throw new Error("broken");
  },
};
const ALL = [
  "before_message",
  "before_run",
  "before_tool_call",
  "after_tool_call",
  "after_message",
  "after_run",
] as const;

for (const name of ALL) {
  test(`${name}: one that throws, rejects, answers nonsense or never settles is out, and nothing else notices`, async () => {
    const ways: Record<string, () => unknown> = {
      ...FAILING,
      rejects: async () => Promise.reject(new Error("broken")),
      hangs: async () => new Promise(() => undefined),
      "has a then that throws": () => ({
        get then() {
          throw new Error("broken");
        },
      }),
      ...(name.startsWith("before") || name === "after_tool_call"
        ? { "answers a number": () => 5, "answers nonsense": async () => ({ refuse: 1 }) }
        : {}),
    };
    for (const [way, run] of Object.entries(ways)) {
      const { script } = model([call("add", { n: 1 })], "done", [call("add", { n: 1 })], "done");
      const scene = await start({ script, tools: [tool("add")], limits: { hook_ms: 20 } });
      const bad = hook(scene, { [name]: run }, "bad");
      let others = 0;
      hook(scene, { [name]: () => void others++ }, "good");
      const owner = scene.connect();
      await say(owner);
      await until(ended(owner));
      await until(() => bad.failures.length === 1 && others > 0, `${way} is reported`);
      expect([way, bad.failures[0]?.startsWith(`${name}: `)]).toEqual([way, true]);
      expect(kinds(owner).filter((kind) => kind === "run.completed")).toHaveLength(1);
      expect(results(owner)).toMatchObject([{ ok: true, content: "add:1" }]);
      expect(texts(owner)).toEqual(["go"]);
      await say(owner);
      await scene.engine.runs.settled();
      expect(bad.failures).toHaveLength(1);
    }
  });
}

test("a run that is stopped does not wait for its hooks, which are told", async () => {
  for (const name of ["before_run", "before_tool_call", "after_tool_call"] as const) {
    const { script } = model([call("add", { n: 1 })], "done");
    const scene = await start({ script, tools: [tool("add")], limits: { hook_ms: 60_000 } });
    const signals: AbortSignal[] = [];
    const { failures } = hook(scene, {
      [name]: async (_input: unknown, { signal }: { signal: AbortSignal }) => {
        signals.push(signal);
        await new Promise((_resolve, reject) =>
          signal.addEventListener("abort", () => reject(signal.reason)),
        );
      },
    });
    const owner = scene.connect();
    const { run_id } = await say(owner);
    await until(() => signals.length === 1);
    expect(await owner.request("chat.abort", { run_id })).toMatchObject({ status: "aborted" });
    expect(signals[0]?.aborted).toBe(true);
    expect(owner.events().at(-1)).toMatchObject({ event: "run.aborted" });
    // It was told to stop, and did: that is no failure.
    expect(failures).toEqual([]);
  }
});

test("hooks after a commit keep its order within a session, however long each takes", async () => {
  const scene = await start({});
  const seen: string[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  hook(scene, {
    after_message: async ({ message: { content } }) => {
      const gate = Promise.withResolvers<void>();
      gates.push(gate);
      await gate.promise;
      seen.push(content);
    },
    after_run: ({ run }) => void seen.push(run.status),
  });
  const owner = scene.connect();
  await say(owner, "one");
  await until(ended(owner));
  await until(() => gates.length === 1);
  gates[0]?.resolve();
  await until(() => gates.length === 2);
  gates[1]?.resolve();
  await until(() => seen.length === 3);
  expect(seen).toEqual(["one", "hello world", "completed"]);
});

test("hook_backlog: an owner whose hooks are far behind is out", async () => {
  const scene = await start({ limits: { hook_backlog: 3, hook_ms: 60_000 } });
  const { failures } = hook(scene, { after_message: async () => new Promise(() => undefined) });
  const owner = scene.connect();
  await say(owner, "one");
  await scene.engine.runs.settled();
  expect(failures).toEqual([]);
  await say(owner, "two");
  await scene.engine.runs.settled();
  expect(failures).toEqual(["after_message: 3 calls wait for it"]);
  expect(scene.engine.hooks.has.after_message).toBe(false);
});

test("hook_ms: one that takes longer is out; one that is taken out is waited for", async () => {
  const scene = await start({ limits: { hook_ms: 30 } });
  const gate = Promise.withResolvers<void>();
  const kept = hook(scene, { before_message: async () => gate.promise.then(() => ({ message: "kept" })) });
  const sent = say(scene.connect(), "hi");
  await until(() => scene.engine.hooks.has.before_message);
  const removed = kept.remove();
  expect(scene.engine.hooks.has.before_message).toBe(false);
  gate.resolve();
  await removed;
  await sent;
  expect(kept.failures).toEqual([]);
  const late = hook(scene, { before_message: async () => new Promise(() => undefined) });
  await say(scene.connect(), "hi");
  expect(late.failures).toEqual(["before_message: did not settle within 30 ms"]);
});

test("a run that a stop ends has its hook called too", async () => {
  const scene = await start({});
  const statuses: string[] = [];
  hook(scene, { after_run: ({ run }) => void statuses.push(run.status) });
  const owner = scene.connect();
  await say(owner);
  await scene.engine.drain(0);
  await scene.engine.hooks.idle();
  expect(statuses).toHaveLength(1);
});
