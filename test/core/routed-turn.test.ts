import { expect, test } from "bun:test";
import type { ModelEvent } from "../../src/core/ports.ts";
import type { Script } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { call, closesEngines, ended, say, start, tool } from "./tools.fixture.ts";

closesEngines();

const by = (model: string): ModelEvent => ({ type: "model", model });
const text = (said: string): ModelEvent => ({ type: "text", text: said });
const done: ModelEvent = { type: "done", finish_reason: "stop" };

/** Answers call n of the model with list n. */
function plays(...turns: readonly ModelEvent[][]): { script: Script; asked: string[] } {
  const asked: string[] = [];
  const script: Script = async function* ({ model }) {
    const turn = turns[asked.length] ?? [];
    asked.push(model);
    yield* turn;
  };
  return { script, asked };
}

test("a message is by the model that answered, the run began with the one that was asked, which each turn asks first", async () => {
  const { script, asked } = plays(
    [by("spare/one"), { type: "tool_call", call: call("look", { n: 1 }) }, done],
    [by("test/model"), text("half"), { type: "usage", usage: { input_tokens: 3, output_tokens: 1 } }, done],
  );
  const { connect, engine } = await start({ script, tools: [tool("look")] });
  const owner = connect();
  const { run_id } = await say(owner);
  await until(ended(owner));
  const of = (type: string): unknown[] =>
    owner.events().flatMap(({ event, payload }) => (event === type ? [payload["model"]] : []));
  expect([of("run.started"), of("message.started"), asked]).toEqual([
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
  expect(engine.runs.tokens).toEqual({ input: 3, output: 1 });
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
