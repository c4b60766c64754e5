import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import type { Embedded } from "./embed.fixture.ts";
import { embed, refusedWith } from "./embed.fixture.ts";

let it: Embedded;
beforeAll(async () => {
  it = await embed();
});
afterAll(() => it[Symbol.asyncDispose]());

describe("chat", () => {
  test("a conversation that is written, answered and read, without a client", async () => {
    const { chat } = it.gateway;
    const { sessionId, session } = await chat.createSession({
      title: "Support",
      systemPrompt: "Be short.",
      metadata: { ticket: 7 },
    });
    expect(sessionId).toMatch(/^ses_/);
    expect(session).toMatchObject({
      session_id: sessionId,
      title: "Support",
      owner: "owner",
      metadata: { ticket: 7 },
    });
    const first = await chat.addMessage(sessionId, { role: "user", content: "Hi" });
    expect(first).toEqual({ messageId: expect.stringMatching(/^msg_/), epoch: session.epoch, seq: 2 });
    it.model.reply().text("Hello.");
    const { runId, status, done } = await chat.createRun(sessionId);
    expect([runId, status]).toEqual([expect.stringMatching(/^run_/), "started"]);
    expect(await done).toMatchObject({
      session_id: sessionId,
      run_id: runId,
      status: "completed",
      origin: { transport: "local", client_id: "embedded" },
    });
    expect(it.model.requests.at(-1)?.body.messages).toEqual([
      { role: "system", content: "Be short." },
      { role: "user", content: "Hi" },
    ]);
    const messages = await chat.getMessages(sessionId);
    expect(messages.map(({ role, content }) => [role, content])).toEqual([
      ["user", "Hi"],
      ["assistant", "Hello."],
    ]);
    expect(await chat.getMessages(sessionId, { limit: 1 })).toEqual([messages[1]!]);
    expect(await chat.getMessages(sessionId, { before: messages[1]!.message_id })).toEqual([messages[0]!]);
  });

  test("one run of a session at a time; the stats tell of both, abortRun ends them", async () => {
    const { chat } = it.gateway;
    const { totalSessions } = await chat.stats();
    const { sessionId } = await chat.createSession();
    await chat.addMessage(sessionId, { role: "user", content: "Hi" });
    it.model.reply().text("so far").hang();
    const active = await chat.createRun(sessionId);
    const queued = await chat.createRun(sessionId);
    expect([active.status, queued.status]).toEqual(["started", "queued"]);
    await eventually(
      () => it.model.open,
      (open) => open === 1,
    );
    expect(await chat.stats()).toEqual({
      totalSessions: totalSessions + 1,
      activeRuns: 1,
      queuedRuns: 1,
      sessions: [{ sessionId, userId: "owner", activeRuns: 1, queuedRuns: 1 }],
    });
    expect(await chat.abortRun(queued.runId)).toEqual({ aborted: true });
    expect(await chat.abortRun(active.runId)).toEqual({ aborted: true });
    expect([(await active.done).status, (await queued.done).status]).toEqual(["aborted", "aborted"]);
    expect(await chat.abortRun(active.runId)).toEqual({ aborted: false });
    expect(await chat.stats()).toMatchObject({ activeRuns: 0, queuedRuns: 0, sessions: [] });
  });

  test("a run that fails is an answer, not an exception", async () => {
    const { chat } = it.gateway;
    const { sessionId } = await chat.createSession();
    await chat.addMessage(sessionId, { role: "user", content: "Hi" });
    it.model.reply().status(400);
    const { done } = await chat.createRun(sessionId);
    expect(await done).toMatchObject({ status: "failed", error: { code: "UPSTREAM_ERROR" } });
  });

  test("users have sessions of their own, found by the gateway's id without naming them", async () => {
    const { chat } = it.gateway;
    const { sessionId, session } = await chat.createSession({ userId: "ann", sessionId: "mine" });
    expect(session).toMatchObject({ session_id: "mine", owner: "ann" });
    await chat.addMessage(sessionId, { role: "user", content: "by id" });
    await chat.addMessage("mine", { userId: "ann", role: "user", content: "by name" });
    expect((await chat.getMessages(sessionId)).map(({ content }) => content)).toEqual(["by id", "by name"]);
    expect(await refusedWith(chat.getMessages("mine"))).toBe("NOT_FOUND");
    expect(await refusedWith(chat.getMessages(sessionId, { userId: "bob" }))).toBe("NOT_FOUND");
    expect(await refusedWith(chat.createSession({ userId: "ann", sessionId: "mine" }))).toBe("CONFLICT");
  });

  test("a key makes one message and one run of any number of calls", async () => {
    const { chat } = it.gateway;
    const { sessionId } = await chat.createSession();
    const say = () =>
      chat.addMessage(sessionId, { role: "user", content: "Hi", idempotencyKey: "k-message" });
    expect((await say()).messageId).toBe((await say()).messageId);
    const first = await chat.createRun(sessionId, { idempotencyKey: "k-run", model: "test/other" });
    expect((await first.done).model).toBe("test/other");
    const again = await chat.createRun(sessionId, { idempotencyKey: "k-run", model: "test/other" });
    expect([again.runId, (await again.done).status]).toEqual([first.runId, "completed"]);
    expect(await chat.getMessages(sessionId)).toHaveLength(2);
  });

  test("a hundred messages at once are written in order: the process is not slowed like a client", async () => {
    const { chat } = it.gateway;
    const { sessionId } = await chat.createSession();
    const contents = Array.from({ length: 200 }, (_, i) => `message ${i}`);
    await Promise.all(contents.map((content) => chat.addMessage(sessionId, { role: "user", content })));
    const messages = await chat.getMessages(sessionId, { limit: 1_000 });
    expect(messages.map(({ content }) => content)).toEqual(contents);
  });

  test("what is wrong is refused as over the wire", async () => {
    const { chat } = it.gateway;
    const { sessionId } = await chat.createSession();
    const huge = "x".repeat(128 * 1024 + 1);
    expect(await refusedWith(chat.createRun(sessionId))).toBe("CONFLICT");
    expect(await refusedWith(chat.createRun("ses_00000000000000000000000000"))).toBe("NOT_FOUND");
    expect(await refusedWith(chat.abortRun("run_none"))).toBe("NOT_FOUND");
    expect(await refusedWith(chat.addMessage(sessionId, { role: "user", content: huge }))).toBe("TOO_LARGE");
    expect(await refusedWith(chat.addMessage(sessionId, { role: "user", content: "" }))).toBe(
      "INVALID_REQUEST",
    );
    expect(await refusedWith(chat.getMessages(sessionId, { limit: 0 }))).toBe("INVALID_REQUEST");
  });

  test("who is connected sees what the program does", async () => {
    await using socket = await it.connect();
    const { sessionId } = await it.gateway.chat.createSession();
    await socket.request("session.subscribe", { session_id: sessionId });
    await it.gateway.chat.addMessage(sessionId, { role: "user", content: "from inside" });
    const { json } = await socket.nextEvent("message.created");
    expect(json.payload.message).toMatchObject({ role: "user", content: "from inside" });
  });
});
