import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { FakeConnection } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** What is under way when a grant is taken back: it does and tells no more than if it had come after. */

/** Ann's session "s", shared with Bob, who may write; reads wait while `slow.gate` is set. */
async function stage(kinds: readonly (keyof Store)[], more: Partial<Limits> = {}) {
  const limits = { ...DEFAULT_LIMITS, ...more };
  const memory = createMemoryStore({ clock: systemClock, limits });
  const slow: { gate: Promise<void> | null; waiting: number } = { gate: null, waiting: 0 };
  const waits = (kind: keyof Store) => {
    const read = memory[kind] as (...args: unknown[]) => Promise<unknown>;
    return async (...args: unknown[]): Promise<unknown> => {
      const result = await read(...args);
      slow.waiting++;
      await slow.gate;
      slow.waiting--;
      return result;
    };
  };
  const { store, faults } = withFaults({
    ...memory,
    ...Object.fromEntries(kinds.map((kind) => [kind, waits(kind)])),
  });
  const scene = await startEngine({ store, limits: more });
  const ann = scene.connect("ann");
  const bob = scene.connect("bob");
  await ann.request("session.create", { session_id: "s", title: "before" });
  await ann.request("session.share", { session_id: "s", user: "bob", role: "editor" });
  const { sessions } = await bob.request<{ sessions: { session_id: string }[] }>("session.list");
  const id = sessions[0]?.session_id ?? "";
  const unshare = () => ann.request("session.unshare", { session_id: "s", user: "bob" });
  const demote = () => ann.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  return { ...scene, ann, bob, id, faults, slow, unshare, demote };
}

type Stage = Awaited<ReturnType<typeof stage>>;

/** Bob asks, waits for a read, and meanwhile something is done; what he is answered. */
async function meanwhile(
  { slow, bob }: Stage,
  [method, params]: readonly [string, Record<string, unknown>],
  work: () => Promise<unknown>,
): Promise<unknown> {
  const gate = Promise.withResolvers<void>();
  slow.gate = gate.promise;
  const asked = bob.request(method, params).catch((error: { reason: string }) => error.reason);
  await until(() => slow.waiting > 0, `${method} reads`);
  await work();
  gate.resolve();
  slow.gate = null;
  return asked;
}

test("a history that is being read is not told", async () => {
  const scene = await stage(["history"]);
  await scene.ann.request("chat.inject", { session_id: "s", role: "user", content: "hers" });
  const asked = ["chat.history", { session_id: scene.id }] as const;
  expect(await meanwhile(scene, asked, scene.unshare)).toBe("NOT_FOUND");
  await scene.close();
});

test("a list of runs that is being read leaves them out", async () => {
  const scene = await stage(["runs"]);
  await scene.ann.request("chat.send", { session_id: "s", message: "hers" });
  await scene.engine.runs.settled();
  expect(await meanwhile(scene, ["run.list", {}], scene.unshare)).toEqual({ runs: [] });
  await scene.close();
});

test("a list of sessions that is being read leaves it out", async () => {
  const scene = await stage(["sessions"]);
  expect(await meanwhile(scene, ["session.list", {}], scene.unshare)).toEqual({ sessions: [] });
  await scene.close();
});

test("a change that waits for another one of the same session is not made", async () => {
  for (const [take, refused] of [
    ["unshare", "NOT_FOUND"],
    ["demote", "FORBIDDEN"],
  ] as const) {
    const scene = await stage([]);
    const release = scene.faults.hold();
    const first = scene.ann.request("session.update", { session_id: "s", title: "hers" });
    await until(() => scene.faults.groups.at(-1)?.length === 1, "the first is being written");
    const taken = scene[take]();
    const asked = scene.bob.request("session.update", { session_id: scene.id, title: "his" });
    const outcome = asked.then(
      () => "changed",
      (error: { reason: string }) => error.reason,
    );
    await until(() => scene.engine.journal.queue_length > 0, "the share is about to be taken back");
    release();
    await Promise.all([first, taken]);
    // He came before it was taken back, and was to be second: either is right, but not a change after it.
    const after = await outcome;
    const { title } = await scene.ann.request<{ title: string }>("session.get", { session_id: "s" });
    expect([after, title]).toEqual([refused, "hers"]);
    await scene.close();
  }
});

