import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createTranscript } from "../../src/client/fold.ts";
import { compacted, history, NOTHING, RECALL, said, summarised, asked, turn } from "./compact.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, idle, log, refusal, startStack, typesOf } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

describe("session.compact", () => {
  test("is a run like any other; later runs are asked with its summary, and the history stays", async () => {
    await owner.call("session.create", { session_id: "one", system_prompt: "be kind" });
    await turn(stack, "one", "my name is Ada", "hello Ada");
    await turn(stack, "one", "what is a lane?", "a queue");
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id: "one" });
    stack.model
      .reply()
      .text("Ada asked about lanes.", { chunks: 3 })
      .usage({ prompt_tokens: 7, completion_tokens: 3 });
    const answer = await socket.request("session.compact", { session_id: "one" });
    await socket.nextEvent("run.completed");
    const events = log(socket, "one");
    expect(answer).toEqual({
      session_id: "one",
      run_id: expect.stringMatching(/^run_/),
      status: "started",
      epoch: events[0].epoch,
      seq: events[0].seq,
    });
    expect([...new Set(typesOf(events))]).toEqual([
      "run.queued",
      "run.started",
      "message.started",
      "message.delta",
      "message.completed",
      "run.completed",
    ]);
    expect(events.every(({ run_id }) => run_id === answer.run_id)).toBe(true);
    const started = events.find(({ event }) => event === "message.started");
    expect(started.payload).toMatchObject({ role: "system", model: "test/fake-1" });
    expect(events.at(-1).payload.run).toMatchObject({
      status: "completed",
      message_id: started.payload.message_id,
      usage: { input_tokens: 7, output_tokens: 3 },
    });
    expect(summarised(stack)).toEqual([
      "user:my name is Ada",
      "assistant:hello Ada",
      "user:what is a lane?",
      "assistant:a queue",
    ]);
    await turn(stack, "one", "and who am I?", "Ada");
    expect(asked(stack)).toEqual([
      "system:be kind",
      RECALL,
      "assistant:Ada asked about lanes.",
      "user:and who am I?",
    ]);
    expect(said(await history(stack, "one"))).toEqual([
      "user:my name is Ada",
      "assistant:hello Ada",
      "user:what is a lane?",
      "assistant:a queue",
      "system:Ada asked about lanes.",
      "user:and who am I?",
      "assistant:Ada",
    ]);
  });

  test("over REST as over a socket, and by its alias", async () => {
    await turn(stack, "rest", "q", "a");
    stack.model.reply().text("S");
    const { status, json } = await owner.ask("POST", "/api/v1/rpc/sessions.compact", {
      body: { session_id: "rest" },
    });
    expect([status, json]).toMatchObject([200, { session_id: "rest", status: "started" }]);
    expect(await ended(owner, json.run_id)).toMatchObject({
      status: "completed",
      origin: { transport: "rest" },
    });
  });

  test("several watchers fold it alike, from before it, from the middle and from after", async () => {
    await turn(stack, "watched", "q", "a");
    const before = await owner.connect();
    const opening = await before.request("session.subscribe", { session_id: "watched" });
    stack.model.reply().text("sum", { chunks: 1 }).wait(50).text(" of it", { chunks: 3, everyMs: 30 });
    await owner.call("session.compact", { session_id: "watched" });
    await before.nextEvent("message.delta");
    const middle = await owner.connect();
    const late = await middle.request("session.subscribe", { session_id: "watched" });
    await Promise.all([before.nextEvent("run.completed"), middle.nextEvent("run.completed")]);
    const folds = [
      [opening.snapshot, before],
      [late.snapshot, middle],
    ].map(([snapshot, socket]) => {
      const transcript = createTranscript();
      transcript.replace(snapshot);
      for (const frame of log(socket, "watched")) transcript.apply(frame);
      return said([...transcript.messages.values()]);
    });
    const whole = ["user:q", "assistant:a", "system:sum of it"];
    expect(folds).toEqual([whole, whole]);
    expect(said(await history(stack, "watched"))).toEqual(whole);
    before.close();
    middle.close();
  });

  test("twice: the second one is made of the first and what came after, and takes its place", async () => {
    await turn(stack, "twice", "q1", "a1");
    await compacted(stack, "twice", "first summary");
    await turn(stack, "twice", "q2", "a2");
    await compacted(stack, "twice", "second summary");
    expect(summarised(stack)).toEqual(["summary:first summary", "user:q2", "assistant:a2"]);
    await turn(stack, "twice", "q3", "a3");
    expect(asked(stack)).toEqual([RECALL, "assistant:second summary", "user:q3"]);
  });

  test("where there is nothing to summarise it says so", async () => {
    await owner.call("session.create", { session_id: "empty" });
    expect(await refusal(owner.call("session.compact", { session_id: "empty" }))).toMatchObject(NOTHING);
    await turn(stack, "empty", "q", "a");
    await compacted(stack, "empty", "S");
    expect(await refusal(owner.call("session.compact", { session_id: "empty" }))).toMatchObject(NOTHING);
    await owner.call("chat.inject", { session_id: "empty", role: "user", content: "more" });
    expect(await compacted(stack, "empty", "S2")).toMatchObject({ status: "completed" });
    expect(summarised(stack)).toEqual(["summary:S", "user:more"]);
  });

  test("one at a time", async () => {
    const { model } = stack;
    await turn(stack, "once", "q", "a");
    model.reply().text("…").hang();
    const { run_id } = await owner.call("session.compact", { session_id: "once" });
    expect(await refusal(owner.call("session.compact", { session_id: "once" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "state", run_id },
    });
    const busy = owner.call("chat.send", { session_id: "once", message: "x", on_busy: "reject" });
    expect(await refusal(busy)).toMatchObject({ code: "CONFLICT", details: { kind: "busy", run_id } });
    await owner.call("chat.abort", { run_id });
  });

  test("two that were asked for at once: the second finds nothing left to do, and ends saying so", async () => {
    await turn(stack, "race", "q", "a");
    stack.model.reply().text("S");
    await using one = await owner.connect();
    await using two = await owner.connect();
    const answers = await Promise.allSettled(
      [one, two].map((socket) => socket.request("session.compact", { session_id: "race" })),
    );
    const runs = answers.flatMap((each) => (each.status === "fulfilled" ? [each.value.run_id] : []));
    const ends = await Promise.all(runs.map((run_id) => ended(owner, run_id)));
    expect(ends.filter(({ status }) => status === "completed")).toHaveLength(1);
    for (const { error } of ends.filter(({ status }) => status === "failed")) {
      expect(error).toMatchObject(NOTHING);
    }
    expect((await history(stack, "race")).filter(({ role }) => role === "system")).toHaveLength(1);
  });

  test("an editor may, a viewer may not, and for anybody else there is no such session", async () => {
    await turn(stack, "shared", "q", "a");
    const ann = await stack.guest({ user: "ann", role: "user" });
    expect(await refusal(ann.call("session.compact", { session_id: "shared" }))).toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "session" },
    });
    await owner.call("session.share", { session_id: "shared", user: "ann", role: "viewer" });
    const { session_id } = (await ann.call("session.list")).sessions[0];
    expect(await refusal(ann.call("session.compact", { session_id }))).toMatchObject({
      code: "FORBIDDEN",
      details: { kind: "share" },
    });
    await owner.call("session.share", { session_id: "shared", user: "ann", role: "editor" });
    stack.model.reply().text("S");
    const answer = await ann.call("session.compact", { session_id });
    expect(answer.session_id).toBe(session_id);
    expect((await ended(owner, answer.run_id)).status).toBe("completed");
  });
});
