import { afterEach, expect, test } from "bun:test";
import type { Happening } from "../../src/core/observers.ts";
import { Observers } from "../../src/core/observers.ts";
import { createLogbook } from "../support/logbook.ts";
import type { TestEngine } from "../support/engine.ts";
import { silentLog, startEngine } from "../support/engine.ts";

let running: TestEngine | null = null;
afterEach(async () => {
  await running?.close();
  running = null;
});

const happening = (type: string): Happening => ({ type, ts: 1, payload: {} });
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("of one type or of all, in order, until it is taken back; nothing is made where nobody wants to know", async () => {
  const observers = new Observers(silentLog);
  const heard: string[] = [];
  const off = observers.on("a", ({ type }) => heard.push(`one ${type}`));
  const offAll = observers.on("*", ({ type }) => heard.push(`all ${type}`));
  for (const type of ["a", "b", "a"]) observers.tell(type, () => happening(type));
  expect(heard).toEqual([]);
  await settled();
  expect(heard).toEqual(["one a", "all a", "all b", "one a", "all a"]);
  off();
  offAll();
  observers.tell("a", () => {
    throw new Error("made for nobody");
  });
  await settled();
  expect(heard).toHaveLength(5);
});

test("one that throws is logged and keeps the event from nobody else", async () => {
  const book = createLogbook();
  const observers = new Observers(book);
  const heard: string[] = [];
  observers.on("a", () => {
    throw new Error("in the way");
  });
  observers.on("a", ({ type }) => heard.push(type));
  observers.tell("a", () => happening("a"));
  await settled();
  expect(heard).toEqual(["a"]);
  expect(book.lines.map(({ message }) => message)).toEqual(["a listener of an event failed"]);
});

test("every event of a session is told once, in the order of its log, followed or not", async () => {
  running = await startEngine();
  const { engine } = running;
  const heard: Happening[] = [];
  engine.observers.on("*", (each) => heard.push(each));
  const socket = running.connect("ann");
  await socket.request("chat.send", { session_id: "mine", message: "hi", subscribe: false });
  await engine.runs.settled();
  await settled();
  expect(heard.map(({ seq }) => seq)).toEqual(heard.map((_, i) => i + 1));
  expect(heard[0]).toEqual({
    type: "session.created",
    ts: expect.any(Number),
    session_id: expect.stringMatching(/^ses_/),
    user: "ann",
    epoch: expect.any(String),
    seq: 1,
    payload: { session: expect.objectContaining({ owner: "ann" }) },
  });
  expect(heard.at(-1)).toMatchObject({ type: "run.completed", run_id: expect.stringMatching(/^run_/) });
});
