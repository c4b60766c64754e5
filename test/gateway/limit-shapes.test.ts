import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  const limits = { snapshot_messages: 3, snapshot_bytes: 4_000, history_bytes: 2_500 };
  stack = await startStack({ config: { limits } });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

async function filled(session_id: string, messages: number, chars: number): Promise<void> {
  await owner.call("session.create", { session_id });
  for (let i = 0; i < messages; i++) {
    await owner.call("chat.inject", { session_id, role: "user", content: `${i}`.padEnd(chars, "x") });
  }
}

async function snapshotOf(session_id: string): Promise<{ messages: unknown[]; has_more: boolean }> {
  await using socket = await owner.connect();
  return (await socket.request("session.subscribe", { session_id })).snapshot;
}

test("snapshot_messages: a snapshot has the newest so many, and says that there are more", async () => {
  await filled("exact", 3, 10);
  expect(await snapshotOf("exact")).toMatchObject({ messages: Array(3).fill({}), has_more: false });
  await filled("more", 4, 10);
  const { messages, has_more } = await snapshotOf("more");
  expect([messages.length, has_more]).toEqual([3, true]);
});

test("snapshot_bytes: a snapshot has as many messages as fit", async () => {
  await filled("long", 3, 1_000);
  const { messages, has_more } = await snapshotOf("long");
  expect([messages.length, has_more]).toEqual([1, true]);
});

test("history_bytes: a page has as many messages as fit, but one at least", async () => {
  await filled("pages", 4, 700);
  const page = await owner.call("chat.history", { session_id: "pages" });
  expect([page.messages.length, page.total, page.has_more]).toEqual([1, 4, true]);
  await filled("short", 4, 10);
  const whole = await owner.call("chat.history", { session_id: "short" });
  expect([whole.messages.length, whole.has_more]).toEqual([4, false]);
});