test("an abort that waits for what is on its way into the log aborts nothing", async () => {
  const scene = await stage([]);
  const release = scene.faults.hold();
  // One that holds the group in flight, so that the share goes before the message in the queue.
  const held = scene.ann.request("session.create", { session_id: "other" });
  await until(() => scene.faults.groups.at(-1)?.length === 1, "a group is held");
  const taken = scene.unshare();
  await until(() => scene.engine.journal.queue_length > 0, "the share is queued");
  const sent = scene
    .connect("ann")
    .request<{ run_id: string }>("chat.send", { session_id: "s", message: "go" });
  await until(() => scene.engine.journal.queue_length > 1, "the message is queued");
  const aborted = scene.bob.request("chat.abort", { session_id: scene.id }).then(
    () => "aborted",
    (error: { reason: string }) => error.reason,
  );
  release();
  await Promise.all([held, taken]);
  const { run_id } = await sent;
  expect(await aborted).toBe("NOT_FOUND");
  await scene.engine.runs.settled();
  expect(await scene.ann.request("run.get", { run_id })).toMatchObject({ status: "completed" });
  await scene.close();
});

test("a fork that is being copied is given up, and nothing is left of it", async () => {
  const scene = await stage([], { maintenance_rows: 5 });
  for (let i = 0; i < 40; i++) {
    await scene.ann.request("chat.inject", { session_id: "s", role: "user", content: `${i}` });
  }
  const release = scene.faults.hold();
  const forked = scene.bob.request("session.fork", { session_id: scene.id }).then(
    () => "forked",
    (error: { reason: string }) => error.reason,
  );
  await until(() => scene.faults.groups.at(-1)?.some(({ kind }) => kind === "copy") === true, "it is copied");
  const taken = scene.unshare();
  await until(() => scene.engine.journal.queue_length > 0, "the share is queued");
  release();
  await taken;
  expect(await forked).toBe("NOT_FOUND");
  await scene.engine.journal.drained();
  expect(await scene.bob.request("session.list")).toEqual({ sessions: [] });
  await until(() => scene.engine.journal.queue_length === 0);
  expect((await scene.store.owners()).map(({ user }) => user)).toEqual(["ann"]);
  await scene.close();
});

/** Bob follows a log whose peer takes nothing, so that catching up waits. */
async function following(scene: Stage): Promise<FakeConnection> {
  for (let i = 0; i < 200; i++) {
    await scene.ann.request("chat.inject", {
      session_id: "s",
      role: "user",
      content: `${i} ${"x".repeat(2_000)}`,
    });
  }
  const reader = scene.connect("bob");
  const { epoch } = await reader.request<{ epoch: string }>("session.get", { session_id: scene.id });
  const { send } = reader;
  // The peer takes nothing until it is told to.
  reader.send = (frame) => {
    reader.pending += frame.text.length;
    send.call(reader, frame);
  };
  await reader.request("session.subscribe", { session_id: scene.id, epoch, after: 0, catch_up: "log" });
  return reader;
}

test("who is catching up page by page gets no further page, and is told why", async () => {
  const scene = await stage([]);
  const reader = await following(scene);
  const before = reader.events().length;
  expect(before).toBeGreaterThan(0);
  expect(before).toBeLessThan(200);
  await scene.unshare();
  reader.drain();
  await scene.ann.request("chat.inject", { session_id: "s", role: "user", content: "not for him" });
  await reader.request("system.info");
  expect(reader.events().length).toBe(before);
  const told = reader.frames().filter(({ event }) => event === "session.unsubscribed");
  expect(told.map(({ payload }) => payload)).toEqual([{ session_id: scene.id, reason: "revoked" }]);
  expect(reader.subscriptions.size).toBe(0);
  await scene.close();
});

test("nothing of a session reaches those it was taken from: no event, no change, no presence, no signal", async () => {
  const scene = await stage([]);
  const { ann, bob, id } = scene;
  await bob.request("session.subscribe", { session_id: id });
  await ann.request("session.subscribe", { session_id: "s" });
  await scene.unshare();
  const from = bob.sent.length;
  await ann.request("event.send", { session_id: "s", event: "app.x", payload: { a: 1 } });
  await ann.request("chat.send", { session_id: "s", message: "hers" });
  await scene.engine.runs.settled();
  // Another who comes and goes, and a later session.changed of Ann's, which is made for all readers at once.
  await scene.connect("ann").request("session.subscribe", { session_id: "s" });
  await until(
    () =>
      ann.frames().some(({ event, payload }) => event === "session.changed" && Number(payload["head"]) > 4),
    "Ann is told of the change",
  );
  const seen = bob
    .frames()
    .slice(from)
    .filter((frame) => JSON.stringify(frame).includes(id));
  // But who manages clients, as Bob does here, sees who follows what.
  expect(seen.filter(({ event }) => event !== "presence.updated")).toEqual([]);
  await scene.close();
});
