import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { definePlugin, Type } from "../../src/plugin/api.ts";
import type { Happening } from "../../src/core/observers.ts";
import { eventually } from "../gateway/stack.ts";
import type { Embedded } from "./embed.fixture.ts";
import { embed, refusedWith } from "./embed.fixture.ts";

let it: Embedded;
beforeAll(async () => {
  it = await embed();
});
afterAll(() => it[Symbol.asyncDispose]());

/** A socket that answers nothing more is idle: what was sent before this has come. */
const settled = (socket: { request(method: string): Promise<unknown> }) => socket.request("heartbeat");

describe("connections", () => {
  test("list tells who is connected, and what they may do and follow", async () => {
    const { sessionId } = await it.gateway.chat.createSession();
    await using socket = await it.connect({
      client_id: "c-1",
      client_name: "List",
      platform: "web",
      capabilities: ["chat"],
    });
    await socket.request("session.subscribe", { session_id: sessionId });
    const [connection, ...others] = it.gateway.connections.list();
    expect(others).toEqual([]);
    expect(connection).toMatchObject({
      connection_id: expect.stringMatching(/^con_/),
      client_id: "c-1",
      client_name: "List",
      platform: "web",
      user: "owner",
      transport: "ws",
      state: "connected",
      scopes: expect.arrayContaining(["admin"]),
      sessions: [sessionId],
    });
    await using twin = await it.connect({ client_id: "c-1" });
    await settled(twin);
    expect(it.gateway.status()).toMatchObject({ connections: 2, clients: 1 });
  });

  test("disconnect closes one, and says whether there was one", async () => {
    await using socket = await it.connect({ client_id: "c-2" });
    const id =
      it.gateway.connections.list().find(({ client_id }) => client_id === "c-2")?.connection_id ?? "";
    expect(await it.gateway.connections.disconnect(id, "maintenance")).toBe(true);
    expect(await socket.closed).toMatchObject({ code: 4003, reason: "FORBIDDEN: maintenance" });
    await eventually(
      () => it.gateway.connections.list().some(({ client_id }) => client_id === "c-2"),
      (is) => !is,
    );
    expect(await it.gateway.connections.disconnect(id)).toBe(false);
  });
});

describe("broadcast", () => {
  test("to all, by what the wire filters by, and by a predicate", async () => {
    await using web = await it.connect({ client_id: "web", platform: "web" });
    await using phone = await it.connect({ client_id: "phone", platform: "phone" });
    expect(await it.gateway.broadcast("app.all", { n: 1 })).toBe(2);
    expect(await it.gateway.broadcast("app.web", { n: 2 }, { platform: "web" })).toBe(1);
    const asked: string[] = [];
    const isPhone = ({ client_id, platform }: { client_id: string; platform: string }): boolean => {
      asked.push(client_id);
      return platform === "phone";
    };
    expect(await it.gateway.broadcast("app.phone", { n: 3 }, isPhone)).toBe(1);
    expect(asked.toSorted()).toEqual(["phone", "web"]);
    await Promise.all([settled(web), settled(phone)]);
    const heard = (socket: typeof web) =>
      socket.frames.map(({ json }) => json.event).filter((name) => name?.startsWith("app."));
    expect(heard(web)).toEqual(["app.all", "app.web"]);
    expect(heard(phone)).toEqual(["app.all", "app.phone"]);
  });

  test("a predicate that throws is the caller's error, and nobody is sent anything", async () => {
    await using first = await it.connect({ client_id: "first" });
    await using second = await it.connect({ client_id: "second" });
    const fault = new Error("a slip");
    let asked = 0;
    const sent = it.gateway.broadcast("app.never", {}, () => {
      if (++asked === 2) throw fault;
      return true;
    });
    expect(await sent.catch((error: unknown) => error)).toBe(fault);
    await Promise.all([settled(first), settled(second)]);
    for (const { frames } of [first, second]) {
      expect(frames.filter(({ json }) => json.event === "app.never")).toEqual([]);
    }
  });

  test("is bounded and checked as on the wire, with a predicate too", async () => {
    const big = { text: "x".repeat(16 * 1024) };
    for (const filter of [{}, () => true]) {
      expect(await refusedWith(it.gateway.broadcast("run.completed", {}, filter))).toBe("INVALID_REQUEST");
      expect(await refusedWith(it.gateway.broadcast("app.big", big, filter))).toBe("TOO_LARGE");
    }
  });
});

