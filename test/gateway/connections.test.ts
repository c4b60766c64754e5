import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { script } from "../support/model-script.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import { openRaw } from "./raw-socket.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
/** Says nothing from the beginning of the file on. */
let silent: { socket: TestSocket; closed: Promise<{ code: number; after_ms: number }> };
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  const socket = await openSocket(stack.gateway.ws_url);
  const since = performance.now();
  const closed = socket.closed.then(({ code }) => ({ code, after_ms: performance.now() - since }));
  silent = { socket, closed };
});
afterAll(() => stack[Symbol.asyncDispose]());

describe("time", () => {
  test("a socket that does not connect within 5 s is closed 4008, told why", async () => {
    const { socket, closed } = silent;
    const { code, after_ms } = await closed;
    expect(code).toBe(4008);
    expect(after_ms).toBeWithin(4_900, 9_000);
    expect(socket.frames.map(({ json }) => json)).toMatchObject([
      { id: null, ok: false, error: { code: "TIMEOUT", status: 4008, retryable: true } },
    ]);
  });

  test("silence for connection_timeout closes a socket with 4008; a stream need not say anything", async () => {
    await using quick = await startStack({
      config: { gateway: { connection_timeout_secs: 2, heartbeat_interval_secs: 30 } },
    });
    await using socket = await quick.owner.connect();
    const sse = await quick.owner
      .call("session.create", { session_id: "s" })
      .then(() => quick.owner.events("/api/v1/sessions/s/events"));
    const began = performance.now();
    expect((await socket.closed).code).toBe(4008);
    // The silence began a little before.
    expect(performance.now() - began).toBeWithin(1_000, 5_000);
    expect(socket.frames.at(-1)?.json).toMatchObject({
      ok: false,
      error: { code: "TIMEOUT", retryable: true },
    });
    // A stream is not expected to say anything.
    await quick.owner.call("chat.inject", { session_id: "s", role: "user", content: "still there?" });
    expect((await sse.next(({ event }) => event === "message.created")).data).toContain("still there?");
    sse.close();
  });

  test("three pings without an answer close with 4008; whoever answers them stays", async () => {
    await using quick = await startStack({
      config: { gateway: { heartbeat_interval_secs: 1, connection_timeout_secs: 60 } },
    });
    await using alive = await quick.owner.connect();
    await using dead = await openRaw(quick.gateway.address, quick.owner.token);
    expect(await dead.closed).toBe(4008);
    expect(dead.pings).toBe(3);
    expect(dead.frames.at(-1)).toMatchObject({
      error: { code: "TIMEOUT", message: expect.stringContaining("pings") },
    });
    expect(alive.frames.filter(({ json }) => json.event === "heartbeat").length).toBeGreaterThanOrEqual(3);
    expect(await alive.request("heartbeat")).toBeObject();
  });
});

describe("connections", () => {
  test("more than max_connections, sockets and streams together: 503 with Retry-After before the upgrade", async () => {
    await using small = await startStack({ config: { gateway: { max_connections: 3 } } });
    const { gateway, owner: me } = small;
    await me.call("session.create", { session_id: "s" });
    await using one = await me.connect();
    await using two = await me.connect();
    const stream = await me.events("/api/v1/sessions/s/events");
    await stream.next();
    const refused = await requestUpgrade(gateway.ws_url, me.bearer);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await refused.json()).toMatchObject({
      error: {
        code: "UNAVAILABLE",
        status: 5003,
        retryable: true,
        details: { kind: "connections", limit: 3 },
      },
    });
    const other = await me.ask("GET", "/api/v1/sessions/s/events");
    expect([other.status, other.headers.get("retry-after"), other.json.error.code]).toEqual([
      503,
      "2",
      "UNAVAILABLE",
    ]);
    // Requests are not connections, and those that are there go on.
    expect(await me.call("system.status")).toMatchObject({ connections: 3 });
    expect(await one.request("heartbeat")).toBeObject();
    stream.close();
    await eventually(
      async () => (await me.call("system.status")).connections,
      (count) => count === 2,
    );
    await using three = await me.connect();
    expect(await three.request("heartbeat")).toBeObject();
    expect(await two.request("heartbeat")).toBeObject();
  });

  test("8 of one address that have not said who they are; who has is not counted", async () => {
    await using own = await startStack();
    const { gateway, owner: me } = own;
    const sockets = await Promise.all(Array.from({ length: 8 }, () => openSocket(gateway.ws_url)));
    const refused = await requestUpgrade(gateway.ws_url);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await refused.json()).toMatchObject({
      error: { details: { kind: "connections", what: "max_unauthenticated_per_address", limit: 8 } },
    });
    await using mine = await me.connect();
    await sockets[0]?.request("connect", { auth_token: me.token });
    await using ninth = await openSocket(gateway.ws_url);
    expect(await ninth.request("connect", { auth_token: me.token })).toBeObject();
    expect(await mine.request("heartbeat")).toBeObject();
    for (const socket of sockets) socket.close();
  });
});

