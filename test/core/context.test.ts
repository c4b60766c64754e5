import { describe, expect, test } from "bun:test";
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
  return contextOf({ summary: null, history }, run).map((each) => `${each.role}:${each.content}`);
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

describe("with a summary", () => {
  const RECALL = "user:What have we said so far? Answer with a summary.";
  const written = (content: string, status: EventMessage["status"] = "complete"): EventMessage => ({
    ...message("system", content, `run of ${content}`),
    status,
    model: "m",
  });
  const shown = (
    history: EventMessage[],
    covers: { through: string; except?: string[] },
    run_id: string,
    waiting: string[] = [],
  ): string[] => {
    const summary = { content: "S", covers: { except: [], ...covers } };
    const run = { run_id, waiting: new Set(waiting), system_prompt: "be kind" };
    return contextOf({ summary, history }, run).map((each) => `${each.role}:${each.content}`);
  };

  test("it stands for what it covers, behind the system prompt and before everything else", () => {
    const history = [
      message("user", "q1", "r1"),
      message("assistant", "a1", "r1"),
      message("system", "note"),
      written("S"),
      message("user", "q2", "r2"),
    ];
    expect(shown(history, { through: "note" }, "r2")).toEqual([
      "system:be kind",
      RECALL,
      "assistant:S",
      "user:q2",
    ]);
  });

  test("what waited behind it, or came while it was written, is not lost", () => {
    const history = [
      message("user", "q1", "r1"),
      message("user", "q2", "r2"),
      message("assistant", "a1", "r1"),
      message("system", "came before its first word"),
      written("S"),
      message("user", "q3", "r3"),
      message("assistant", "came later"),
    ];
    const covers = { through: "a1", except: ["q2"] };
    const after = ["system:be kind", RECALL, "assistant:S"];
    const meanwhile = ["system:came before its first word", "assistant:came later"];
    expect(shown(history, covers, "r2", ["r3"])).toEqual([...after, ...meanwhile, "user:q2"]);
    const answered = [...history, message("assistant", "a2", "r2")];
    expect(shown(answered, covers, "r3")).toEqual([
      ...after,
      "user:q2",
      ...meanwhile,
      "assistant:a2",
      "user:q3",
    ]);
  });

  test("one that was broken off is shown to nobody, and an older one only until there is a newer one", () => {
    const history = [message("user", "q1", "r1"), written("S"), written("half", "partial"), written("newer")];
    expect(shown([...history, message("user", "q2", "r2")], { through: "q1" }, "r2").slice(1)).toEqual([
      RECALL,
      "assistant:S",
      "user:q2",
    ]);
    expect(texts([message("user", "q1", "r1"), written("half", "partial")], "r2")).toEqual(["user:q1"]);
  });

  test("where the history does not reach back to what it covers, all of it comes after", () => {
    expect(shown([message("user", "q9", "r9")], { through: "long ago" }, "r9").slice(2)).toEqual([
      "assistant:S",
      "user:q9",
    ]);
  });
});