describe("sendTo", () => {
  test("a signal reaches who follows, a durable event the log", async () => {
    const { sessionId } = await it.gateway.chat.createSession();
    await using follower = await it.connect();
    await using other = await it.connect();
    await follower.request("session.subscribe", { session_id: sessionId });
    expect(await it.gateway.sendTo(sessionId, "app.typing", { who: "bot" })).toEqual({ delivered: 1 });
    expect(await it.gateway.sendTo(sessionId, "app.note", { text: "kept" }, { durable: true })).toEqual({
      seq: 2,
    });
    expect((await follower.nextEvent("app.typing")).json.payload).toEqual({ who: "bot" });
    expect((await follower.nextEvent("app.note")).json).toMatchObject({ seq: 2, payload: { text: "kept" } });
    await settled(other);
    expect(other.frames.some(({ json }) => json.event === "app.typing")).toBe(false);
    expect(await refusedWith(it.gateway.sendTo("nowhere", "app.x", {}))).toBe("NOT_FOUND");
  });
});

describe("on", () => {
  test("tells of what happens in any session and of connections, until it is taken back", async () => {
    const heard: Happening[] = [];
    const off = it.gateway.on("*", (happening) => heard.push(happening));
    const { sessionId } = await it.gateway.chat.createSession({ userId: "ann" });
    const socket = await it.connect({ client_id: "heard" });
    socket.close();
    await socket.closed;
    await eventually(
      () => heard.length,
      (length) => length >= 4,
    );
    expect(heard.map(({ type, user }) => [type, user])).toEqual([
      ["session.created", "ann"],
      ["connection.joined", "owner"],
      ["connection.joined", "owner"],
      ["connection.left", "owner"],
    ]);
    expect(heard[0]).toMatchObject({ session_id: sessionId, seq: 1 });
    expect(heard[2]?.payload).toMatchObject({ client_id: "heard" });
    off();
    await it.gateway.chat.createSession();
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toHaveLength(4);
  });

  test("a listener that throws is in the log and in nobody's way", async () => {
    const off = it.gateway.on("session.created", () => {
      throw new Error("not my day");
    });
    await it.gateway.chat.createSession();
    const logged = () => it.lines.find(({ message }) => message === "a listener of an event failed");
    expect((await eventually(logged, (line) => line !== undefined))?.fields).toMatchObject({
      event: "session.created",
    });
    off();
  });
});

describe("use", () => {
  const dice = definePlugin({
    name: "dice",
    methods: {
      "dice.roll": {
        scope: "chat.read",
        doc: "Rolls a die.",
        params: Type.Object({ sides: Type.Integer({ minimum: 2 }) }),
        result: Type.Object({ rolled: Type.Integer() }),
        run: ({ sides }) => ({ rolled: sides }),
      },
    },
  });

  test("a plug-in's method is one of the gateway's, until it is unloaded", async () => {
    await using socket = await it.connect();
    const unload = await it.gateway.use(dice);
    expect(await socket.request("dice.roll", { sides: 6 })).toEqual({ rolled: 6 });
    expect(it.gateway.use(dice)).rejects.toThrow("there is a plug-in dice already");
    await unload();
    expect(await refusedCode(socket.request("dice.roll", { sides: 6 }))).toBe("NOT_FOUND");
  });

  test("what is no plug-in is refused with the reason", async () => {
    expect(it.gateway.use({ name: "Not a name" })).rejects.toThrow("name");
    expect(it.gateway.use({ ...dice, isolate: true })).rejects.toThrow("cannot run in a worker");
  });
});

async function refusedCode(work: Promise<unknown>): Promise<string> {
  const error = (await work.catch((refused: unknown) => refused)) as { code?: string };
  return error.code ?? "";
}
