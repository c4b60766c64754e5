import { expect, test } from "bun:test";
import { chatTranslator } from "../../src/transport/sse-chat.ts";

function frame(seq: number, event: string, payload: Record<string, unknown>) {
  const text = JSON.stringify({ type: "event", event, run_id: "run_1", seq, payload });
  return { text, type: event, epoch: "e", seq };
}

test("a summary that goes before an answer is none of its words", () => {
  const translate = chatTranslator("run_1");
  const said = [
    frame(1, "message.started", { message_id: "m1", role: "system", model: "x" }),
    frame(2, "message.delta", { message_id: "m1", part: 0, kind: "text", off: 0, text: "a summary" }),
    frame(3, "message.started", { message_id: "m2", role: "assistant", model: "x" }),
    frame(4, "message.delta", { message_id: "m2", part: 0, kind: "text", off: 0, text: "an answer" }),
  ].map(translate);
  expect(said).toEqual([null, null, null, 'id: e.4\ndata: {"type":"token","content":"an answer"}\n\n']);
});
