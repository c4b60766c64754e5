import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { idle, startStack } from "./stack.ts";

/** chat.history while a message is being written: that one is in no row yet. */

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

test("a page of history that leaves something out because of the message being written says so", async () => {
  stack.model.reply().text("so far").hang();
  await using socket = await owner.connect();
  await socket.request("chat.send", { session_id: "h", message: "go" });
  await socket.nextEvent("message.delta");
  const { messages } = await owner.call("chat.history", { session_id: "h" });
  expect(messages).toHaveLength(2);
  const [asked, answer] = messages;
  expect(await owner.call("chat.history", { session_id: "h", limit: 1 })).toMatchObject({
    messages: [answer],
    has_more: true,
  });
  await owner.call("chat.inject", { session_id: "h", role: "user", content: "more" });
  const page = await owner.call("chat.history", { session_id: "h", after: asked.message_id, limit: 1 });
  expect(page).toMatchObject({ messages: [answer], has_more: true });
  await owner.call("chat.abort", { session_id: "h" });
});

test("a page of history has 256 KiB with the message being written too", async () => {
  await owner.call("session.create", { session_id: "h3" });
  for (let i = 0; i < 3; i++)
    await owner.call("chat.inject", { session_id: "h3", role: "user", content: "x".repeat(30 * KIB) });
  stack.model
    .reply()
    .text("y".repeat(300 * KIB), { chunks: 10 })
    .hang();
  await using socket = await owner.connect();
  await socket.request("chat.send", { session_id: "h3", message: "go" });
  for (let length = 0; length < 300 * KIB;) {
    const { json } = await socket.nextEvent("message.delta");
    length = json.payload.off + json.payload.text.length;
  }
  const answer = await owner.ask("GET", "/api/v1/sessions/h3/messages");
  if (answer.json.messages.length > 1) expect(Buffer.byteLength(answer.text)).toBeLessThanOrEqual(256 * KIB);
  await owner.call("chat.abort", { session_id: "h3" });
});

test("history has the message being written also when another message came after its beginning", async () => {
  stack.model.reply().text("so far").hang();
  await using socket = await owner.connect();
  await socket.request("chat.send", { session_id: "h4", message: "go" });
  await socket.nextEvent("message.delta");
  await socket.request("chat.send", { session_id: "h4", message: "and then" });
  const { messages } = await owner.call("chat.history", { session_id: "h4" });
  expect(messages.map(({ content }: { content: string }) => content)).toEqual(["go", "so far", "and then"]);
  await owner.call("chat.abort", { session_id: "h4" });
});
