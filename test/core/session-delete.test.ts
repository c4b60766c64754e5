import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { FakeConnection, Script } from "../support/engine.ts";
import { says, startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

const ENDS = ["run.completed", "run.failed", "run.aborted", "run.interrupted"];

async function stage(script: Script = says("a", "b", "c")) {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const scene = await startEngine({ store, limits, script });
  const watcher = scene.connect();
  await watcher.request("session.create", { session_id: "s" });
  await watcher.request("session.subscribe", { session_id: "s", after: 0 });
  const id = [...watcher.subscriptions.keys()][0] ?? "";
  return { ...scene, faults, watcher, id };
}

const has = (type: string) => (item: StoreItem) =>
  item.kind === "append" && item.events.some((event) => event.type === type);
const queues = has("message.created");

/** Every run that was accepted ended once, and session.closed was the last event of all. */
function closedWell(watcher: FakeConnection): void {
  const events = watcher.events();
  const runsOf = (types: readonly string[]) =>
    events.filter(({ event }) => types.includes(event)).map(({ run_id }) => run_id);
  expect(runsOf(ENDS).toSorted()).toEqual(runsOf(["run.queued"]).toSorted());
  expect(events.at(-1)?.event).toBe("session.closed");
}

test("a message that is on its way into the log when the session is deleted: its run ends before the log does", async () => {
  const scene = await stage();
  const release = scene.faults.hold();
  const sent = scene.connect().request("chat.send", { session_id: "s", message: "hi" });
  await until(() => scene.faults.groups.at(-1)?.some(queues) === true);
  const deleted = scene.connect().request("session.delete", { session_id: "s" });
  await new Promise((resolve) => setImmediate(resolve));
  release();
  expect(await sent).toMatchObject({ status: "started" });
  await deleted;
  await until(() => scene.watcher.frames().some(({ event }) => event === "session.unsubscribed"));
  await scene.engine.runs.settled();
  closedWell(scene.watcher);
  await scene.close();
});

test("messages that keep coming while the session's runs are ended do not hold its deletion up", async () => {
  const scene = await stage(async function* (_request, signal) {
    yield { type: "text", text: "so far" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    yield { type: "aborted" };
  });
  const sockets = Array.from({ length: 4 }, () => scene.connect());
  let isDeleted = false;
  const flood = sockets.map(async (socket) => {
    const answers: unknown[] = [];
    while (!isDeleted) {
      const answer = await socket
        .request("chat.send", { session_id: "s", message: "hi", subscribe: false })
        .catch((error: { reason: string }) => error.reason);
      if (typeof answer === "string") answers.push(answer);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return answers;
  });
  await until(() => scene.watcher.events().length > 4);
  await scene.connect().request("session.delete", { session_id: "s" });
  isDeleted = true;
  const refusals = (await Promise.all(flood)).flat();
  for (const refusal of refusals) expect(["CONFLICT", "GONE"]).toContain(refusal as string);
  await until(() => scene.watcher.frames().some(({ event }) => event === "session.unsubscribed"));
  await scene.engine.runs.settled();
  closedWell(scene.watcher);
  await scene.close();
});

test("a deletion that storage refuses leaves the session as it was", async () => {
  const scene = await stage();
  scene.faults.failItem(has("session.closed"), { ok: false, reason: "full" });
  await expect(scene.connect().request("session.delete", { session_id: "s" })).rejects.toMatchObject({
    reason: "CONFLICT",
  });
  await scene.watcher.request("chat.send", { session_id: "s", message: "hi" });
  await scene.engine.runs.settled();
  expect(scene.watcher.events().at(-1)?.event).toBe("run.completed");
  await scene.close();
});

test("while storage refuses, a deletion is refused at once and ends nothing", async () => {
  const scene = await stage(async function* (_request, signal) {
    yield { type: "text", text: "so far" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    yield { type: "aborted" };
  });
  await scene.watcher.request("chat.send", { session_id: "s", message: "hi" });
  await until(() => scene.watcher.events().some(({ event }) => event === "message.delta"));
  scene.faults.outage("full");
  await scene.watcher.request("chat.inject", { session_id: "s", role: "user", content: "x" }).catch(() => 0);
  await expect(scene.connect().request("session.delete", { session_id: "s" })).rejects.toMatchObject({
    reason: "UNAVAILABLE",
  });
  expect(scene.engine.runs.of(scene.id).map((run) => run.run.status)).toEqual(["running"]);
  scene.faults.outage(null);
  await scene.close();
});

test("chat.abort right behind chat.send on one connection ends the run of that message", async () => {
  const scene = await stage(async function* (_request, signal) {
    yield { type: "text", text: "so far" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    yield { type: "aborted" };
  });
  const socket = scene.connect();
  const sent = socket.request("chat.send", { session_id: "s", message: "hi" });
  const stopped = await socket.request("chat.abort", { session_id: "s" });
  expect(stopped).toEqual({ run_ids: [(await sent)["run_id"]], status: "aborted" });
  await scene.engine.runs.settled();
  await scene.close();
});

test("a subscription that is being opened while the session is deleted is refused, and holds nothing", async () => {
  for (const resume of [true, false]) {
    const scene = await stage();
    // Cold for the one who comes: its tail has to be loaded behind what is held.
    const release = scene.faults.hold();
    const deleted = scene.watcher.request("session.delete", { session_id: "s" });
    await until(() => scene.faults.groups.at(-1)?.some(has("session.closed")) === true);
    const late = scene.connect();
    const params = { session_id: "s", ...(resume && { after: 0, catch_up: "log" }) };
    const opened = late
      .request("session.subscribe", params)
      .catch((error: { reason: string }) => error.reason);
    release();
    await deleted;
    expect(["GONE", "NOT_FOUND"]).toContain((await opened) as string);
    await until(() => scene.watcher.frames().some(({ event }) => event === "session.unsubscribed"));
    expect(late.subscriptions.size).toBe(0);
    await scene.engine.maintenance.run();
    await until(() => scene.engine.journal.tails.size === 0, "its tail is dropped");
    await scene.close();
  }
});
