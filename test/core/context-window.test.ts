import { expect, test } from "bun:test";
import type { ModelRequest } from "../../src/core/ports.ts";
import { SUMMARY_PROMPT } from "../../src/core/summary.ts";
import type { Script } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { call, closesEngines, kinds, shape, start, tool } from "./tools.fixture.ts";

closesEngines();

const LONG = "x".repeat(3_000);

/** Sums up with `summary`, null: fails to; answers everything else with its number. */
function model(summary: string | null): { script: Script; asked: ModelRequest[] } {
  const asked: ModelRequest[] = [];
  const script: Script = async function* (request) {
    asked.push(request);
    const sums = request.messages[0]?.content === SUMMARY_PROMPT;
    yield { type: "text", text: sums ? (summary ?? " ") : `answer ${asked.length}` };
    yield { type: "usage", usage: { input_tokens: 5, output_tokens: 1 } };
    yield { type: "done", finish_reason: "stop" };
  };
  return { script, asked };
}

async function play(summary: string | null) {
  const { script, asked } = model(summary);
  const { connect } = await start({ script, context_tokens: 1_500 });
  const owner = connect();
  const ends = (): number => kinds(owner).filter((kind) => kind === "run.completed").length;
  for (const message of [LONG, "second", `${LONG} third`]) {
    const before = ends();
    await owner.request("chat.send", { session_id: "s", message });
    await until(() => ends() > before, "it is answered");
  }
  return { owner, asked };
}

test("past its bound a conversation is summed up before it goes on, in the run that answers", async () => {
  const { owner, asked } = await play("they said x");
  expect(asked).toHaveLength(4);
  expect(asked[2]?.messages[0]?.content).toBe(SUMMARY_PROMPT);
  // What the run itself is about is not summed up, and is asked whole.
  expect(asked[2]?.messages[1]?.content).not.toContain("third");
  expect(shape(asked[3]?.messages ?? [])).toEqual([
    ["user", expect.any(String)],
    ["assistant", "they said x", []],
    ["user", `${LONG} third`],
  ]);
  const { messages } = await owner.request<{ messages: { role: string; status: string }[] }>("chat.history", {
    session_id: "s",
  });
  expect(messages.map(({ role }) => role)).toEqual([
    "user",
    "assistant",
    "user",
    "assistant",
    "user",
    "system",
    "assistant",
  ]);
  const runs = await owner.request<{ runs: { usage: { input_tokens: number } }[] }>("run.list", {
    session_id: "s",
  });
  expect(runs.runs[0]?.usage.input_tokens).toBe(10);
});

test("where there can be no summary the oldest messages are not sent, and nothing is left of the attempt", async () => {
  const { owner, asked } = await play(null);
  expect(shape(asked[3]?.messages ?? [])).toEqual([
    ["user", "second"],
    ["assistant", "answer 2", []],
    ["user", `${LONG} third`],
  ]);
  expect(kinds(owner)).toContain("message.discarded");
  const { messages } = await owner.request<{ messages: { role: string }[] }>("chat.history", {
    session_id: "s",
  });
  expect(messages.map(({ role }) => role)).not.toContain("system");
  const { message_count } = await owner.request<{ message_count: number }>("session.get", {
    session_id: "s",
  });
  expect(message_count).toBe(6);
});

test("calls and their results are summed up or sent together, never one without the other", async () => {
  const asked: ModelRequest[] = [];
  const script: Script = async function* (request) {
    asked.push(request);
    const last = request.messages.at(-1);
    if (request.messages[0]?.content === SUMMARY_PROMPT) yield { type: "text", text: "they asked a tool" };
    else if (last?.role === "user")
      yield { type: "tool_call", call: call("a", { n: asked.length }, `c${asked.length}`) };
    else yield { type: "text", text: LONG };
    yield { type: "done", finish_reason: "stop" };
  };
  const { connect } = await start({ script, tools: [tool("a")], context_tokens: 1_500 });
  const owner = connect();
  const ends = (): number => kinds(owner).filter((kind) => kind === "run.completed").length;
  for (const message of ["one", "two", "three"]) {
    const before = ends();
    await owner.request("chat.send", { session_id: "s", message });
    await until(() => ends() > before, "it is answered");
  }
  const summaries = asked.filter(({ messages }) => messages[0]?.content === SUMMARY_PROMPT);
  expect(summaries.length).toBeGreaterThan(0);
  const lines = summaries[0]?.messages[1]?.content.split("\n") ?? [];
  const said = lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { role: string });
  expect(said.map(({ role }) => role).slice(0, 4)).toEqual(["user", "assistant", "tool", "assistant"]);
  for (const { messages } of asked) {
    const open = new Set<string>();
    for (const message of messages) {
      if (message.role === "assistant") {
        expect([...open]).toEqual([]);
        for (const { tool_call_id } of message.tool_calls ?? []) open.add(tool_call_id);
      }
      if (message.role === "tool") expect(open.delete(message.tool_call_id)).toBe(true);
    }
    expect([...open]).toEqual([]);
  }
});

test("a summary made in the middle of a run leaves out what the run itself has said and done", async () => {
  const asked: ModelRequest[] = [];
  const script: Script = async function* (request) {
    asked.push(request);
    const last = request.messages.at(-1);
    if (request.messages[0]?.content === SUMMARY_PROMPT) yield { type: "text", text: "so far" };
    else if (last?.role === "user" && last.content === "look") {
      yield { type: "tool_call", call: call("long", { n: 1 }) };
    } else yield { type: "text", text: "fine" };
    yield { type: "done", finish_reason: "stop" };
  };
  const long = tool("long", async () => LONG);
  const { connect } = await start({ script, tools: [long], context_tokens: 900 });
  const owner = connect();
  const ends = (): number => kinds(owner).filter((kind) => kind === "run.completed").length;
  for (const message of ["first", "look"]) {
    const before = ends();
    await owner.request("chat.send", { session_id: "s", message });
    await until(() => ends() > before, "it is answered");
  }
  const sums = asked.find(({ messages }) => messages[0]?.content === SUMMARY_PROMPT);
  expect(sums?.messages[1]?.content).toContain("first");
  expect(sums?.messages[1]?.content).not.toContain("xxx");
  // All of it stays, though it is more than the bound by itself.
  expect(shape(asked.at(-1)?.messages ?? [])).toEqual([
    ["user", "look"],
    ["assistant", "", ["long"]],
    ["long", LONG],
  ]);
});

test("a summary that a provider broke off stands for nothing", async () => {
  const asked: ModelRequest[] = [];
  const script: Script = async function* (request) {
    asked.push(request);
    if (request.messages[0]?.content === SUMMARY_PROMPT) {
      yield { type: "text", text: "half a summ" };
      return yield { type: "aborted" };
    }
    yield { type: "text", text: "fine" };
    yield { type: "done", finish_reason: "stop" };
    return undefined;
  };
  const { connect } = await start({ script, context_tokens: 1_500 });
  const owner = connect();
  const ends = (): number => kinds(owner).filter((kind) => kind === "run.completed").length;
  for (const message of [LONG, `${LONG} second`, "third"]) {
    const before = ends();
    await owner.request("chat.send", { session_id: "s", message });
    await until(() => ends() > before, "it is answered");
  }
  expect(asked.some(({ messages }) => messages[0]?.content === SUMMARY_PROMPT)).toBe(true);
  expect(kinds(owner)).toContain("message.discarded");
  expect(JSON.stringify(asked.at(-1)?.messages)).not.toContain("half a summ");
});
