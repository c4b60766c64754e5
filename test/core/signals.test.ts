import { afterEach, beforeEach, expect, test } from "bun:test";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { FakeConnection, ReceivedFrame, TestEngine } from "../support/engine.ts";
import { startEngine } from "../support/engine.ts";

let clock: ManualClock;
let scene: TestEngine;
beforeEach(async () => {
  clock = manualClock();
  scene = await startEngine({ clock });
});
afterEach(async () => {
  const closed = scene.close();
  clock.advance(10_000);
  await closed;
});

const inject = (socket: FakeConnection, content = "x") =>
  socket.request("chat.inject", { session_id: "s", role: "user", content });

const signals = (socket: FakeConnection, type: string): ReceivedFrame[] =>
  socket.frames().filter(({ event }) => event === type);

test("session.changed comes once a second at the most, with the latest state, and leaves nothing behind", async () => {
  const ann = scene.connect("ann");
  // What is indexed at a start is.
  clock.advance(1_000);
  const idle = clock.pending;
  await ann.request("session.create", { session_id: "s" });
  expect(signals(ann, "session.changed")).toEqual([]);
  clock.advance(0);
  expect(signals(ann, "session.changed").map(({ payload }) => payload["head"])).toEqual([1]);
  for (let i = 0; i < 30; i++) {
    await inject(ann);
    clock.advance(100);
  }
  const heads = signals(ann, "session.changed").map(({ payload }) => payload["head"]);
  expect(heads).toEqual([1, 11, 21, 31]);
  clock.advance(5_000);
  expect(signals(ann, "session.changed")).toHaveLength(4);
  expect(clock.pending).toBe(idle);
});

test("session.changed is encoded and published once for all of a user's connections, and for nobody when they are gone", async () => {
  const connections = ["ann", "ann", "ann"].map((user) => scene.connect(user));
  const published: string[] = [];
  scene.engine.hub.addListener({
    publish: (topic, { type }) => void (type === "session.changed" && published.push(topic)),
  });
  const [first] = connections as [FakeConnection];
  await first.request("session.create", { session_id: "s" });
  clock.advance(0);
  expect(published).toEqual(["u:ann"]);
  expect(connections.map((each) => signals(each, "session.changed").length)).toEqual([1, 1, 1]);
  expect(scene.engine.hub.followers("u:ann")).toBe(3);
  for (const each of connections) each.close();
  expect(scene.engine.hub.followers("u:ann")).toBe(0);
});

test("sessions that change all the time are told of together, so that many of them are few writes", async () => {
  const ann = scene.connect("ann");
  const names = Array.from({ length: 10 }, (_, i) => `s${i}`);
  const touch = (session_id: string) =>
    ann.request("chat.inject", { session_id, role: "user", content: "x" });
  for (const session_id of names) {
    await ann.request("session.create", { session_id });
    clock.advance(7);
  }
  for (const session_id of names) await touch(session_id);
  const before = ann.frames().length;
  const moments = new Set<number>();
  for (let ms = 0; ms < 1_100; ms++) {
    const sent = signals(ann, "session.changed").length;
    clock.advance(1);
    if (signals(ann, "session.changed").length > sent) moments.add(ms);
  }
  const told = ann.frames().slice(before);
  expect(new Set(told.map(({ session_id }) => session_id)).size).toBe(10);
  expect(told).toHaveLength(10);
  expect(moments.size).toBeLessThanOrEqual(3);
});

test("session.changed reaches every connection of those who may read, under their name for it, and nobody else", async () => {
  const [ann, ann2, bob, eve] = ["ann", "ann", "bob", "eve"].map((user) => scene.connect(user)) as [
    FakeConnection,
    FakeConnection,
    FakeConnection,
    FakeConnection,
  ];
  await ann.request("session.create", { session_id: "s" });
  await ann.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  clock.advance(0);
  expect(signals(ann, "session.changed").map(({ session_id }) => session_id)).toEqual(["s"]);
  expect(signals(ann2, "session.changed")).toEqual(signals(ann, "session.changed"));
  const [told] = signals(bob, "session.changed");
  expect(told?.session_id).toStartWith("ses_");
  expect(told?.payload["session_id"]).toBe(told?.session_id as string);
  await ann.request("session.unshare", { session_id: "s", user: "bob" });
  await inject(ann);
  clock.advance(2_000);
  expect(signals(ann, "session.changed")).toHaveLength(2);
  expect(signals(bob, "session.changed")).toHaveLength(1);
  expect(signals(eve, "session.changed")).toEqual([]);
});

test("the last session.changed of a deleted session says so, to all who could read it", async () => {
  const [ann, bob] = [scene.connect("ann"), scene.connect("bob")];
  await ann.request("session.create", { session_id: "s" });
  await ann.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  clock.advance(2_000);
  await ann.request("session.delete", { session_id: "s" });
  clock.advance(2_000);
  for (const socket of [ann, bob]) {
    const deleted = signals(socket, "session.changed").map(({ payload }) => payload["deleted"]);
    expect(deleted).toEqual([undefined, true]);
  }
});

test("presence tells watchers and those who manage clients, twenty times a second at the most, and in the end how it is", async () => {
  const ann = scene.connect("ann");
  await ann.request("session.create", { session_id: "s" });
  await ann.request("session.subscribe", { session_id: "s" });
  clock.advance(1_000);
  const before = signals(ann, "presence.updated").length;
  const told = () => signals(ann, "presence.updated").slice(before);
  const idle = clock.pending;
  const others = Array.from({ length: 50 }, () => scene.connect("ann"));
  for (const other of others) await other.request("session.subscribe", { session_id: "s" });
  expect(told()).toHaveLength(20);
  // What nobody was told of yet, and what everybody was.
  const gone = [others[49], others[0]];
  for (const each of gone) each?.close();
  expect(told()).toHaveLength(20);
  clock.advance(1_000);
  expect(told()).toHaveLength(40);
  clock.advance(10_000);
  expect(told()).toHaveLength(51);
  const last = new Map(told().map(({ payload }) => [payload["connection_id"], payload["state"]]));
  const states = others.map(({ id }) => last.get(id));
  expect(states).toEqual(others.map((other) => (gone.includes(other) ? "left" : "joined")));
  expect(clock.pending).toBe(idle);
  others[1]?.close();
  expect(told().at(-1)).toMatchObject({
    session_id: "s",
    payload: { connection_id: others[1]?.id as string, state: "left", session_id: "s", user: "ann" },
  });
  const { watchers } = await ann.request<{ watchers: unknown[] }>("presence.list", { session_id: "s" });
  expect(watchers).toHaveLength(48);
});
