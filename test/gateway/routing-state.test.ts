import { afterEach, describe, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { ConfigTable } from "../support/gateway-process.ts";
import { untilPlugin } from "./plugins.fixture.ts";
import type { Stack } from "./stack.ts";
import { ask, eventually, runOf, say, startStack, typesOf, watchRun } from "./stack.ts";

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

async function server(): Promise<ModelServer> {
  const model = await startModelServer();
  open.unshift(model);
  return model;
}
async function gateway(llm: ConfigTable, more: ConfigTable = {}): Promise<Stack> {
  const stack = await startStack({ config: { llm, ...more } });
  open.unshift(stack);
  return stack;
}

/** What the log says of providers, at the level a person reads. */
function told({ gateway: { log } }: Stack): unknown[] {
  return log.flatMap(({ msg, level }) => (/provider|failing|reach/.test(msg) ? [[level, msg]] : []));
}

test("a dead provider is a footnote in the log: two lines, and every run is answered by another", async () => {
  const [dead, alive] = [await server(), await server()];
  alive.otherwise(() => script().text("here"));
  dead.otherwise(() => script().status(503));
  const stack = await gateway({
    default_model: "dead/m",
    fallback: ["alive/m"],
    providers: {
      dead: { base_url: dead.url(), max_retries: 0, circuit_failures: 3, circuit_secs: 2 },
      alive: { base_url: alive.url() },
    },
  });
  const { owner } = stack;
  for (let i = 0; i < 10; i++) {
    const { run } = await say(owner, { message: "go" });
    expect([run.status, run.model]).toEqual(["completed", "alive/m"]);
  }
  expect(dead.asked).toBe(3);
  const opened = [
    "warn",
    "provider dead is failing, others are asked where there are any: dead failed (503): answered 503",
  ];
  expect(told(stack)).toEqual([opened]);
  // Known to whoever asks, though runs are answered.
  const status = await owner.call("system.status");
  expect(status.status).toBe("degraded");
  expect(status.providers).toEqual(
    expect.arrayContaining([
      {
        name: "dead",
        ready: false,
        reason: expect.stringMatching(/^dead failed \(503\).*; tried again in [12] s$/),
      },
      { name: "alive", ready: true },
    ]),
  );
  const ready = await ask(`${stack.gateway.url}/ready`, "GET");
  expect([ready.status, ready.json.checks.provider]).toEqual([
    200,
    { ok: false, reason: expect.stringContaining("dead: dead failed (503)") },
  ]);

  dead.otherwise(() => script().text("back"));
  const models = new Set<string>();
  await eventually(
    async () => {
      models.add((await say(owner, { message: "again" })).run.model);
      return models;
    },
    (seen) => seen.has("dead/m"),
  );
  expect(told(stack)).toEqual([opened, ["info", "provider dead answers again"]]);
  expect((await owner.call("system.status")).status).toBe("healthy");
});

test("runs wait for a provider that answers so many at once, can be stopped there, and are all answered", async () => {
  const model = await server();
  model.otherwise(() => script().tokens(10, { everyMs: 10 }));
  const stack = await gateway({
    default_model: "small/m",
    providers: { small: { base_url: model.url(), max_concurrent: 2 } },
  });
  const { owner } = stack;
  const sent = await Promise.all(Array.from({ length: 8 }, () => owner.call("chat.send", { message: "go" })));
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, model.open)), 1);
  await eventually(
    () => model.open,
    (now) => now === 2,
  );
  const stopped = sent.at(-1);
  await owner.call("chat.abort", { run_id: stopped.run_id });
  const ends = await Promise.all(
    sent.map(({ run_id }) => owner.call("run.wait", { run_id, timeout_ms: 20_000 })),
  );
  clearInterval(watch);
  expect(most).toBe(2);
  expect(ends.map(({ status }) => status)).toEqual([
    ...Array.from({ length: 7 }, () => "completed"),
    "aborted",
  ]);
  expect(model.asked).toBe(7);
});

describe("which model answers", () => {
  test("is a session's choice, a message's, or the default, of any provider, over every way in", async () => {
    const [one, two] = [await server(), await server()];
    for (const each of [one, two]) each.otherwise(() => script().text("hi"));
    const stack = await gateway({
      default_provider: "one",
      default_model: "usual",
      providers: {
        one: { base_url: one.url() },
        two: { base_url: two.url(), models: ["big", "org/small"] },
      },
    });
    const { owner } = stack;
    const last = (): unknown[] => [one.requests.at(-1)?.body.model, two.requests.at(-1)?.body.model];
    const said = async (params: Record<string, unknown>): Promise<string> =>
      (await say(owner, { message: "go", ...params })).run.model;
    expect(await said({})).toBe("one/usual");
    expect(await said({ model: "two/big" })).toBe("two/big");
    expect(last()).toEqual(["usual", "big"]);
    expect(await said({ model: "two/org/small" })).toBe("two/org/small");
    expect(await said({ model: "one/anything/else" })).toBe("one/anything/else");
    expect(await said({ model: "other" })).toBe("one/other");
    expect(last()).toEqual(["other", "org/small"]);

    const session_id = "chosen";
    await owner.call("session.create", { session_id, model: "two/big" });
    expect(await said({ session_id })).toBe("two/big");
    expect(await said({ session_id, model: "one/once" })).toBe("one/once");
    expect(await said({ session_id })).toBe("two/big");
    await owner.call("session.update", { session_id, model: "two/org/small" });
    expect(await said({ session_id })).toBe("two/org/small");
    const patched = await owner.ask("PATCH", `/api/v1/sessions/${session_id}`, { body: { model: "" } });
    expect(patched.status).toBe(200);
    expect(await said({ session_id })).toBe("one/usual");

    const whole = await owner.ask("POST", "/api/v1/chat", {
      body: { message: "go", model: "two/big", wait: true },
    });
    expect([whole.status, whole.json.model]).toEqual([200, "two/big"]);
    const posted = await owner.ask("POST", `/api/v1/sessions/${session_id}/messages`, {
      body: { message: "go", model: "two/org/small" },
    });
    const run = await owner.call("run.wait", { run_id: posted.json.run_id, timeout_ms: 10_000 });
    expect(run).toMatchObject({ status: "completed", model: "two/org/small" });

    for (const body of [
      { message: "go", model: "two/huge" },
      { message: "go", model: "two/" },
    ]) {
      const refused = await owner.ask("POST", "/api/v1/rpc/chat.send", { body });
      expect([refused.status, refused.json.error.details]).toEqual([
        400,
        { kind: "model", allowed: ["two/big", "two/org/small"] },
      ]);
    }
    const { models } = await owner.call("model.list");
    expect(models.map(({ id }: { id: string }) => id)).toEqual(["two/big", "two/org/small", "one/usual"]);
  });
});

