import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Limits } from "../../src/core/limits.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** Ann's session "s", shared with Bob, who may write; reads of one kind wait while `slow` is set. */
async function stage(more: Partial<Limits> = {}) {
  const limits = { ...DEFAULT_LIMITS, ...more };
  const memory = createMemoryStore({ clock: systemClock, limits });
  const slow: { gate: Promise<void> | null } = { gate: null };
  const late: Store = {
    ...memory,
    snapshot: async (...args) => {
      await slow.gate;
      return memory.snapshot(...args);
    },
    session: async (...args) => {
      await slow.gate;
      return memory.session(...args);
    },
  };
  const { store, faults } = withFaults(late);
  const scene = await startEngine({ store, limits });
  const ann = scene.connect("ann");
  const bob = scene.connect("bob");
  await ann.request("session.create", { session_id: "s" });
  await ann.request("session.share", { session_id: "s", user: "bob", role: "editor" });
  const { sessions } = await bob.request<{ sessions: { session_id: string }[] }>("session.list");
  const id = sessions[0]?.session_id ?? "";
  const unshare = () => ann.request("session.unshare", { session_id: "s", user: "bob" });
  return { ...scene, ann, bob, id, faults, slow, unshare };
}

const has = (type: string) => (item: StoreItem) =>
  item.kind === "append" && item.events.some((event) => event.type === type);

test("a share that is taken back while a subscription is being opened leaves none behind", async () => {
  for (const cursor of [{}, { epoch: "", after: 1 }]) {
    const scene = await stage();
    const { epoch } = await scene.ann.request<{ epoch: string }>("session.get", { session_id: "s" });
    const gate = Promise.withResolvers<void>();
    scene.slow.gate = gate.promise;
    // The one waits for a snapshot; the other is ahead of the tail, so that the store is asked whether it is lost.
    const params = { session_id: scene.id, ...(cursor.after !== undefined && { epoch, after: 99 }) };
    const opened = scene.bob.request("session.subscribe", params);
    opened.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    await scene.unshare();
    gate.resolve();
    await expect(opened).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect(scene.bob.subscriptions.size).toBe(0);
    await scene.close();
  }
});

test("a share that is taken back while its user's message is being written does not end in a subscription", async () => {
  const scene = await stage();
  const release = scene.faults.hold();
  const unshared = scene.unshare();
  await until(() => scene.faults.groups.at(-1)?.some((item) => item.kind === "append") === true);
  const sent = scene.bob.request("chat.send", { session_id: scene.id, message: "hi" });
  await until(() => scene.engine.journal.queue_length > 0);
  release();
  await unshared;
  expect(await sent).toMatchObject({ subscribed: false });
  await scene.engine.runs.settled();
  expect(scene.bob.subscriptions.size).toBe(0);
  expect(scene.bob.events()).toEqual([]);
  await scene.close();
});

