import { expect, test } from "bun:test";
import type { ModelMessage } from "../../src/core/ports.ts";
import { tokensOf, withinWindow } from "../../src/core/window.ts";

const call = { tool_call_id: "c", name: "t", arguments: "{}" };
const said: ModelMessage[] = [
  { role: "system", content: "be kind" },
  { role: "user", content: "a".repeat(300) },
  { role: "assistant", content: "", tool_calls: [call] },
  { role: "tool", tool_call_id: "c", content: "b".repeat(300) },
  { role: "assistant", content: "c".repeat(300) },
  { role: "user", content: "d".repeat(300) },
  { role: "assistant", content: "", tool_calls: [call] },
  { role: "tool", tool_call_id: "c", content: "e".repeat(300) },
];

test("all of it while it fits", () => {
  expect(withinWindow(said, tokensOf(said))).toEqual(said);
});

test("the oldest go first, never between a call and its result, and the last question stays", () => {
  for (const max of [tokensOf(said) - 1, 300, 10, 0]) {
    expect(withinWindow(said, max)).toEqual([...said.slice(0, 1), ...said.slice(5)]);
  }
  const alone = said.slice(1, 5);
  expect(withinWindow(alone, 10)).toEqual(alone);
});

test("no more than has to go", () => {
  const many: ModelMessage[] = Array.from({ length: 10 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: "x".repeat(300),
  }));
  // Every message counts 104.
  expect(withinWindow(many, 640)).toEqual(many.slice(4));
  expect(withinWindow(many, 624)).toEqual(many.slice(4));
  expect(withinWindow(many, 623)).toEqual(many.slice(6));
});
