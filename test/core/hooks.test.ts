import { expect, test } from "bun:test";
import { until } from "../support/engine.ts";
import { hook, texts } from "./hooks.fixture.ts";
import { call, closesEngines, ended, model, results, say, start, tool } from "./tools.fixture.ts";

closesEngines();

test("every hook is called once, in the order of what happens, with ids of the gateway's", async () => {
  const { script } = model([call("add", { n: 1 })], "done");
  const scene = await start({ script, tools: [tool("add")] });
  const seen: [string, unknown][] = [];
  const note =
    (name: string) =>
    (input: object): void =>
      void seen.push([name, input]);
  hook(scene, {
    before_message: note("before_message"),
    after_message: note("after_message"),
    before_run: note("before_run"),
    after_run: note("after_run"),
    before_tool_call: note("before_tool_call"),
    after_tool_call: note("after_tool_call"),
  });
  const owner = scene.connect();
  const { run_id } = await say(owner, "go", { metadata: { a: 1 } });
  await until(() => seen.some(([name]) => name === "after_run"));
  expect(seen.map(([name]) => name)).toEqual([
    "before_message",
    "before_run",
    "after_message",
    "after_message",
    "before_tool_call",
    "after_tool_call",
    "after_message",
    "after_message",
    "after_run",
  ]);
  const session_id = expect.stringMatching(/^ses_/) as unknown;
  const at = { session_id, run_id };
  const asked = { ...at, tool_call_id: "add", name: "add", arguments: { n: 1 } };
  expect(seen[0]?.[1]).toEqual({
    session_id: null,
    user: "owner",
    role: "user",
    message: "go",
    metadata: { a: 1 },
  });
  expect(seen[1]?.[1]).toEqual({ ...at, user: "owner", model: "test/model" });
  expect(seen.filter(([name]) => name === "after_message").map(([, input]) => input)).toMatchObject([
    { session_id, message: { role: "user", content: "go", status: "complete" } },
    { session_id, message: { role: "assistant", status: "complete" } },
    { session_id, message: { role: "tool", content: "add:1" } },
    { session_id, message: { role: "assistant", content: "done", status: "complete" } },
  ]);
  expect(seen[4]?.[1]).toEqual(asked);
  expect(seen[5]?.[1]).toEqual({ ...asked, ok: true, content: "add:1" });
  expect(seen.at(-1)?.[1]).toMatchObject({ session_id, run: { run_id, status: "completed" } });
});

test("a run that is refused fails, and says by whom; the model is not asked", async () => {
  const { script, asked } = model("hello");
  const scene = await start({ script });
  hook(scene, { before_run: async () => ({ refuse: "not on a Sunday" }) });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(owner.events().at(-1)).toMatchObject({
    event: "run.failed",
    payload: {
      run: {
        error: {
          code: "FORBIDDEN",
          message: "guard refused this run: not on a Sunday",
          details: { kind: "refused", by: "guard", reason: "not on a Sunday" },
        },
      },
    },
  });
  expect(asked).toEqual([]);
});

test("a call that is refused is not made, and the model is told what the hook says", async () => {
  const { script, asked } = model([call("add", { n: 1 })], "done");
  let calls = 0;
  const scene = await start({ script, tools: [tool("add", async () => `${calls++}`)] });
  hook(scene, { before_tool_call: () => ({ refuse: "adding is over" }) });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(results(owner)).toMatchObject([{ tool_call_id: "add", ok: false, content: "adding is over" }]);
  expect(asked.at(-1)?.messages.at(-1)).toEqual({
    role: "tool",
    tool_call_id: "add",
    content: "adding is over",
  });
  expect(calls).toBe(0);
});

