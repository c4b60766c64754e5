import { describe, expect, test } from "bun:test";
import type { ModelEvent, ModelRequest } from "../../src/core/ports.ts";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import type { Message } from "../../src/protocol/entities.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import type { FakeConnection, Script } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { call, closesEngines, ended, kinds, say, shape, start, tool } from "./tools.fixture.ts";

closesEngines();

const by = (model: string): ModelEvent => ({ type: "model", model });
const text = (said: string): ModelEvent => ({ type: "text", text: said });
const done: ModelEvent = { type: "done", finish_reason: "stop" };

/** Answers call n of the model with list n. */
function plays(...turns: readonly ModelEvent[][]): {
  script: Script;
  asked: string[];
  requests: ModelRequest[];
} {
  const asked: string[] = [];
  const requests: ModelRequest[] = [];
  const script: Script = async function* (request) {
    const turn = turns[asked.length] ?? [];
    asked.push(request.model);
    requests.push(request);
    for (const event of turn) {
      // What was said is on its way into the log before more is.
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield event;
    }
  };
  return { script, asked, requests };
}
/** The payloads of a kind of event. */
const of = (owner: FakeConnection, type: string): Record<string, unknown>[] =>
  owner.events().flatMap(({ event, payload }) => (event === type ? [payload] : []));

test("a message is by the model that answered, the run began with the one that was asked, which each turn asks first", async () => {
  const { script, asked } = plays(
    [by("spare/one"), { type: "tool_call", call: call("look", { n: 1 }) }, done],
    [by("test/model"), text("half"), { type: "usage", usage: { input_tokens: 3, output_tokens: 1 } }, done],
  );
  const { connect, engine } = await start({ script, tools: [tool("look")] });
  const owner = connect();
  const { run_id } = await say(owner);
  await until(ended(owner));
  const by_ = (type: string): unknown[] => of(owner, type).map(({ model }) => model);
  expect([by_("run.started"), by_("message.started"), asked]).toEqual([
    ["test/model"],
    ["spare/one", "test/model"],
    ["test/model", "test/model"],
  ]);
  const { messages } = await owner.request<{ messages: { role: string; model?: string }[] }>("chat.history", {
    session_id: "s",
  });
  expect(messages.flatMap(({ role, model }) => (role === "assistant" ? [model] : []))).toEqual([
    "spare/one",
    "test/model",
  ]);
  expect(await owner.request("run.get", { run_id })).toMatchObject({ model: "test/model" });
  expect(engine.ledger.totals()).toMatchObject({ input: 3, output: 1 });
});

test("a run names the model that answered last once it has ended", async () => {
  const { script } = plays([by("spare/one"), text("all of it"), done]);
  const { connect } = await start({ script });
  const owner = connect();
  const { run_id } = await say(owner);
  await until(ended(owner));
  expect(owner.events().at(-1)?.payload).toMatchObject({ run: { run_id, model: "spare/one" } });
  expect(await owner.request("run.get", { run_id })).toMatchObject({ model: "spare/one" });
});