test("a repeated request of somebody it is not shared with any more reads NOT_FOUND, and follows nothing", async () => {
  const scene = await stage();
  const send = { session_id: scene.id, message: "hi", idempotency_key: "k1" };
  const inject = { session_id: scene.id, role: "user", content: "hi", idempotency_key: "k2" };
  await scene.bob.request("chat.send", send);
  await scene.bob.request("chat.inject", inject);
  await scene.engine.runs.settled();
  await scene.unshare();
  const again = scene.connect("bob");
  await expect(again.request("chat.send", send)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  await expect(again.request("chat.inject", inject)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  expect(again.subscriptions.size).toBe(0);
  await scene.close();
});

test("what was done in a deleted session is GONE for its owner and NOT_FOUND for everybody else", async () => {
  const scene = await stage();
  const create = { session_id: "mine", idempotency_key: "k0" };
  await scene.bob.request("session.create", create);
  const send = { session_id: scene.id, message: "hi", idempotency_key: "k1" };
  const own = { session_id: "s", message: "hi", idempotency_key: "k1" };
  await scene.bob.request("chat.send", send);
  await scene.ann.request("chat.send", own);
  await scene.engine.runs.settled();
  await scene.ann.request("session.delete", { session_id: "s" });
  await scene.bob.request("session.delete", { session_id: "mine" });
  await expect(scene.bob.request("chat.send", send)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  await expect(scene.ann.request("chat.send", own)).rejects.toMatchObject({ reason: "GONE" });
  await expect(scene.bob.request("session.create", create)).rejects.toMatchObject({ reason: "GONE" });
  await scene.close();
});

test("a message that is behind the deletion of its session is GONE for the owner and NOT_FOUND for others", async () => {
  const scene = await stage();
  const release = scene.faults.hold();
  const deleted = scene.ann.request("session.delete", { session_id: "s" });
  await until(() => scene.faults.groups.at(-1)?.some(has("session.closed")) === true);
  const inject = { role: "user", content: "x" };
  const own = scene.connect("ann").request("chat.inject", { session_id: "s", ...inject });
  const other = scene.bob.request("chat.inject", { session_id: scene.id, ...inject });
  for (const each of [own, other]) each.catch(() => undefined);
  await until(() => scene.engine.journal.queue_length === 2);
  release();
  await deleted;
  await expect(own).rejects.toMatchObject({ reason: "GONE" });
  await expect(other).rejects.toMatchObject({ reason: "NOT_FOUND" });
  await scene.close();
});

test("a run that is waited for is told to nobody who may not read it any more", async () => {
  const scene = await stage();
  const release = scene.faults.hold();
  const sent = scene.ann.request("chat.send", { session_id: "s", message: "hi" });
  await until(() => scene.faults.groups.at(-1)?.some(has("run.queued")) === true);
  release();
  const run_id = (await sent)["run_id"];
  const held = scene.faults.hold();
  const waited = scene.bob.request("run.wait", { run_id, timeout_ms: 20_000 });
  waited.catch(() => undefined);
  const unshared = scene.unshare();
  await until(() => scene.engine.journal.queue_length > 0);
  held();
  await unshared;
  await expect(waited).rejects.toMatchObject({ reason: "NOT_FOUND" });
  await scene.close();
});

test("subscriptions that are opened at once take no more places than there are", async () => {
  const scene = await stage({ subscriptions: 3 });
  const ids = ["a", "b", "c", "d", "e"];
  for (const session_id of ids) await scene.ann.request("session.create", { session_id });
  const socket = scene.connect("ann");
  const opened = await Promise.allSettled(
    ids.map((session_id) => socket.request("session.subscribe", { session_id })),
  );
  expect(opened.map(({ status }) => status)).toEqual([
    "fulfilled",
    "fulfilled",
    "fulfilled",
    "rejected",
    "rejected",
  ]);
  expect(socket.subscriptions.size).toBe(3);
  await scene.close();
});

test("two subscriptions of one session on one connection at once leave the one that was asked for last", async () => {
  const scene = await stage();
  const gate = Promise.withResolvers<void>();
  scene.slow.gate = gate.promise;
  const socket = scene.connect("ann");
  const first = socket.request("session.subscribe", { session_id: "s" });
  const second = socket.request("session.subscribe", { session_id: "s", after: 0 });
  const third = socket.request("session.subscribe", { session_id: "s" });
  await second;
  gate.resolve();
  await Promise.all([first, third]);
  for (let i = 0; i < 5; i++)
    await scene.ann.request("chat.inject", { session_id: "s", role: "user", content: `${i}` });
  const answers = socket.frames().map(({ type, seq }) => (type === "res" ? "res" : seq));
  const seqs = answers.slice(answers.lastIndexOf("res")).filter((each) => typeof each === "number");
  expect(seqs).toEqual([2, 3, 4, 5, 6]);
  expect(socket.subscriptions.size).toBe(1);
  await scene.ann.request("session.delete", { session_id: "s" });
  await until(() => scene.engine.journal.tails.size === 0, "its tail is dropped");
  await scene.close();
});

test("a socket that closes while its subscription is opened holds nothing", async () => {
  const scene = await stage();
  const gate = Promise.withResolvers<void>();
  scene.slow.gate = gate.promise;
  const socket = scene.connect("ann");
  const opened = socket.request("session.subscribe", { session_id: "s" });
  await new Promise((resolve) => setImmediate(resolve));
  socket.close();
  gate.resolve();
  await opened;
  expect(socket.subscriptions.size).toBe(0);
  await scene.ann.request("session.delete", { session_id: "s" });
  await until(() => scene.engine.journal.tails.size === 0, "its tail is dropped");
  await scene.close();
});

test("a session that is shared and deleted at once is shared with nobody afterwards", async () => {
  const scene = await stage();
  const release = scene.faults.hold();
  const shared = scene.ann.request("session.share", { session_id: "s", user: "eve", role: "viewer" });
  await until(() => scene.faults.groups.at(-1)?.length === 1);
  const deleted = scene.connect("ann").request("session.delete", { session_id: "s" });
  const late = scene
    .connect("ann")
    .request("session.share", { session_id: "s", user: "mal", role: "viewer" });
  late.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await Promise.all([shared, deleted]);
  await expect(late).rejects.toMatchObject({ reason: "GONE" });
  expect(scene.engine.directory.sharedWith("eve")).toEqual([]);
  expect(scene.engine.directory.sharedWith("mal")).toEqual([]);
  await until(() => scene.engine.journal.queue_length === 0);
  await scene.engine.journal.drained();
  expect(await scene.store.records("share")).toEqual([]);
  await scene.close();
});

test("a session is shared with 200 others at most, whose roles can still be changed and taken back", async () => {
  const { engine, connect, close } = await startEngine();
  const ann = connect("ann");
  await ann.request("session.create", { session_id: "s" });
  const share = (user: string, role = "viewer"): Promise<unknown> =>
    ann.request("session.share", { session_id: "s", user, role });
  for (let i = 0; i < 200; i++) await share(`user-${i}`);
  const full = { details: { kind: "full", what: "shares_per_session", limit: 200 } };
  await expect(share("one-more")).rejects.toMatchObject({ reason: "CONFLICT", ...full });
  await share("user-7", "editor");
  await ann.request("session.unshare", { session_id: "s", user: "user-8" });
  await share("one-more");
  // Those that are asked for at once, too.
  await ann.request("session.unshare", { session_id: "s", user: "one-more" });
  const [first, second] = await Promise.allSettled([share("a"), share("b")]);
  expect([first.status, second.status]).toEqual(["fulfilled", "rejected"]);
  expect(engine.directory.sharedWith("b")).toEqual([]);
  await close();
});
