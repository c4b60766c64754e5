import { expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { MessageWriter } from "../../src/core/writer.ts";
import { manualClock } from "../support/clock.ts";

function start() {
  const clock = manualClock();
  const state = { busy: false };
  const deltas: { part: number; off: number; text: string }[] = [];
  const writer = new MessageWriter({
    clock,
    limits: DEFAULT_LIMITS,
    run_id: "run_1",
    role: "assistant",
    message_id: "msg_1",
    model: "m",
    busy: () => state.busy,
    append: (events) => {
      for (const { type, payload } of events) {
        if (type === "message.delta") deltas.push(JSON.parse(payload) as (typeof deltas)[number]);
      }
    },
  });
  const texts = (): string[] => deltas.map((delta) => delta.text);
  return { clock, state, writer, deltas, texts };
}

test("the first delta leaves at once, the next ones at the end of the window, together", () => {
  const { clock, writer, texts } = start();
  writer.push("text", "a");
  expect(texts()).toEqual(["a"]);
  writer.push("text", "b");
  clock.advance(24);
  writer.push("text", "c");
  expect(texts()).toEqual(["a"]);
  clock.advance(1);
  expect(texts()).toEqual(["a", "bc"]);
  clock.advance(25);
  writer.push("text", "d");
  expect(texts()).toEqual(["a", "bc", "d"]);
});

test("4 KB do not wait for the window", () => {
  const { writer, texts } = start();
  writer.push("text", "a");
  writer.push("text", "x".repeat(4_095));
  expect(texts()).toEqual(["a"]);
  writer.push("text", "y");
  expect(texts()).toHaveLength(2);
});

test("while the run has something uncommitted it gathers, and what it gathered goes with the commit's answer", () => {
  const { clock, state, writer, deltas, texts } = start();
  writer.push("text", "a");
  state.busy = true;
  for (const text of ["b", "c", "d"]) {
    clock.advance(30);
    writer.push("text", text);
  }
  expect(texts()).toEqual(["a"]);
  state.busy = false;
  writer.committed();
  expect(deltas.at(-1)).toMatchObject({ off: 1, text: "bcd" });
});

test("another kind begins another part, and what was gathered of the one before goes first", () => {
  const { state, writer, deltas } = start();
  state.busy = true;
  writer.push("reasoning", "hm");
  writer.push("text", "so");
  writer.flush();
  expect(deltas).toMatchObject([
    { part: 0, off: 0, text: "hm" },
    { part: 1, off: 0, text: "so" },
  ]);
});

test("what is left, and a message that said nothing, are handed over at the end", () => {
  const said = start();
  said.writer.push("text", "a");
  said.writer.push("text", "b");
  expect(said.writer.finish().events.map((event) => event.type)).toEqual(["message.delta"]);
  expect(
    start()
      .writer.finish()
      .events.map((event) => event.type),
  ).toEqual(["message.started"]);
});
