import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { Message } from "../../src/protocol/entities.ts";
import { askForTool } from "./tool-asks.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, idle, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    config: { tools: { builtin: ["time"], policy: { "*": "ask" } }, storage: { durability: "full" } },
  });
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

async function history(session_id: string): Promise<Message[]> {
  return (await owner.call("chat.history", { session_id })).messages;
}

test("asked over one transport, allowed over another: every watcher sees it, and the model is told the result", async () => {
  const { session_id, approval_id } = await askForTool(stack, "two-ways");
  await using socket = await owner.connect();
  const opened = await socket.request("session.subscribe", { session_id });
  expect(opened.snapshot.approvals).toMatchObject([{ approval_id, name: "time", arguments: "{}" }]);
  stack.model.reply().text("It is late.");
  const allowed = await owner.call("tool.approve", { session_id, approval_id, decision: "allow" });
  expect(allowed.approval).toMatchObject({ decision: "allow", by: "owner" });
  const seen = await socket.next(({ json }) => json.event === "tool.result");
  expect(seen.json.payload).toMatchObject({ ok: true, content: expect.stringContaining("UTC") });
  await socket.next(({ json }) => json.event === "run.completed");
  const messages = await history(session_id);
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "assistant"]);
  expect(messages[1]?.parts).toEqual([
    { type: "tool_call", tool_call_id: "call_0", name: "time", arguments: "{}" },
  ]);
  const told = stack.model.requests.at(-1)?.body.messages;
  expect(told.slice(1)).toEqual([
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "call_0", type: "function", function: { name: "time", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "call_0", content: messages[2]?.content },
  ]);
  expect(
    await refusal(owner.call("tool.approve", { session_id, approval_id, decision: "deny" })),
  ).toMatchObject({
    code: "CONFLICT",
    details: { kind: "state", decision: "allow" },
  });
});

test("a repeated answer under one key has one effect", async () => {
  const asked = await askForTool(stack, "keyed");
  const params = { ...asked, decision: "allow", idempotency_key: "approve-1" };
  const answers = await Promise.all([1, 2, 3].map(() => owner.call("tool.approve", params)));
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
});

test("killed while a call waits: the transcript is true, and the answer comes too late", async () => {
  const { session_id, approval_id } = await askForTool(stack, "killed");
  stack.gateway.kill("SIGKILL");
  await stack.gateway.restart();
  expect((await history(session_id)).map(({ role, content }) => [role, content])).toEqual([
    ["user", "what time is it?"],
    ["assistant", ""],
    ["tool", "unknown outcome"],
  ]);
  expect(
    await refusal(owner.call("tool.approve", { session_id, approval_id, decision: "allow" })),
  ).toMatchObject({
    code: "CONFLICT",
    details: { kind: "state", decision: "expired" },
  });
  stack.model.reply().text("Where were we?");
  const { run } = await say(owner, { session_id, message: "go on" });
  expect(run).toMatchObject({ status: "completed" });
  const told = stack.model.requests.at(-1)?.body.messages;
  expect(told.map((each: { role: string }) => each.role)).toEqual(["user", "assistant", "tool", "user"]);
});

test("what a session is deleted with: its approvals and what was allowed in it", async () => {
  const asked = await askForTool(stack, "deleted");
  stack.model.reply().text("ok");
  await owner.call("tool.approve", { ...asked, decision: "allow", remember: "session" });
  await idle(stack);
  await owner.call("session.delete", { session_id: "deleted" });
  await owner.call("session.create", { session_id: "deleted" });
  const again = await askForTool(stack, "deleted");
  expect(again.approval_id).not.toBe(asked.approval_id);
  await owner.call("chat.abort", { session_id: "deleted" });
});

test("arguments in pieces, late and without ids, as an object: the calls of one answer", async () => {
  const piece = (call: Record<string, unknown>) => ({ tool_calls: [call] });
  stack.model
    .reply()
    .delta(piece({ index: 0, function: { name: "time" } }))
    .delta(piece({ index: 0, function: { arguments: '{"time_' } }))
    .delta(piece({ index: 1, id: "same", function: { name: "time", arguments: { time_zone: "UTC" } } }))
    .delta(piece({ index: 0, function: { arguments: 'zone":"nowhere"}' } }))
    .delta(piece({ index: 2, id: "same", function: { name: "none", arguments: "" } }))
    .finish("tool_calls");
  const sent = await owner.call("chat.send", { session_id: "quirks", message: "go" });
  await using socket = await owner.connect();
  await socket.request("session.subscribe", { session_id: "quirks", epoch: sent.epoch, after: sent.from });
  for (let i = 0; i < 2; i++) {
    const { json } = await socket.next((frame) => frame.json.event === "tool.approval_requested");
    const { approval_id } = json.payload.approval;
    await owner.call("tool.approve", { session_id: "quirks", approval_id, decision: "allow" });
  }
  await ended(owner, sent.run_id);
  const messages = await history("quirks");
  const calls = messages[1]?.parts?.map((part) =>
    part.type === "tool_call" ? [part.name, part.arguments] : [],
  );
  expect(calls).toEqual([
    ["time", '{"time_zone":"nowhere"}'],
    ["time", '{"time_zone":"UTC"}'],
    ["none", "{}"],
  ]);
  const ids = new Set(messages[1]?.parts?.map((part) => ("tool_call_id" in part ? part.tool_call_id : "")));
  expect(ids.size).toBe(3);
  expect(messages.slice(2, 5).map(({ content }) => content)).toEqual([
    expect.stringContaining("no time zone"),
    expect.stringContaining("UTC"),
    "there is no tool none",
  ]);
});
