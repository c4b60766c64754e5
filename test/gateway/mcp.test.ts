import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Message } from "../../src/protocol/entities.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, eventually, idle, startStack } from "./stack.ts";

setDefaultTimeout(60_000);

const SERVER = join(import.meta.dir, "../support/mcp-server.ts");
const STARTED_MS = 30_000;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  const shop = { command: process.execPath, args: [SERVER], env: { SHOP_KEY: "of the shop" } };
  const broken = { command: "no-such-command" };
  stack = await startStack({
    config: {
      mcp: { servers: { shop, broken } },
      tools: { builtin: [], policy: { "*": "ask", "shop.seen": "allow", "shop.die": "deny" } },
    },
  });
  ({ owner } = stack);
  await eventually(servers, (all) => all.every(({ state }) => state !== "connecting"), STARTED_MS);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

async function servers(): Promise<{ name: string; state: string; tools: number; reason?: string }[]> {
  return (await owner.call("tool.list")).servers;
}

async function history(session_id: string): Promise<Message[]> {
  return (await owner.call("chat.history", { session_id })).messages;
}

/** Has the model call a tool in a session, and waits until somebody is asked. */
async function ask(session_id: string, tool: string, args: unknown) {
  stack.model.reply().tool(tool, args);
  const sent = await owner.call("chat.send", { session_id, message: "go" });
  const stream = await owner.events(`/api/v1/sessions/${session_id}/events?after=${sent.epoch}.${sent.from}`);
  const { data } = await stream.next(({ event }) => event === "tool.approval_requested");
  stream.close();
  const { approval_id, name } = JSON.parse(data).payload.approval as { approval_id: string; name: string };
  return { run_id: sent.run_id as string, approval_id, name };
}

test("the list says which tools there are, whose they are, and how each server is", async () => {
  const { tools } = await owner.call("tool.list");
  const echo = tools.find(({ name }: { name: string }) => name === "shop.echo");
  expect(echo).toMatchObject({ source: "mcp:shop", policy: "ask", description: "says it again" });
  expect(await servers()).toEqual([
    { name: "shop", state: "ready", tools: tools.length },
    { name: "broken", state: "failed", tools: 0, reason: "there is no command no-such-command" },
  ]);
});

test("a gateway with a server that cannot be used is ready all the same", async () => {
  expect((await owner.ask("GET", "/ready")).status).toBe(200);
});

test("a model uses a tool of a server once somebody allowed it, and is told what it said", async () => {
  const { run_id, approval_id, name } = await ask("shopping", "shop__echo", { text: "hello" });
  expect(name).toBe("shop.echo");
  stack.model.reply().text("It said hello.");
  await owner.call("tool.approve", { session_id: "shopping", approval_id, decision: "allow" });
  expect(await ended(owner, run_id)).toMatchObject({ status: "completed" });
  const messages = await history("shopping");
  expect(messages.map(({ role, content }) => [role, content])).toEqual([
    ["user", "go"],
    ["assistant", ""],
    ["tool", "you said hello"],
    ["assistant", "It said hello."],
  ]);
  const { body } = stack.model.requests.at(-1) ?? { body: null };
  const names = body.tools.map(({ function: { name: each } }: { function: { name: string } }) => each);
  expect(names).toContain("shop__echo");
  expect(names).not.toContain("shop__die");
});

test("what the policy allows is called at once, with a clean environment; what it denies is not called", async () => {
  stack.model.reply().tool("shop__seen", {}).tool("shop__die", {});
  stack.model.reply().text("ok");
  const { run_id } = await owner.call("chat.send", { session_id: "allowed", message: "go" });
  expect(await ended(owner, run_id)).toMatchObject({ status: "completed" });
  const [, , seen, died] = await history("allowed");
  expect(JSON.parse(seen?.content ?? "")).toMatchObject({ bumps: 0 });
  expect(died?.content).toBe("there is no tool shop__die");
  const { run_id: asked, approval_id } = await ask("environment", "shop__environment", {});
  stack.model.reply().text("ok");
  await owner.call("tool.approve", { session_id: "environment", approval_id, decision: "allow" });
  await ended(owner, asked);
  const env = JSON.parse((await history("environment"))[2]?.content ?? "") as Record<string, string>;
  expect(env).toMatchObject({ SHOP_KEY: "of the shop" });
  expect(Object.keys(env).filter((name) => /^(?:AGENTBUS|BUN|OPENAI)_/.test(name))).toEqual([]);
});

test("an abort reaches a tool that is at work", async () => {
  const { run_id, approval_id } = await ask("aborted", "shop__hang", {});
  await owner.call("tool.approve", { session_id: "aborted", approval_id, decision: "allow" });
  await owner.call("chat.abort", { session_id: "aborted" });
  expect(await ended(owner, run_id)).toMatchObject({ status: "aborted" });
});

test("nothing that was started is left when the gateway stops, or is killed and its pipes break", async () => {
  const pidOf = async (session_id: string): Promise<number> => {
    stack.model.reply().tool("shop__seen", {});
    stack.model.reply().text("ok");
    const { run_id } = await owner.call("chat.send", { session_id, message: "go" });
    await ended(owner, run_id);
    return (JSON.parse((await history(session_id))[2]?.content ?? "") as { pid: number }).pid;
  };
  const isGone = async (pid: number): Promise<boolean> => {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    return stat === null || /\) Z /.test(stat);
  };
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const pid = await pidOf(`stop-${signal}`);
    expect(await isGone(pid)).toBe(false);
    stack.gateway.kill(signal);
    await stack.gateway.restart();
    await eventually(() => isGone(pid), Boolean, STARTED_MS);
    await eventually(servers, (all) => all.some(({ state }) => state === "ready"), STARTED_MS);
  }
});
