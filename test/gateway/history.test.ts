import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { idle, log, refusal, say, startStack } from "./stack.ts";

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

interface Said {
  readonly message_id: string;
  readonly content: string;
  readonly seq: number;
  readonly run_id?: string;
}

/** A session with `count` messages: "0", "1", … */
async function filled(session_id: string, count: number): Promise<Said[]> {
  await owner.call("session.create", { session_id });
  for (let i = 0; i < count; i++)
    await owner.call("chat.inject", { session_id, role: "user", content: String(i) });
  const { messages } = await owner.call("chat.history", { session_id, limit: 1_000 });
  expect(messages).toHaveLength(count);
  return messages;
}

function texts(messages: readonly Said[]): string {
  return messages.map(({ content }) => content).join(" ");
}

describe("chat.history", () => {
  test("the newest, those before, those after; always oldest first", async () => {
    const said = await filled("h1", 10);
    const cases: [Record<string, unknown>, string, boolean][] = [
      [{}, "0 1 2 3 4 5 6 7 8 9", false],
      [{ limit: 3 }, "7 8 9", true],
      [{ limit: 10 }, "0 1 2 3 4 5 6 7 8 9", false],
      [{ limit: 3, before: said[7]?.message_id }, "4 5 6", true],
      [{ limit: 3, before: said[3]?.message_id }, "0 1 2", false],
      [{ before: said[0]?.message_id }, "", false],
      [{ limit: 3, after: said[3]?.message_id }, "4 5 6", true],
      [{ limit: 3, after: said[6]?.message_id }, "7 8 9", false],
      [{ after: said[9]?.message_id }, "", false],
    ];
    for (const [params, expected, has_more] of cases) {
      const page = await owner.call("chat.history", { session_id: "h1", ...params });
      expect([params, texts(page.messages), page.has_more]).toEqual([params, expected, has_more]);
      expect(page).toMatchObject({ session_id: "h1", total: 10, head: 11 });
    }
    expect(said.map(({ seq }) => seq)).toEqual(Array.from({ length: 10 }, (_, i) => i + 2));
    const other = (await filled("h2", 1))[0]?.message_id;
    for (const params of [
      { before: "msg_unknown" },
      { after: "msg_unknown" },
      { before: other },
      { after: other },
    ]) {
      expect(await refusal(owner.call("chat.history", { session_id: "h1", ...params }))).toMatchObject({
        code: "NOT_FOUND",
        details: { kind: "message" },
      });
    }
    for (const limit of [0, 1_001, 1.5]) {
      expect(await refusal(owner.call("chat.history", { session_id: "h1", limit }))).toMatchObject({
        code: "INVALID_REQUEST",
      });
    }
  });

  test("has at most 256 KiB and at least one message, and pages cover the rest both ways", async () => {
    await owner.call("session.create", { session_id: "h3" });
    const sizes = [60, 100, 128, 20, 128, 1, 1, 60, 128, 30];
    for (const [i, size] of sizes.entries()) {
      const text = "é".repeat((size * KIB) / 2 - 8);
      await owner.call("chat.inject", { session_id: "h3", role: "user", content: `${i}:${text}` });
    }
    const read = async (
      params: Record<string, unknown>,
    ): Promise<{ messages: Said[]; has_more: boolean; bytes: number }> => {
      const answer = await owner.ask("POST", "/api/v1/rpc/chat.history", {
        body: { session_id: "h3", limit: 1_000, ...params },
      });
      return { ...answer.json, bytes: Buffer.byteLength(answer.text) };
    };
    for (const direction of ["before", "after"] as const) {
      const order: string[] = [];
      let at =
        direction === "after" ? await read({}).then(async () => (await oldest()).message_id) : undefined;
      if (direction === "after") order.push("0");
      for (let turns = 0; turns < 20; turns++) {
        const page = await read(at === undefined ? {} : { [direction]: at });
        expect(page.messages.length).toBeGreaterThan(0);
        if (page.messages.length > 1) expect(page.bytes).toBeLessThanOrEqual(256 * KIB);
        const numbers = page.messages.map(({ content }) => content.split(":", 1)[0] ?? "");
        order.splice(direction === "before" ? 0 : order.length, 0, ...numbers);
        at = (direction === "before" ? page.messages[0] : page.messages.at(-1))?.message_id;
        if (!page.has_more) break;
      }
      expect(order.join(" ")).toBe("0 1 2 3 4 5 6 7 8 9");
    }
    async function oldest(): Promise<Said> {
      let page = await read({});
      while (page.has_more) page = await read({ before: page.messages[0]?.message_id });
      return page.messages[0] as Said;
    }
  });

  test("has the message that is being written, as far as it is written", async () => {
    stack.model.reply().text("one two three", { chunks: 3 }).hang();
    await using socket = await owner.connect();
    const { run_id } = await socket.request("chat.send", { session_id: "h4", message: "count" });
    const written = async (): Promise<string> =>
      (await owner.call("chat.history", { session_id: "h4" })).messages.at(-1).content;
    while ((await written()) !== "one two three") await socket.nextEvent("message.delta");
    const page = await owner.call("chat.history", { session_id: "h4" });
    expect(page.messages.at(-1)).toMatchObject({
      role: "assistant",
      status: "streaming",
      content: "one two three",
      run_id,
    });
    expect(page).toMatchObject({ total: 2, has_more: false });
    // It belongs to the newest page alone.
    const [asked, answer] = page.messages;
    expect(
      (await owner.call("chat.history", { session_id: "h4", before: answer.message_id })).messages,
    ).toEqual([asked]);
    expect(
      (await owner.call("chat.history", { session_id: "h4", after: asked.message_id })).messages,
    ).toEqual([answer]);
    expect((await owner.call("chat.history", { session_id: "h4", limit: 1 })).messages).toEqual([answer]);
    // Made at one head: what follows continues it.
    const { epoch, head } = page;
    await owner.call("chat.abort", { run_id });
    await using late = await owner.connect();
    expect(await late.request("session.subscribe", { session_id: "h4", epoch, after: head })).toMatchObject({
      mode: "resume",
      from: head,
    });
    await late.nextEvent("run.aborted");
    expect(log(late, "h4").map(({ event }) => event)).toEqual(["message.completed", "run.aborted"]);
  });
});

