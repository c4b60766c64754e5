import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import type { Person } from "../gateway/stack.ts";
import { refusal } from "../gateway/stack.ts";
import { hasPostgres } from "../support/postgres.ts";
import type { Nodes } from "./nodes.ts";
import { startNodes, within } from "./nodes.ts";

setDefaultTimeout(120_000);
/** What is promised within a second may take five on a busy machine. */
const SOON_MS = 5_000;

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
type Json = any;

/** What a method answers once every node has answered in time: on a busy machine a second may be too short. */
function whole(person: Person, method: string, params: Record<string, unknown> = {}): Promise<Json> {
  return within(
    () => person.call(method, params),
    ({ incomplete }) => incomplete === undefined,
    4_000,
  );
}

/** Sends until every node has said in time how many it reached. */
function delivered(
  person: Person,
  method: string,
  params: Record<string, unknown>,
  count: number,
): Promise<Json> {
  return within(
    () => person.call(method, params),
    (answer) => answer.delivered === count,
    4_000,
  );
}

/** What the node a socket is at calls itself. */
function greetedBy({ frames }: TestSocket): string {
  return frames.map(({ json }) => json.payload?.server_info?.node_id).find((id) => id !== undefined);
}

function signals(socket: TestSocket, event: string): Json[] {
  return socket.frames.map(({ json }) => json).filter((frame) => frame.event === event);
}

