import { afterEach, beforeEach, expect, test } from "bun:test";
import type { FakeConnection, TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

interface Page {
  readonly messages: { readonly message_id: string; readonly content: string; readonly seq: number }[];
  readonly has_more: boolean;
}

let scene: TestEngine;
let socket: FakeConnection;
let answer = "so far";
beforeEach(async () => {
  scene = await startEngine({
    script: async function* (_request, signal) {
      yield { type: "text", text: answer };
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      yield { type: "aborted" };
    },
  });
  socket = scene.connect();
});
afterEach(() => scene.close());

const inject = (content: string) => socket.request("chat.inject", { session_id: "s", role: "user", content });

async function page(query: object): Promise<Page> {
  return socket.request<Page>("chat.history", { session_id: "s", ...query });
}

/** "0", "1", the question, what is being written, "2", "3". */
async function write(): Promise<string[]> {
  await socket.request("session.create", { session_id: "s" });
  await inject("0");
  await inject("1");
  await socket.request("chat.send", { session_id: "s", message: "question" });
  await until(() => socket.events().some(({ event }) => event === "message.delta"));
  await inject("2");
  await inject("3");
  const { messages } = await page({});
  expect(messages.map(({ content }) => content)).toEqual(["0", "1", "question", answer, "2", "3"]);
  return messages.map(({ message_id }) => message_id);
}

test("pages are the same whether a message of them is still being written or not", async () => {
  const ids = await write();
  const asked = [
    { limit: 2 },
    { limit: 3 },
    { limit: 6 },
    ...ids.flatMap((id) => [
      { before: id },
      { after: id },
      { before: id, limit: 1 },
      { after: id, limit: 1 },
      { before: id, limit: 2 },
      { after: id, limit: 2 },
    ]),
  ];
  const pages = async () => {
    const all: [string, boolean][] = [];
    for (const query of asked) {
      const { messages, has_more } = await page(query);
      all.push([messages.map(({ message_id }) => ids.indexOf(message_id)).join(), has_more]);
    }
    return all;
  };
  const open = await pages();
  await socket.request("chat.abort", { session_id: "s" });
  expect(open).toEqual(await pages());
});

test("a page has 256 KiB, with what is being written in it, and at least one message", async () => {
  answer = "y".repeat(scene.limits.history_bytes);
  await socket.request("session.create", { session_id: "s" });
  await socket.request("chat.send", { session_id: "s", message: "question" });
  await until(() => socket.events().some(({ event }) => event === "message.delta"));
  expect((await page({})).messages.map(({ content }) => content.length)).toEqual([answer.length]);
  await inject("after");
  const newest = await page({});
  expect(newest.messages.map(({ content }) => content)).toEqual(["after"]);
  expect(newest.has_more).toBe(true);
  const [after] = newest.messages;
  const before = await page({ before: after?.message_id });
  expect(before.messages.map(({ content }) => content.length)).toEqual([answer.length]);
  expect(before.has_more).toBe(true);
  answer = "so far";
});
