import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { idle, say, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
let ann: Person;
beforeAll(async () => {
  stack = await startStack({ config: { gateway: { heartbeat_interval_secs: 1 } } });
  ({ owner } = stack);
  ann = await stack.guest({ user: "ann", role: "user" });
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

interface Signal {
  readonly ts: number;
  readonly session_id?: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
  readonly payload: any;
}

function signals(socket: TestSocket, event: string): Signal[] {
  return socket.frames.map(({ json }) => json).filter((frame) => frame.event === event);
}

describe("session.changed", () => {
  test("tells every connection of who may read it, once a second at the most, the latest state", async () => {
    await owner.call("session.create", { session_id: "busy" });
    await owner.call("session.share", { session_id: "busy", user: "ann", role: "viewer" });
    const { session_id } = (await ann.call("session.list")).sessions[0];
    const eve = await stack.guest({ user: "eve", role: "admin" });
    const blind = await stack.guest({ user: "owner", scopes: ["chat.write"] });
    const [one, two, hers, other, unable] = await Promise.all(
      [owner, owner, ann, eve, blind].map((each) => each.connect()),
    );
    if (
      one === undefined ||
      two === undefined ||
      hers === undefined ||
      other === undefined ||
      unable === undefined
    )
      throw new Error("no socket");
    stack.model.reply().tokens(250, { everyMs: 10 }).wait(1);
    const { sent } = await say(owner, { session_id: "busy", message: "go on" });
    const session = await owner.call("session.get", { session_id: "busy" });
    for (const [socket, name] of [
      [one, "busy"],
      [two, "busy"],
      [hers, session_id],
    ] as const) {
      const last = await socket.next(
        ({ json }) => json.event === "session.changed" && json.payload.head === session.head,
      );
      expect(last.json).toEqual({
        type: "event",
        event: "session.changed",
        session_id: name,
        ts: expect.any(Number),
        payload: {
          session_id: name,
          epoch: session.epoch,
          head: session.head,
          title: "",
          updated_at: session.updated_at,
          approvals: 0,
        },
      });
      const seen = signals(socket, "session.changed");
      const gaps = seen.slice(1).map(({ ts }, i) => ts - (seen[i]?.ts ?? 0));
      // Two clocks: timers do not count with the one that is shown.
      expect(Math.min(...gaps)).toBeGreaterThan(980);
      expect(seen.length).toBeWithin(3, 7);
      const heads = seen.map(({ payload }) => payload.head);
      expect(heads).toEqual(heads.toSorted((a, b) => a - b));
      const active = seen.map(({ payload }) => payload.active_run_id);
      expect(active).toContain(sent.run_id);
      expect(active.at(-1)).toBeUndefined();
    }
    for (const socket of [other, unable]) {
      await socket.request("heartbeat");
      expect(signals(socket, "session.changed")).toEqual([]);
    }
    // Nobody subscribed, so nobody reads the log itself.
    for (const socket of [one, two, hers])
      expect(socket.frames.filter(({ json }) => json.seq !== undefined)).toEqual([]);
    await Promise.all([one, two, hers, other, unable].map((socket) => socket[Symbol.asyncDispose]()));
  });

  test("comes when a session is made, changed and deleted", async () => {
    await using socket = await owner.connect();
    const next = async (passes: (payload: Signal["payload"]) => boolean): Promise<Signal["payload"]> =>
      (await socket.next(({ json }) => json.event === "session.changed" && passes(json.payload))).json
        .payload;
    const made = await owner.call("session.create", { session_id: "told", title: "one" });
    expect(await next(({ session_id }) => session_id === "told")).toMatchObject({
      epoch: made.epoch,
      head: 1,
      title: "one",
    });
    await owner.call("session.update", { session_id: "told", title: "two" });
    expect(await next(({ head }) => head === 2)).toMatchObject({ session_id: "told", title: "two" });
    await owner.call("session.delete", { session_id: "told" });
    expect(await next(({ deleted }) => deleted === true)).toMatchObject({ session_id: "told" });
  });

  test("comes when a session is forked", async () => {
    await owner.call("session.create", { session_id: "forked" });
    await using socket = await owner.connect();
    const { session_id } = await owner.call("session.fork", { session_id: "forked" });
    const told = await socket.next(
      ({ json }) => json.event === "session.changed" && json.session_id === session_id,
      2_000,
    );
    expect(told.json.payload).toMatchObject({ session_id });
  });
});

describe("presence", () => {
  test("watchers of the same session see who comes and goes; presence.list has who is there", async () => {
    await owner.call("session.create", { session_id: "room" });
    await owner.call("session.share", { session_id: "room", user: "ann", role: "viewer" });
    await using mine = await owner.connect({ client_id: "c-mine", client_name: "Mine" });
    await mine.request("session.subscribe", { session_id: "room" });
    const id = (await ann.call("session.list", { limit: 1 })).sessions[0].session_id;
    const hers = await ann.connect({ client_id: "c-hers", client_name: "Hers" });
    await hers.request("session.subscribe", { session_id: id });
    const joined = await mine.next(
      ({ json }) =>
        json.event === "presence.updated" &&
        json.payload.client_id === "c-hers" &&
        json.session_id === "room",
    );
    const who = {
      connection_id: expect.stringMatching(/^con_/),
      client_id: "c-hers",
      client_name: "Hers",
      user: "ann",
    };
    expect(joined.json.payload).toEqual({ ...who, state: "joined", session_id: "room" });
    const list = await ann.call("presence.list", { session_id: id });
    expect(list.watchers).toEqual([expect.objectContaining({ client_id: "c-mine", user: "owner" }), who]);
    await hers.request("session.unsubscribe", { session_id: id });
    expect(await hers.request("session.unsubscribe", { session_id: id })).toEqual({ unsubscribed: false });
    const left = await mine.next(
      ({ json }) => json.event === "presence.updated" && json.payload.state === "left",
    );
    expect(left.json.payload).toEqual({ ...who, state: "left", session_id: "room" });
    await hers.request("session.subscribe", { session_id: id });
    hers.close();
    await mine.next(
      ({ json }) =>
        json.event === "presence.updated" && json.payload.state === "left" && json.session_id === "room",
    );
    expect((await owner.call("presence.list", { session_id: "room" })).watchers).toHaveLength(1);
  });

  test("holders of clients.manage see every connection, others do not", async () => {
    const desk = await stack.guest({ user: "desk", role: "operator" });
    await using watching = await desk.connect();
    await using plain = await ann.connect();
    const passing = await owner.connect({ client_id: "passing" });
    const joined = await watching.next(
      ({ json }) => json.event === "presence.updated" && json.payload.client_id === "passing",
    );
    expect(joined.json.payload).toMatchObject({ user: "owner", state: "joined" });
    expect(joined.json.payload.session_id).toBeUndefined();
    const { clients } = await desk.call("client.list");
    const seen = clients.find((each: { client_id: string }) => each.client_id === "passing");
    expect(seen).toMatchObject({
      connection_id: joined.json.payload.connection_id,
      transport: "ws",
      state: "connected",
      remote: "127.0.0.1",
      user: "owner",
    });
    passing.close();
    const left = await watching.next(
      ({ json }) => json.event === "presence.updated" && json.payload.state === "left",
    );
    expect(left.json.payload).toMatchObject({ connection_id: seen.connection_id, client_id: "passing" });
    await plain.request("heartbeat");
    expect(signals(plain, "presence.updated")).toEqual([]);
  });
});

test("heartbeat names the head of every session a connection follows", async () => {
  await using socket = await owner.connect();
  const first = await owner.call("session.create", { session_id: "pulse-1" });
  const second = await owner.call("session.create", { session_id: "pulse-2" });
  await socket.request("session.subscribe", { session_id: "pulse-1" });
  await socket.request("session.subscribe", { session_id: "pulse-2" });
  await owner.call("chat.inject", { session_id: "pulse-2", role: "user", content: "x" });
  const beat = await socket.next(
    ({ json }) => json.event === "heartbeat" && Object.keys(json.payload.heads).length === 2,
  );
  expect(beat.json.payload).toEqual({
    ts: beat.json.ts,
    heads: { "pulse-1": [first.epoch, 1], "pulse-2": [second.epoch, 2] },
  });
  await socket.request("session.unsubscribe", { session_id: "pulse-1" });
  const next = await socket.next(
    ({ json }) => json.event === "heartbeat" && Object.keys(json.payload.heads).length === 1,
  );
  expect(Object.keys(next.json.payload.heads)).toEqual(["pulse-2"]);
  expect(await socket.request("heartbeat")).toEqual({ ts: expect.any(Number) });
});