test("changed arguments are what the tool gets, one hook after the other; the log keeps what the model said", async () => {
  const { script } = model([call("add", { n: 1 })], "done");
  const given: unknown[] = [];
  const tools = [tool("add", async (args) => `${given.push(args)}`)];
  const scene = await start({ script, tools });
  const seen: unknown[] = [];
  hook(scene, { before_tool_call: (asked) => ({ arguments: { n: Number(asked.arguments["n"]) + 1 } }) });
  hook(scene, {
    before_tool_call: (asked) => {
      seen.push(structuredClone(asked.arguments));
      // What it does to its copy changes nothing.
      (asked.arguments as Record<string, unknown>)["n"] = 99;
    },
  });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(seen).toEqual([{ n: 2 }]);
  expect(given).toEqual([{ n: 2 }]);
  const called = owner.events().find(({ event }) => event === "tool.call");
  expect(called?.payload).toMatchObject({ arguments: '{"n":1}' });
});

test("changed arguments are checked against the schema again, and shown to whoever is asked", async () => {
  const { script } = model([call("add", { n: 1 }, "a"), call("add", { n: 2 }, "b")], "done");
  const scene = await start({ script, tools: [tool("add")], policy: { "*": "ask" } });
  hook(scene, {
    before_tool_call: ({ tool_call_id }) => ({ arguments: tool_call_id === "a" ? { n: "x" } : { n: 3 } }),
  });
  const owner = scene.connect();
  await say(owner);
  const asks = () => owner.events().filter(({ event }) => event === "tool.approval_requested");
  await until(() => asks().length === 1);
  const approval = asks()[0]?.payload["approval"] as { approval_id: string };
  expect(approval).toMatchObject({ tool_call_id: "b", arguments: '{"n":3}' });
  await owner.request("tool.approve", {
    session_id: "s",
    approval_id: approval.approval_id,
    decision: "allow",
  });
  await until(ended(owner));
  const [a, b] = results(owner);
  expect(a).toMatchObject({ ok: false });
  expect(String(a?.["content"])).toStartWith("guard changed what it is called with: ");
  expect(b).toMatchObject({ ok: true, content: "add:3" });
});

test("what a tool said may be replaced, and is cut like any other result", async () => {
  const { script } = model([call("add", { n: 1 }, "a"), call("add", { n: 2 }, "b")], "done");
  const scene = await start({ script, tools: [tool("add")], limits: { tool_result_bytes: 16 } });
  hook(scene, {
    after_tool_call: async ({ content }) => ({ content: content === "add:1" ? "short" : "é".repeat(20) }),
  });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(results(owner)).toMatchObject([
    { ok: true, content: "short" },
    { ok: true, content: "é".repeat(8), truncated: true },
  ]);
});

