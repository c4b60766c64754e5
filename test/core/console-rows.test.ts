import { expect, test } from "bun:test";
import type { FoldedMessage } from "../../src/client/change.ts";
import { Rows } from "../../src/console/chat/rows.ts";

const PLACE = {
  session_id: "s",
  run_id: "r",
  seq: 1,
  status: "complete",
  timestamp: 0,
  metadata: {},
} as const;

function called(message_id: string): FoldedMessage {
  const call = { type: "tool_call", tool_call_id: "call_0", name: "time", arguments: "{}" } as const;
  return { ...PLACE, message_id, role: "assistant", content: "", parts: [call] };
}

function answered(message_id: string, content: string): FoldedMessage {
  const result = { type: "tool_result", tool_call_id: "call_0", ok: true } as const;
  return { ...PLACE, message_id, role: "tool", content, parts: [result] };
}

test("a model that gives each of its calls the same id has each with its own result", () => {
  const messages = [
    called("one"),
    answered("a", "first"),
    called("two"),
    answered("b", "second"),
    called("three"),
  ];
  const { rows } = new Rows().of({ messages, runs: [], approvals: [] });
  expect(rows.map(({ results }) => results.get("call_0")?.content)).toEqual(["first", "second", undefined]);
});