describe.skipIf(!hasPostgres)("connections of several nodes", () => {
  let nodes: Nodes;
  let a: Person;
  let b: Person;
  beforeAll(async () => {
    nodes = await startNodes();
    [a, b] = [nodes.node(0).owner, nodes.node(1).owner];
    // Every node knows the other by then.
    await whole(b, "client.list");
  });
  afterAll(() => nodes[Symbol.asyncDispose]());

  test("client.list and presence.list tell those of all nodes, and at which they are", async () => {
    await using here = await a.connect({ client_id: "at-a", platform: "web" });
    await using there = await b.connect({ client_id: "at-b", platform: "web" });
    expect([here, there].map(greetedBy)).toEqual(["a", "b"]);
    await here.request("session.create", { session_id: "seen" });
    await here.request("session.subscribe", { session_id: "seen" });
    await there.request("session.subscribe", { session_id: "seen" });
    for (const person of [a, b]) {
      const { clients } = await whole(person, "client.list");
      expect(clients.map(({ client_id, node }: Json) => [client_id, node]).toSorted() as unknown).toEqual([
        ["at-a", "a"],
        ["at-b", "b"],
      ]);
      const { watchers } = await whole(person, "presence.list", { session_id: "seen" });
      expect(watchers.map(({ client_id, node }: Json) => [client_id, node]).toSorted() as unknown).toEqual([
        ["at-a", "a"],
        ["at-b", "b"],
      ]);
    }
  });

  test("who comes and goes at one node is told at the other", async () => {
    await using here = await a.connect({ client_id: "watches" });
    await here.request("session.create", { session_id: "presence" });
    await here.request("session.subscribe", { session_id: "presence" });
    const told = (state: string, session_id?: string) =>
      here.next(
        ({ json }) =>
          json.event === "presence.updated" &&
          json.payload.client_id === "comes" &&
          json.payload.state === state &&
          json.payload.session_id === session_id,
        SOON_MS,
      );
    const there = await b.connect({ client_id: "comes" });
    await told("joined");
    await there.request("session.subscribe", { session_id: "presence" });
    await told("joined", "presence");
    await there.request("session.unsubscribe", { session_id: "presence" });
    await told("left", "presence");
    there.close();
    await told("left");
  });

  test("a storm of readers is told within bounds, and presence.list has all of them", async () => {
    await using here = await a.connect({ client_id: "watches" });
    await here.request("session.create", { session_id: "storm" });
    await here.request("session.subscribe", { session_id: "storm" });
    const heard: string[] = [];
    await nodes.sql.listen("agentbus_peers", (payload) => void heard.push(payload));
    const sockets = await Promise.all(
      Array.from({ length: 150 }, (_, n) => b.connect({ client_id: `s${n}` })),
    );
    await Promise.all(sockets.map((each) => each.request("session.subscribe", { session_id: "storm" })));
    const { watchers } = await whole(a, "presence.list", { session_id: "storm" });
    expect(watchers).toHaveLength(151);
    // 300 comings, and what was asked.
    expect(heard.length).toBeLessThan(150);
    await here.next(
      ({ json }) => json.event === "presence.updated" && json.payload.session_id === "storm",
      SOON_MS,
    );
    for (const socket of sockets) socket.close();
    await within(
      () => a.call("presence.list", { session_id: "storm" }),
      ({ watchers: left, incomplete }) => left.length === 1 && incomplete === undefined,
    );
  });

  test("client.disconnect closes a connection of whichever node", async () => {
    await within(
      async () => {
        const there = await b.connect({ client_id: "goes" });
        const { clients } = await whole(a, "client.list");
        const { connection_id } = clients.find(({ client_id }: Json) => client_id === "goes");
        const answer = await a.call("client.disconnect", { connection_id, reason: "enough" });
        // What the other node did not hear in time it may never have heard: then it is asked again.
        if (answer.disconnected === true)
          expect(await there.closed).toEqual({ code: 4003, reason: "FORBIDDEN: enough" });
        else there.close();
        return answer;
      },
      ({ disconnected, incomplete }) => disconnected === true && incomplete === undefined,
      4_000,
    );
    expect(await whole(a, "client.disconnect", { connection_id: "con_none" })).toEqual({
      disconnected: false,
    });
  });

  test("a broadcast reaches whom it is for at every node, and is sent once for a key", async () => {
    await using here = await a.connect({ client_id: "here", platform: "web", capabilities: ["toast"] });
    await using there = await b.connect({ client_id: "there", platform: "web", capabilities: ["toast"] });
    await using quiet = await b.connect({ client_id: "quiet", platform: "tv" });
    await here.request("session.create", { session_id: "room" });
    await there.request("session.subscribe", { session_id: "room" });
    const text = "☃".repeat(4_000);
    await delivered(
      a,
      "event.broadcast",
      { event: "app.all", payload: { text }, filter: { capability: "toast" } },
      2,
    );
    for (const socket of [here, there])
      expect((await socket.nextEvent("app.all", SOON_MS)).json.payload).toEqual({ text });
    await delivered(
      a,
      "event.broadcast",
      { event: "app.room", payload: {}, filter: { session_id: "room" } },
      1,
    );
    await there.nextEvent("app.room", SOON_MS);
    const keyed = {
      event: "app.once",
      payload: { n: 1 },
      filter: { platform: "web" },
      idempotency_key: "bc",
    };
    const [one, two] = await Promise.all([
      a.call("event.broadcast", keyed),
      b.call("event.broadcast", keyed),
    ]);
    expect(two).toEqual(one);
    await Promise.all([here.nextEvent("app.once", SOON_MS), there.nextEvent("app.once", SOON_MS)]);
    await b.call("event.broadcast", { event: "app.end", payload: {} });
    await Promise.all([here, there, quiet].map((each) => each.nextEvent("app.end", SOON_MS)));
    expect([here, there].map((socket) => signals(socket, "app.once").length)).toEqual([1, 1]);
    expect(
      quiet.frames.filter(({ json }) => json.type === "event").map(({ json }) => json.event),
    ).not.toContain("app.all");
  });

  test("event.send reaches the followers at every node; a durable one is in the log once", async () => {
    const { session_id } = await a.call("session.create", { session_id: "said" });
    await using here = await a.connect({});
    await using there = await b.connect({});
    for (const socket of [here, there]) await socket.request("session.subscribe", { session_id });
    await delivered(b, "event.send", { session_id, event: "app.now", payload: { n: 1 } }, 2);
    for (const socket of [here, there])
      expect((await socket.nextEvent("app.now", SOON_MS)).json).toMatchObject({
        session_id,
        payload: { n: 1 },
      });
    const keyed = { session_id, event: "app.key", payload: {}, idempotency_key: "send" };
    const once = await b.call("event.send", keyed);
    expect(await a.call("event.send", keyed)).toEqual(once);
    // The node that has the session writes it, whichever is asked.
    const durable = { session_id, event: "app.kept", payload: { n: 2 }, durable: true };
    const first = await b.call("event.send", { ...durable, idempotency_key: "kept" });
    expect(first).toEqual({ seq: expect.any(Number) });
    expect(await a.call("event.send", { ...durable, idempotency_key: "kept" })).toEqual(first);
    const second = await b.call("event.send", durable);
    expect(second.seq).toBe(first.seq + 1);
    for (const socket of [here, there]) {
      await socket.next(({ json }) => json.seq === second.seq, SOON_MS);
      expect(signals(socket, "app.kept").map(({ seq }) => seq)).toEqual([first.seq, second.seq]);
      expect(signals(socket, "app.key")).toHaveLength(1);
    }
  });

  test("somebody a session is shared with is told under their name of it, and who may not read it nothing", async () => {
    const people = await Promise.all(
      ["ann", "eve"].map(async (user) => {
        const { token } = await a.call("token.create", { name: user, user, role: "user" });
        return nodes.node(1).person(token);
      }),
    );
    const [ann, eve] = people as [Person, Person];
    await a.call("session.create", { session_id: "shared" });
    await a.call("session.share", { session_id: "shared", user: "ann", role: "viewer" });
    const { sessions } = await within(
      () => ann.call("session.list"),
      (answer) => answer.sessions.length === 1,
    );
    const { session_id } = sessions[0];
    await using hers = await ann.connect({});
    await using others = await eve.connect({});
    await hers.request("session.subscribe", { session_id });
    await a.call("event.send", { session_id: "shared", event: "app.hers", payload: { n: 1 } });
    expect((await hers.nextEvent("app.hers", SOON_MS)).json).toMatchObject({ session_id, payload: { n: 1 } });
    const { watchers } = await whole(a, "presence.list", { session_id: "shared" });
    expect(watchers).toMatchObject([{ user: "ann", node: "b" }]);
    expect(await refusal(eve.call("presence.list", { session_id }))).toMatchObject({ code: "NOT_FOUND" });
    await a.call("session.update", { session_id: "shared", title: "Ours" });
    const { json } = await hers.next(
      (frame) => frame.json.event === "session.changed" && frame.json.payload.title === "Ours",
      SOON_MS,
    );
    expect(json.payload.session_id).toBe(session_id);
    await others.request("heartbeat");
    const told = others.frames.map(({ json: frame }) => frame.event);
    expect(told.filter((event) => event === "app.hers" || event === "session.changed")).toEqual([]);
  });

  test("of a node that stops everybody is told that its connections left, however many there are", async () => {
    const third = await nodes.add();
    await using here = await a.connect({ client_id: "watches" });
    await whole(a, "client.list");
    const count = 130;
    for (let n = 0; n < count; n++) await third.owner.connect({ client_id: "stops" });
    const told = (state: string): number => {
      const of = signals(here, "presence.updated").map(({ payload }) => payload);
      return of.filter((each) => each.client_id === "stops" && each.state === state).length;
    };
    await within(
      () => told("joined"),
      (joined) => joined === count,
      4_000,
    );
    expect(await third.stop()).toBe(0);
    await within(
      () => told("left"),
      (left) => left === count,
      4_000,
    );
  });

  test("a node that does not answer is missing for a second, which the answer says", async () => {
    await using here = await a.connect({ client_id: "still-here" });
    await here.request("session.create", { session_id: "paused" });
    nodes.node(1).pause();
    try {
      const { clients, incomplete } = await a.call("client.list");
      expect(incomplete).toBe(true);
      expect(clients.map(({ client_id }: Json) => client_id)).toContain("still-here");
      expect(await a.call("presence.list", { session_id: "paused" })).toEqual({
        watchers: [],
        incomplete: true,
      });
      expect(await a.call("client.disconnect", { connection_id: "con_there" })).toEqual({
        disconnected: false,
        incomplete: true,
      });
      expect(await a.call("event.broadcast", { event: "app.still", payload: {} })).toEqual({ delivered: 1 });
    } finally {
      nodes.node(1).resume();
    }
    await whole(a, "client.list");
  });
});
