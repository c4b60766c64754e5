import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { asked, compacted, history, RECALL, summarised, turn } from "./compact.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { answering, ended, eventually, idle, log, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

describe("what a model is asked with after session.compact", () => {
  test("waits its turn; what waits behind it is not in it and is not lost", async () => {
    const { model } = stack;
    const { socket, run_id: first } = await answering(stack, "queue");
    const waiting = await socket.request("session.compact", { session_id: "queue" });
    expect(waiting.status).toBe("queued");
    const next = await socket.request("chat.send", { session_id: "queue", message: "second" });
    model.reply().text("the summary");
    model.reply().text("the answer");
    await owner.call("chat.abort", { run_id: first });
    expect((await ended(owner, next.run_id)).status).toBe("completed");
    expect(summarised(stack, -2)).toEqual(["user:first", "assistant:so far"]);
    expect(asked(stack)).toEqual([RECALL, "assistant:the summary", "user:second"]);
    await turn(stack, "queue", "third", "x");
    expect(asked(stack)).toEqual([
      RECALL,
      "assistant:the summary",
      "user:second",
      "assistant:the answer",
      "user:third",
    ]);
    socket.close();
  });

  test("what comes while it is written is not lost", async () => {
    const { model } = stack;
    await turn(stack, "during", "q1", "a1");
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id: "during" });
    const asks = model.asked;
    model.reply().wait(200).text("half ", { everyMs: 1 }).wait(200).text("whole", { everyMs: 1 });
    model.reply().text("a2");
    const { run_id } = await socket.request("session.compact", { session_id: "during" });
    await model.waitForRequests(asks + 1);
    // Before its first word and after.
    await owner.call("chat.inject", { session_id: "during", role: "system", content: "early note" });
    await socket.nextEvent("message.delta");
    await owner.call("chat.inject", { session_id: "during", role: "system", content: "late note" });
    const sent = await owner.call("chat.send", { session_id: "during", message: "q2" });
    expect((await ended(owner, run_id)).status).toBe("completed");
    await ended(owner, sent.run_id);
    expect(asked(stack)).toEqual([
      RECALL,
      "assistant:half whole",
      "system:early note",
      "system:late note",
      "user:q2",
    ]);
  });

  test("broken off, it counts for nothing: the conversation goes on as before", async () => {
    const { model } = stack;
    await turn(stack, "abort", "q1", "a1");
    model.reply().text("half a summ").hang();
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id: "abort" });
    await socket.request("session.compact", { session_id: "abort" });
    await socket.nextEvent("message.delta");
    expect(await socket.request("chat.abort", { session_id: "abort" })).toMatchObject({ status: "aborted" });
    const message = log(socket, "abort").find(({ event }) => event === "message.completed").payload.message;
    expect(message).toMatchObject({ role: "system", status: "partial", content: "half a summ" });
    await turn(stack, "abort", "q2", "a2");
    expect(asked(stack)).toEqual(["user:q1", "assistant:a1", "user:q2"]);
    // A message may also go before it.
    model.reply().text("half again").hang();
    model.reply().text("a3");
    await socket.request("session.compact", { session_id: "abort" });
    await socket.next(({ json }) => json.payload?.text === "half again");
    const now = await socket.request("chat.send", {
      session_id: "abort",
      message: "q3",
      on_busy: "interrupt",
    });
    await ended(owner, now.run_id);
    expect(asked(stack)).toEqual(["user:q1", "assistant:a1", "user:q2", "assistant:a2", "user:q3"]);
    await compacted(stack, "abort", "whole");
    expect(summarised(stack)).toEqual([...asked(stack, -2), "assistant:a3"]);
  });

  test("a model that fails, says nothing or stops too early has given no summary", async () => {
    const { model } = stack;
    await turn(stack, "fails", "q1", "a1");
    const run = async () =>
      ended(owner, (await owner.call("session.compact", { session_id: "fails" })).run_id);
    model.reply().status(400);
    expect(await run()).toMatchObject({ status: "failed", error: { code: "UPSTREAM_ERROR" } });
    model.reply().text("  ");
    expect(await run()).toMatchObject({
      status: "failed",
      error: { message: "the model gave no summary; the conversation stays as it is", retryable: true },
    });
    model.reply().text("half").finish("length");
    expect(await run()).toMatchObject({
      status: "failed",
      error: { message: "the model broke its summary off (length); the conversation stays as it is" },
    });
    await turn(stack, "fails", "q2", "a2");
    expect(asked(stack)).toEqual(["user:q1", "assistant:a1", "user:q2"]);
  });

  test("a message that was put into the history is not a summary, whatever it looks like", async () => {
    await turn(stack, "forged", "q1", "a1");
    const covers = { through: "msg_x", except: [] };
    await owner.call("chat.inject", {
      session_id: "forged",
      role: "system",
      content: "forged",
      metadata: { covers, run_id: "run_x", model: "test/fake-1" },
    });
    await turn(stack, "forged", "q2", "a2");
    expect(asked(stack)).toEqual(["user:q1", "assistant:a1", "system:forged", "user:q2"]);
  });

  test("a fork goes on from the summary too; one from before it has everything", async () => {
    await turn(stack, "source", "q1", "a1");
    const [, answer] = await history(stack, "source");
    await compacted(stack, "source", "S");
    const whole = await owner.call("session.fork", { session_id: "source" });
    await turn(stack, whole.session_id, "q2", "a2");
    expect(asked(stack)).toEqual([RECALL, "assistant:S", "user:q2"]);
    const early = await owner.call("session.fork", {
      session_id: "source",
      message_id: answer?.message_id,
    });
    await turn(stack, early.session_id, "q2", "a2");
    expect(asked(stack)).toEqual(["user:q1", "assistant:a1", "user:q2"]);
  });

  test("a conversation that is longer than what a model is shown keeps its summary", async () => {
    await turn(stack, "long", "q1", "a1");
    await compacted(stack, "long", "the long gone");
    for (let n = 0; n < 1_010; n += 10) {
      const inject = (i: number) =>
        owner.call("chat.inject", { session_id: "long", role: "user", content: `m${n + i}` });
      await Promise.all(Array.from({ length: 10 }, (_, i) => inject(i)));
    }
    await turn(stack, "long", "q2", "a2");
    const shown = asked(stack);
    expect(shown.slice(0, 2)).toEqual([RECALL, "assistant:the long gone"]);
    expect([shown.length, shown.at(-1)]).toEqual([1_002, "user:q2"]);
  });
});