test("a message may be changed or refused before it is written; a steered and an injected one too", async () => {
  const gate = Promise.withResolvers<void>();
  const scene = await start({
    async *script() {
      yield { type: "text", text: "a" };
      await gate.promise;
      yield { type: "done", finish_reason: "stop" };
    },
  });
  const seen: unknown[] = [];
  hook(scene, {
    before_message: ({ session_id, role, message }) => {
      seen.push([session_id === null, role]);
      if (message === "no") return { refuse: "rude" };
      return { message: message.toUpperCase() };
    },
  });
  const owner = scene.connect();
  await say(owner, "one");
  const refusal = {
    reason: "FORBIDDEN",
    message: "guard refused this message: rude",
    details: { kind: "refused", by: "guard", reason: "rude" },
  };
  await expect(say(owner, "no")).rejects.toMatchObject(refusal);
  expect(await say(owner, "two", { on_busy: "steer" })).toMatchObject({ status: "steered" });
  const injected = { session_id: "s", role: "system", content: "three" };
  await owner.request("chat.inject", injected);
  await expect(owner.request("chat.inject", { ...injected, content: "no" })).rejects.toMatchObject(refusal);
  await expect(owner.request("chat.inject", { ...injected, session_id: "none" })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
  gate.resolve();
  await until(ended(owner));
  expect(texts(owner)).toEqual(["ONE", "TWO", "THREE"]);
  expect(seen).toEqual([
    [true, "user"],
    [false, "user"],
    [false, "user"],
    [false, "system"],
    [false, "system"],
  ]);
});

test("who may not write to a session is told so, and no hook hears of it", async () => {
  const scene = await start({});
  const owner = scene.connect();
  const { session_id } = await owner.request<{ session_id: string }>("session.create", {});
  let calls = 0;
  hook(scene, { before_message: () => void calls++ });
  const other = scene.connect("other");
  await expect(other.request("chat.send", { session_id, message: "x" })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
  expect(calls).toBe(0);
});

test("messages of one connection to one session keep their order behind a hook that is slow", async () => {
  const scene = await start({});
  const gate = Promise.withResolvers<void>();
  hook(scene, {
    before_message: async ({ message }) => {
      if (message === "slow") await gate.promise;
      if (message === "bad") return { refuse: "bad" };
      return undefined;
    },
  });
  const owner = scene.connect();
  await owner.request("session.create", { session_id: "s" });
  const slow = say(owner, "slow");
  const bad = say(owner, "bad").catch((error: unknown) => error);
  const last = say(owner, "last", { on_busy: "reject" }).catch((error: unknown) => error);
  // Another session of the same connection does not wait.
  await owner.request("chat.send", { session_id: "t", message: "elsewhere" });
  await until(() => texts(owner).length > 0);
  expect(texts(owner)).toEqual(["elsewhere"]);
  gate.resolve();
  expect(await slow).toMatchObject({ status: "started" });
  expect(await bad).toMatchObject({ reason: "FORBIDDEN" });
  // The place that the refused one did not take is free; the one before it has the lane.
  expect(await last).toMatchObject({ reason: "CONFLICT" });
  await scene.engine.runs.settled();
  expect(texts(owner)).toEqual(["elsewhere", "slow"]);
});

test("a request repeated with its key is answered without the hook, whatever it made of the message", async () => {
  const scene = await start({});
  let calls = 0;
  hook(scene, {
    before_message: async ({ message }) => ({ message: `${message} ${++calls}` }),
  });
  const owner = scene.connect();
  const [first, second] = await Promise.all([
    say(owner, "hi", { idempotency_key: "k" }),
    say(scene.connect(), "hi", { idempotency_key: "k" }),
  ]);
  expect(second.run_id).toBe(first.run_id);
  expect(await say(owner, "hi", { idempotency_key: "k" })).toMatchObject({ run_id: first.run_id });
  await expect(say(owner, "hi 1", { idempotency_key: "k" })).rejects.toMatchObject({
    reason: "IDEMPOTENCY_MISMATCH",
  });
  expect(calls).toBe(1);
  expect(texts(owner)).toEqual(["hi 1"]);
});

test("a refused message with a key is tried again: failures are not remembered", async () => {
  const scene = await start({});
  let isOpen = false;
  hook(scene, { before_message: () => (isOpen ? undefined : { refuse: "closed" }) });
  const owner = scene.connect();
  await expect(say(owner, "hi", { idempotency_key: "k" })).rejects.toMatchObject({ reason: "FORBIDDEN" });
  isOpen = true;
  expect(await say(owner, "hi", { idempotency_key: "k" })).toMatchObject({ status: "started" });
});

test("nobody is asked to allow a call once its run has ended, though a hook was asked before that", async () => {
  const { script } = model([call("look", { n: 0 })]);
  const scene = await start({ script, tools: [tool("look")], policy: { "*": "ask" } });
  const owner = scene.connect();
  let asked = false;
  hook(scene, {
    before_tool_call: () => {
      asked = true;
      return new Promise(() => undefined);
    },
  });
  await say(owner);
  await until(() => asked);
  await owner.request("chat.abort", { session_id: "s" });
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  await scene.engine.journal.drained();
  expect(owner.events().at(-1)?.event).toBe("run.aborted");
  expect(owner.events().map(({ event }) => event)).not.toContain("tool.approval_requested");
});