describe("subscriptions", () => {
  test("128 on one connection; one more is CONFLICT full", async () => {
    await using socket = await owner.connect();
    const names = Array.from({ length: 129 }, (_, i) => `sub-${i}`);
    for (const session_id of names) await owner.call("session.create", { session_id });
    for (const session_id of names.slice(0, 128)) await socket.request("session.subscribe", { session_id });
    const full = {
      code: "CONFLICT",
      details: { kind: "full", what: "subscriptions", limit: 128 },
      retryable: false,
    };
    expect(await refusal(socket.request("session.subscribe", { session_id: names[128] }))).toMatchObject(
      full,
    );
    // One that is there is replaced, and a message that would be one more is not followed.
    expect(await socket.request("session.subscribe", { session_id: names[5] })).toMatchObject({
      mode: "snapshot",
    });
    expect(await socket.request("chat.send", { session_id: names[128], message: "x" })).toMatchObject({
      subscribed: false,
      from: 1,
    });
    await socket.request("session.unsubscribe", { session_id: names[0] });
    expect(await socket.request("session.subscribe", { session_id: names[128] })).toMatchObject({
      mode: "snapshot",
    });
    expect(socket.frames.filter(({ json }) => json.event === "session.unsubscribed")).toEqual([]);
  });

  test("automatic ones of idle sessions give way, the oldest first, and are told", async () => {
    await using small = await startStack({ config: { limits: { subscriptions: 3 } } });
    const { model, owner: me } = small;
    model.otherwise(() => script().text("x").hang());
    await using socket = await me.connect();
    const send = (session_id: string): Promise<{ run_id: string; subscribed: boolean }> =>
      socket.request("chat.send", { session_id, message: "x" });
    const runs = [await send("a"), await send("b"), await send("c")];
    expect(runs.map(({ subscribed }) => subscribed)).toEqual([true, true, true]);
    await model.waitForRequests(3);
    // All are answering: none gives way, neither to a message nor to a subscription that is asked for.
    expect(await send("d")).toMatchObject({ subscribed: false });
    expect(await refusal(socket.request("session.subscribe", { session_id: "d" }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "full" },
    });
    for (const name of ["b", "c"]) await me.call("chat.abort", { session_id: name });
    expect(await send("e")).toMatchObject({ subscribed: true });
    const gone = async (): Promise<unknown> => (await socket.nextEvent("session.unsubscribed")).json.payload;
    expect(await gone()).toEqual({ session_id: "b", reason: "limit" });
    expect(await socket.request("session.subscribe", { session_id: "d" })).toMatchObject({
      mode: "snapshot",
    });
    expect(await gone()).toEqual({ session_id: "c", reason: "limit" });
    // One that was asked for stays, however idle.
    await me.call("chat.abort", { session_id: "d" });
    await me.call("chat.abort", { session_id: "a" });
    expect(await send("f")).toMatchObject({ subscribed: true });
    expect(await gone()).toEqual({ session_id: "a", reason: "limit" });
    expect((await me.call("presence.list", { session_id: "d" })).watchers).toHaveLength(1);
  });
});