describe("session.fork", () => {
  test("copies the messages with their ids, of no run, numbered from 1", async () => {
    stack.model.reply().reasoning("hm").text("first answer");
    const { sent } = await say(owner, { session_id: "f1", message: "first" });
    await owner.call("session.update", {
      session_id: "f1",
      title: "the source",
      system_prompt: "p",
      metadata: { m: 1 },
    });
    await owner.call("chat.inject", {
      session_id: "f1",
      role: "system",
      content: "note",
      metadata: { n: 2 },
    });
    stack.model.reply().text("second answer");
    await say(owner, { session_id: "f1", message: "second" });
    const source = await owner.call("chat.history", { session_id: "f1" });
    const fork = await owner.call("session.fork", { session_id: "f1" });
    expect(fork).toMatchObject({
      title: "the source",
      system_prompt: "p",
      metadata: { m: 1 },
      message_count: 5,
      head: 5,
      owner: "owner",
      archived: false,
    });
    expect(fork.session_id).toStartWith("ses_");
    expect(fork.epoch).not.toBe(source.epoch);
    const copy = await owner.call("chat.history", { session_id: fork.session_id });
    expect(copy.messages).toEqual(
      source.messages.map(({ run_id: _run, ...message }: Said, i: number) => ({
        ...message,
        session_id: fork.session_id,
        seq: i + 1,
      })),
    );
    expect(copy).toMatchObject({ epoch: fork.epoch, head: 5, total: 5 });
    expect((await owner.call("run.list", { session_id: fork.session_id })).runs).toEqual([]);
    expect(
      (await owner.call("run.list", { session_id: "f1" })).runs.map((run: Said) => run.run_id),
    ).toContain(sent.run_id);
    // It goes on by itself: neither knows of the other.
    await say(owner, { session_id: fork.session_id, message: "on my own" });
    expect((await owner.call("chat.history", { session_id: "f1" })).total).toBe(5);
    expect(
      stack.model.requests.at(-1)?.body.messages.map((each: { content: string }) => each.content),
    ).toEqual(["p", "first", "first answer", "note", "second", "second answer", "on my own"]);
  });

  test("up to and with a message", async () => {
    const said = await filled("f2", 5);
    const fork = await owner.call("session.fork", { session_id: "f2", message_id: said[2]?.message_id });
    const copy = await owner.call("chat.history", { session_id: fork.session_id });
    expect([texts(copy.messages), copy.total, fork.head]).toEqual(["0 1 2", 3, 3]);
    expect(
      await refusal(owner.call("session.fork", { session_id: "f2", message_id: "msg_unknown" })),
    ).toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "message" },
    });
  });

  test("of a session that is answering: without the message that is being written", async () => {
    stack.model.reply().text("not yet whole").hang();
    await using socket = await owner.connect();
    await socket.request("chat.send", { session_id: "f3", message: "go" });
    await socket.nextEvent("message.delta");
    const fork = await owner.call("session.fork", { session_id: "f3" });
    const copy = await owner.call("chat.history", { session_id: fork.session_id });
    expect([texts(copy.messages), copy.total]).toEqual(["go", 1]);
    expect(fork.active_run_id).toBeUndefined();
    await owner.call("chat.abort", { session_id: "f3" });
  });

  test("of a shared session belongs to who made it", async () => {
    const said = await filled("f4", 2);
    await owner.call("session.share", { session_id: "f4", user: "ivy", role: "viewer" });
    const ivy = await stack.guest({ user: "ivy", role: "user" });
    const { session_id } = (await ivy.call("session.list")).sessions[0];
    const fork = await ivy.call("session.fork", { session_id, message_id: said[0]?.message_id });
    expect(fork).toMatchObject({ owner: "ivy", message_count: 1 });
    expect(
      await ivy.call("chat.inject", { session_id: fork.session_id, role: "user", content: "mine" }),
    ).toMatchObject({ seq: 2 });
    expect(await refusal(owner.call("session.get", { session_id: fork.session_id }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });
});