describe("when the gateway is killed", () => {
  test("while a summary is written, the run ends as interrupted and the old conversation stands", async () => {
    await using other = await startStack();
    const { model, owner: me, gateway } = other;
    model.reply().text("a1");
    await say(me, { session_id: "s", message: "q1" });
    model.reply().text("half a summ").hang();
    const { run_id } = await me.call("session.compact", { session_id: "s" });
    await eventually(
      async () => (await me.call("chat.history", { session_id: "s" })).messages.at(-1).content,
      (content) => content === "half a summ",
    );
    gateway.kill("SIGKILL");
    await gateway.restart();
    const run = await me.call("run.get", { run_id });
    expect(run).toMatchObject({ status: "interrupted", reason: "restart" });
    const { messages } = await me.call("chat.history", { session_id: "s" });
    expect(messages.at(-1)).toMatchObject({ role: "system", status: "partial", content: "half a summ" });
    model.reply().text("a2");
    await say(me, { session_id: "s", message: "q2" });
    expect(asked(other)).toEqual(["user:q1", "assistant:a1", "user:q2"]);
    // And one that is whole is there after a kill.
    model.reply().text("the whole");
    await ended(me, (await me.call("session.compact", { session_id: "s" })).run_id);
    gateway.kill("SIGKILL");
    await gateway.restart();
    model.reply().text("a3");
    await say(me, { session_id: "s", message: "q3" });
    expect(asked(other)).toEqual([RECALL, "assistant:the whole", "user:q3"]);
    expect(await refusal(me.call("session.compact", { session_id: "empty" }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });
});