describe("an answer that breaks off and is written again", () => {
  const again: ModelEvent = { type: "retrying", attempt: 1, reason: "it broke off" };
  const failed: ModelEvent = { type: "error", error: new GatewayError("UPSTREAM_ERROR", "gone") };

  test("replaces what it had said as soon as it says something: nothing stands twice, in the log or for the model", async () => {
    const { script, asked, requests } = plays(
      [by("test/model"), text("half of"), again, by("spare/one"), text("all"), text(" of it"), done],
      [text("next"), done],
    );
    const { connect } = await start({ script });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(ended(owner));
    // How many deltas it is depends on how fast they are committed.
    expect(kinds(owner).filter((kind, at, all) => kind !== all[at - 1])).toEqual([
      "message.created",
      "run.queued",
      "run.started",
      "message.started",
      "message.delta",
      "run.retrying",
      "message.discarded",
      "message.started",
      "message.delta",
      "message.completed",
      "run.completed",
    ]);
    const [first, second] = of(owner, "message.started");
    expect(of(owner, "message.discarded")).toEqual([
      { message_id: first?.["message_id"], reason: "it broke off", length: 7 },
    ]);
    expect([first?.["model"], second?.["model"]]).toEqual(["test/model", "spare/one"]);
    expect(await owner.request("run.get", { run_id })).toMatchObject({
      message_id: second?.["message_id"],
      model: "spare/one",
    });
    await say(owner, "and then?");
    await until(() => asked.length === 2);
    expect(shape(requests[1]?.messages ?? [])).toEqual([
      ["user", "go"],
      ["assistant", "all of it", []],
      ["user", "and then?"],
    ]);
    await until(() => kinds(owner).filter((kind) => kind === "run.completed").length === 2);
    const { messages } = await owner.request<{ messages: Message[] }>("chat.history", { session_id: "s" });
    const folded = emptyTranscript();
    for (const event of owner.events()) expect(applyEvent(folded, event as FoldEvent)).toBe("ok");
    expect(folded.messages).toEqual(messages);
    expect(await owner.request("session.get", { session_id: "s" })).toMatchObject({ message_count: 4 });
  });

  test("makes no call of what it had called, and the calls of the second once", async () => {
    const made: unknown[] = [];
    const pay = tool("pay", async ({ n }) => {
      made.push(n);
      return "paid";
    });
    const { script } = plays(
      [
        text("I pay"),
        { type: "tool_call", call: call("pay", { n: 1 }) },
        again,
        by("spare/one"),
        { type: "tool_call", call: call("pay", { n: 2 }) },
        done,
      ],
      [text("paid"), done],
    );
    const { connect } = await start({ script, tools: [pay] });
    const owner = connect();
    await say(owner);
    await until(ended(owner));
    expect(made).toEqual([2]);
    expect(of(owner, "tool.call").map(({ arguments: args }) => args)).toEqual(['{"n":2}']);
    expect(of(owner, "message.discarded")).toHaveLength(1);
  });

  test.each([
    ["fails for good", [failed], "run.failed"],
    ["is aborted", [{ type: "aborted" } as const], "run.aborted"],
  ])("stays as it is, partial, where the run then %s", async (_, rest, end) => {
    const { script } = plays([by("test/model"), text("half"), again, ...rest]);
    const { connect } = await start({ script });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(ended(owner));
    expect(kinds(owner).slice(-4)).toEqual(["message.delta", "run.retrying", "message.completed", end]);
    const [done_] = of(owner, "message.completed");
    expect(done_).toMatchObject({ message: { status: "partial", content: "half" } });
    expect(await owner.request("run.get", { run_id })).toMatchObject({
      message_id: (done_?.["message"] as Message | undefined)?.message_id,
    });
  });

  test("stays where somebody stops the run while the model is asked again", async () => {
    const script: Script = async function* (_request, signal) {
      yield text("half");
      yield again;
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      yield { type: "aborted" };
    };
    const { connect } = await start({ script });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(() => kinds(owner).includes("run.retrying"));
    await owner.request("chat.abort", { run_id });
    expect(kinds(owner).slice(-3)).toEqual(["run.retrying", "message.completed", "run.aborted"]);
    expect(of(owner, "message.completed")).toMatchObject([
      { message: { status: "partial", content: "half" } },
    ]);
  });

  test("in a later turn leaves the turns before it, and the run names the last message that stands", async () => {
    const { script } = plays(
      [by("test/model"), text("let me look"), { type: "tool_call", call: call("look", { n: 1 }) }, done],
      [
        by("test/model"),
        text("half"),
        again,
        by("test/model"),
        { type: "usage", usage: { input_tokens: 1, output_tokens: 1 } },
        failed,
      ],
    );
    const { connect } = await start({ script, tools: [tool("look")] });
    const owner = connect();
    const { run_id } = await say(owner);
    await until(ended(owner));
    const { messages } = await owner.request<{ messages: Message[] }>("chat.history", { session_id: "s" });
    expect(messages.map(({ role, content, status }) => [role, content, status])).toEqual([
      ["user", "go", "complete"],
      ["assistant", "let me look", "complete"],
      ["tool", "look:1", "complete"],
      ["assistant", "half", "partial"],
    ]);
    expect(await owner.request("run.get", { run_id })).toMatchObject({ message_id: messages[3]?.message_id });
  });

  test("counts its bytes anew", async () => {
    const { script } = plays([text("x".repeat(80)), again, text("y".repeat(80)), done]);
    const { connect } = await start({
      script,
      limits: { assistant_bytes: 100, completed_inline_bytes: 100 },
    });
    const owner = connect();
    await say(owner);
    await until(ended(owner));
    expect(kinds(owner).at(-1)).toBe("run.completed");
  });
});
