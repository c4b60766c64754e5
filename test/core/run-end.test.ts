import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { manualClock } from "../support/clock.ts";
import type { Script } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

const FULL = { ok: false, reason: "full", what: "messages_per_session" } as const;

async function stage(script: Script) {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const scene = await startEngine({ store, limits, script });
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  return { ...scene, faults, socket };
}

const startsMessage = (item: StoreItem): boolean =>
  item.kind === "append" && item.events.some((event) => event.type === "message.started");

test("a run that reaches a quota ends with it, whatever else of it was queued by then", async () => {
  const begin = Promise.withResolvers<void>();
  const more = Promise.withResolvers<void>();
  const scene = await stage(async function* (_request, signal) {
    await begin.promise;
    yield { type: "text", text: "one" };
    await more.promise;
    for (let i = 0; i < 5 && !signal.aborted; i++) {
      // Another part each time: what was gathered of the one before is queued.
      yield { type: i % 2 === 0 ? "reasoning" : "text", text: `${i}` };
      await new Promise((resolve) => setImmediate(resolve));
    }
    yield { type: "done", finish_reason: "stop" };
  });
  scene.faults.failItem(startsMessage, FULL);
  await scene.socket.request("chat.send", { session_id: "s", message: "hi" });
  await until(() => scene.socket.events().some(({ event }) => event === "run.started"));
  const release = scene.faults.hold();
  begin.resolve();
  await until(() => scene.faults.groups.at(-1)?.some(startsMessage) === true);
  more.resolve();
  await until(() => scene.engine.journal.queue_length > 2);
  release();
  await scene.engine.runs.settled();
  const end = scene.socket.events().at(-1);
  expect(end).toMatchObject({
    event: "run.failed",
    payload: { run: { error: { code: "CONFLICT", details: { kind: "full" } } } },
  });
  await scene.close();
});

test("an empty answer that reaches a quota did not complete", async () => {
  const scene = await stage(async function* () {
    yield { type: "done", finish_reason: "stop" };
  });
  scene.faults.failItem(startsMessage, FULL);
  await scene.socket.request("chat.send", { session_id: "s", message: "hi" });
  await scene.engine.runs.settled();
  expect(scene.socket.events().at(-1)).toMatchObject({
    event: "run.failed",
    payload: { run: { error: { code: "CONFLICT", details: { kind: "full" } } } },
  });
  await scene.close();
});

test("a read that fails while the end is made from the log is done again, and is nobody's unhandled error", async () => {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0 };
  const clock = manualClock();
  const memory = createMemoryStore({ clock, limits });
  let fails = 2;
  const { store, faults } = withFaults({
    ...memory,
    runMessages: (session, run_id) =>
      fails-- > 0 ? Promise.reject(new Error("the disk")) : memory.runMessages(session, run_id),
  });
  const script: Script = async function* () {
    yield { type: "text", text: "one" };
    yield { type: "done", finish_reason: "stop" };
  };
  const scene = await startEngine({ store, limits, script, clock });
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  faults.failItem(startsMessage, FULL);
  await socket.request("chat.send", { session_id: "s", message: "hi" });
  await until(() => {
    clock.advance(100);
    return scene.engine.runs.lanes.running === 0;
  }, "the end");
  expect(fails).toBeLessThan(0);
  expect(socket.events().at(-1)).toMatchObject({ event: "run.failed" });
  await scene.close();
});