test("what a server wants back with a call is there after a restart, and only for it", async () => {
  const [gemini, other] = [await server(), await server()];
  const extra_content = { google: { thought_signature: "c2lnbmVk" } };
  const call = {
    index: 0,
    id: "c1",
    type: "function",
    function: { name: "time", arguments: "{}" },
    extra_content,
  };
  gemini
    .reply()
    .delta({ tool_calls: [call] })
    .finish("tool_calls");
  gemini.otherwise(() => script().text("noon"));
  other.otherwise(() => script().text("noon too"));
  const stack = await gateway(
    {
      default_model: "gemini/gemini-3-pro",
      providers: { gemini: { base_url: gemini.url() }, other: { base_url: other.url() } },
    },
    { tools: { builtin: ["time"], policy: { "*": "allow" } } },
  );
  const { owner } = stack;
  const session_id = "signed";
  await using socket = await owner.connect();
  const frames = await watchRun(socket, session_id);
  expect(runOf(frames).status).toBe("completed");
  expect(typesOf(frames).filter((type) => type === "tool.call")).toHaveLength(1);
  const signatureIn = (model: ModelServer): unknown =>
    model.requests
      .at(-1)
      ?.body.messages.find(({ tool_calls }: { tool_calls?: unknown }) => tool_calls !== undefined)
      .tool_calls[0].extra_content;
  expect(signatureIn(gemini)).toEqual(extra_content);

  stack.gateway.kill("SIGKILL");
  await stack.gateway.restart();
  await say(owner, { session_id, message: "and now?" });
  expect(signatureIn(gemini)).toEqual(extra_content);
  await say(owner, { session_id, message: "and you?", model: "other/m" });
  expect(signatureIn(other)).toBeUndefined();
});

test("a kill between what broke off and the next answer leaves what was said, partial, and nothing twice", async () => {
  const model = await server();
  model.reply().text("half of it").cut();
  model.reply().silence();
  const stack = await gateway({ default_model: "test/m", providers: { test: { base_url: model.url() } } });
  const { owner } = stack;
  const socket = await owner.connect();
  const { run_id } = await socket.request("chat.send", { session_id: "killed", message: "go" });
  await model.waitForRequests(2);
  stack.gateway.kill("SIGKILL");
  await stack.gateway.restart();
  socket.close();
  const read = async () => {
    const { messages } = await owner.call("chat.history", { session_id: "killed" });
    return messages
      .slice(1)
      .map(({ content, status }: { content: string; status: string }) => [content, status]);
  };
  expect(await owner.call("run.get", { run_id })).toMatchObject({ status: "interrupted" });
  expect(await read()).toEqual([["half of it", "partial"]]);
  model.reply().text("all of it");
  await say(owner, { session_id: "killed", message: "go on" });
  expect(await read()).toEqual([
    ["half of it", "partial"],
    ["go on", "complete"],
    ["all of it", "complete"],
  ]);
});

test("a plug-in's provider may be the default; before it is there, messages are refused and nothing else is", async () => {
  const directory = await mkdtemp(join(tmpdir(), "agentbus-routing-"));
  open.push({ [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) });
  const put = (name: string, body: string): Promise<void> =>
    writeFile(join(directory, `${name}.ts`), pluginOf(name, body), { mode: 0o644 });
  await put("other", "");
  const more = { plugins: { directories: [directory] } };
  const stack = await gateway({ default_provider: "mine", default_model: "mine/echo" }, more);
  await untilPlugin(stack, "other", "ready");
  const refused = await stack.owner.ask("POST", "/api/v1/rpc/chat.send", { body: { message: "go" } });
  expect([refused.status, refused.json.error]).toEqual([
    503,
    expect.objectContaining({
      code: "UNAVAILABLE",
      message: expect.stringContaining('"mine", which is not configured'),
    }),
  ]);
  const ready = await ask(`${stack.gateway.url}/ready`, "GET");
  expect(ready.json.checks.provider).toEqual({ ok: false, reason: "mine: not configured" });

  await put("mine", ECHO);
  await untilPlugin(stack, "mine", "ready");
  const { run } = await say(stack.owner, { session_id: "s", message: "go" });
  expect([run.status, run.model]).toEqual(["completed", "mine/echo"]);
});

const ECHO = `providers: [{
  name: "mine",
  state: () => ({ name: "mine", ready: true }),
  models: () => ["echo"],
  async *stream() {
    yield { type: "text", text: "echo" };
    yield { type: "done", finish_reason: "stop" };
  },
}],`;

function pluginOf(name: string, body: string): string {
  return `import { definePlugin } from "agentbus/plugin";\nexport default definePlugin({ name: "${name}", ${body} });\n`;
}
