import { expect, test } from "bun:test";
import { contextOf } from "../../src/core/context.ts";
import type { EventMessage } from "../../src/protocol/entities.ts";

function message(role: EventMessage["role"], content: string, run_id?: string): EventMessage {
  const status = "complete";
  return {
    message_id: content,
    role,
    status,
    content,
    timestamp: 0,
    metadata: {},
    ...(run_id !== undefined && { run_id }),
  };
}
function texts(
  history: EventMessage[],
  run_id: string,
  waiting: string[] = [],
  system_prompt = "",
): string[] {
  const run = { run_id, waiting: new Set(waiting), system_prompt };
  return contextOf(history, run).map((each) => `${each.role}:${each.content}`);
}

test("the system prompt, the history, and last the message the run is about", () => {
  const history = [
    message("user", "q1", "r1"),
    message("assistant", "a1", "r1"),
    message("user", "q2", "r2"),
  ];
  expect(texts(history, "r2", [], "be kind")).toEqual([
    "system:be kind",
    "user:q1",
    "assistant:a1",
    "user:q2",
  ]);
});

test("messages that queued behind a run stand where their own run answered them", () => {
  const history = [
    message("user", "q1", "r1"),
    message("user", "q2", "r2"),
    message("user", "q3", "r3"),
    message("assistant", "a1", "r1"),
    message("assistant", "a2", "r2"),
  ];
  expect(texts(history, "r3")).toEqual(["user:q1", "assistant:a1", "user:q2", "assistant:a2", "user:q3"]);
});

test("messages of runs that still wait are not shown, nor is what is empty or from a tool", () => {
  const history = [
    message("user", "q1", "r1"),
    message("user", "q2", "r2"),
    message("assistant", "", "r0"),
    message("tool", "result", "r0"),
  ];
  expect(texts(history, "r1", ["r2"])).toEqual(["user:q1"]);
});

test("a question whose run ended without an answer stays where it was asked", () => {
  const history = [message("user", "q1", "r1"), message("system", "note"), message("user", "q2", "r2")];
  expect(texts(history, "r2")).toEqual(["user:q1", "system:note", "user:q2"]);
});
