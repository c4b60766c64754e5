import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { asked } from "./compact.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { answering, ended, idle, isEnd, log, refusal, startStack, typesOf } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

async function withHistory(
  session_id: string,
  ...said: readonly (readonly [string, string])[]
): Promise<void> {
  await owner.call("session.create", { session_id });
  for (const [role, content] of said) await owner.call("chat.inject", { session_id, role, content });
}

describe("run.create", () => {
  test("has the model answer what stands in the history, and adds no message of its own", async () => {
    await withHistory(
      "as-it-stands",
      ["system", "Be short."],
      ["user", "Hi"],
      ["assistant", "Yes?"],
      ["user", "Why?"],
    );
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id: "as-it-stands" });
    stack.model.reply().text("Because.");
    const answer = await socket.request("run.create", { session_id: "as-it-stands" });
    expect(answer).toEqual({
      session_id: "as-it-stands",
      run_id: expect.stringMatching(/^run_/),
      status: "started",
      epoch: expect.any(String),
      seq: 6,
    });
    await socket.next(({ json }) => json.run_id === answer.run_id && isEnd(json));
    expect(asked(stack)).toEqual(["system:Be short.", "user:Hi", "assistant:Yes?", "user:Why?"]);
    expect(typesOf(log(socket, "as-it-stands")).filter((type) => type !== "message.delta")).toEqual([
      "run.queued",
      "run.started",
      "message.started",
      "message.completed",
      "run.completed",
    ]);
    const { messages } = await owner.call("chat.history", { session_id: "as-it-stands" });
    expect(messages.at(-1)).toMatchObject({ role: "assistant", content: "Because.", run_id: answer.run_id });
  });

  test("waits its turn, and answers what was said by then", async () => {
    const { socket } = await answering(stack, "turn");
    await using _ = socket;
    const { run_id, status } = await owner.call("run.create", { session_id: "turn" });
    expect(status).toBe("queued");
    await owner.call("chat.inject", { session_id: "turn", role: "user", content: "late" });
    stack.model.reply().text("both");
    await owner.call("chat.abort", { session_id: "turn", queued: "keep" });
    expect(await ended(owner, run_id)).toMatchObject({ status: "completed" });
    expect(asked(stack)).toEqual(["user:first", "assistant:so far", "user:late"]);
  });

  test("takes a model of its own, and refuses one that is not there", async () => {
    await withHistory("model", ["user", "Hi"]);
    stack.model.reply().text("Hi.");
    const { run_id } = await owner.call("run.create", { session_id: "model", model: "test/other" });
    expect(await ended(owner, run_id)).toMatchObject({ status: "completed", model: "test/other" });
    expect(stack.model.requests.at(-1)?.body.model).toBe("other");
  });

  test("is one run for one idempotency key, however often it is asked for", async () => {
    await withHistory("once", ["user", "Hi"]);
    stack.model.reply().text("Hi.");
    const request = { session_id: "once", idempotency_key: "key-once" };
    const answers = await Promise.all([1, 2, 3].map(() => owner.call("run.create", request)));
    await ended(owner, answers[0].run_id);
    answers.push(await owner.call("run.create", request));
    expect(new Set(answers.map((each) => JSON.stringify(each))).size).toBe(1);
    expect((await owner.call("run.list", { session_id: "once" })).runs).toHaveLength(1);
    expect(await refusal(owner.call("run.create", { ...request, model: "test/x" }))).toMatchObject({
      code: "IDEMPOTENCY_MISMATCH",
    });
  });

  test("is refused where nothing was said, and starts nothing", async () => {
    await withHistory("empty");
    expect(await refusal(owner.call("run.create", { session_id: "empty" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "state" },
      message: "nothing was said in this session yet: there is nothing to answer",
    });
    expect((await owner.call("run.list", { session_id: "empty" })).runs).toEqual([]);
    expect(await refusal(owner.call("run.create", { session_id: "nowhere" }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("is bounded like messages that wait, and gives its place back", async () => {
    const { socket } = await answering(stack, "bound");
    await using _ = socket;
    for (let i = 0; i < 16; i++) await owner.call("run.create", { session_id: "bound" });
    expect(await refusal(owner.call("run.create", { session_id: "bound" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "full", what: "queued_runs", limit: 16 },
    });
    expect((await owner.call("chat.abort", { session_id: "bound" })).run_ids).toHaveLength(17);
    await idle(stack);
  });
});
