import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, startStack } from "./stack.ts";

const TIMES = 12;

let stack: Stack;
let guest: Person;
beforeAll(async () => {
  stack = await startStack({
    config: {
      auth: { mode: "password", password: "correct hörse battery" },
      gateway: { max_connections: 3 },
      limits: { max_connections_per_user: 2, max_unauthenticated: 2, max_unauthenticated_per_address: 2 },
    },
  });
  guest = await stack.guest({ user: "guest", role: "user" });
  await guest.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

/** Every place is free: as many sockets come in as may, of strangers and of one user. */
async function allFree(): Promise<void> {
  const connections = async (): Promise<number> => (await stack.owner.call("system.status")).connections;
  await eventually(connections, (count) => count === 0);
  await using one = await openSocket(stack.gateway.ws_url);
  await using two = await openSocket(stack.gateway.ws_url);
  for (const socket of [one, two]) await socket.request("connect", { auth_token: guest.token });
  await using three = await stack.owner.connect();
  await three.request("heartbeat");
}

function basic(password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`gateway:${password}`).toString("base64")}` };
}

/** Sends the head of a request and hangs up as soon as it was looked at, or before. */
async function hangUp(path: string, headers: Record<string, string>, after_ms: number): Promise<void> {
  const [host = "", port = ""] = stack.gateway.address.split(":");
  const socket = connect(Number(port), host);
  const lines = Object.entries({ host: stack.gateway.address, ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  socket.on("error", () => undefined);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  await Bun.sleep(after_ms);
  socket.resetAndDestroy();
}

const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

test("a place is given back by a handshake that is refused", async () => {
  for (let i = 0; i < TIMES; i++) {
    expect((await requestUpgrade(stack.gateway.ws_url, { authorization: "Bearer wrong" })).status).toBe(401);
    await using socket = await openSocket(stack.gateway.ws_url);
    socket.send({ type: "req", id: "h", method: "connect", params: { auth_token: "wrong" } });
    expect((await socket.closed).code).toBe(4001);
  }
  await allFree();
});

test("by a request that is no handshake, whatever it carries", async () => {
  for (let i = 0; i < TIMES; i++) {
    const { status } = await requestUpgrade(stack.gateway.ws_url, {
      ...guest.bearer,
      "sec-websocket-key": "",
    });
    expect(status).toBe(400);
  }
  await allFree();
});

test("by who hangs up while the password is looked at: at the upgrade, for a stream, and in connect", async () => {
  const right = basic("correct hörse battery");
  for (let i = 0; i < TIMES; i++) {
    // Two at once are looked at, and what is known is not looked at again: the others wait, or are let in at once.
    await Promise.all([
      hangUp("/ws", { ...UPGRADE, ...right }, i % 6),
      hangUp("/api/v1/sessions/s/events", { ...right, accept: "text/event-stream" }, i % 6),
      hangUp("/api/v1/sessions/s/events", { ...guest.bearer, accept: "text/event-stream" }, i % 6),
    ]);
    await using socket = await openSocket(stack.gateway.ws_url);
    socket.send({ type: "req", id: "h", method: "connect", params: { password: `wrong ${i}` } });
    socket.close();
  }
  await allFree();
});

test("by sockets and streams that end, in any way", async () => {
  for (let i = 0; i < TIMES; i++) {
    const stream = await guest.events("/api/v1/sessions/s/events");
    await stream.next();
    stream.close();
    const socket = await guest.connect();
    if (i % 2 === 0) await socket.request("disconnect");
    else socket.close();
    await socket.closed;
    await eventually(
      async () => (await stack.owner.call("system.status")).connections,
      (count) => count === 0,
    );
  }
  await allFree();
});

test("by a stream that is refused once it was let in", async () => {
  for (let i = 0; i < TIMES; i++) {
    const path = "/api/v1/sessions/s/events?after=abcdefgh.7&until=run_nothing";
    expect((await guest.ask("GET", path)).status).toBe(404);
    const chat = await guest.ask("POST", "/api/v1/chat", {
      body: { message: 7 },
      headers: { accept: "text/event-stream" },
    });
    expect(chat.status).toBe(422);
  }
  await allFree();
});

test("those who do not say who they are take half of all places at the most, whatever max_unauthenticated is", async () => {
  await using small = await startStack({ config: { gateway: { max_connections: 5 } } });
  const strangers = await Promise.all([1, 2, 3].map(() => openSocket(small.gateway.ws_url)));
  const refused = await requestUpgrade(small.gateway.ws_url);
  expect([refused.status, (await refused.json()).error.details]).toEqual([
    503,
    { kind: "connections", what: "max_unauthenticated", limit: 3 },
  ]);
  await using one = await small.owner.connect();
  await using two = await small.owner.connect();
  for (const socket of [one, two]) await socket.request("heartbeat");
  for (const socket of strangers) await socket[Symbol.asyncDispose]();
});

test("by a request that waits for a run, once it is answered or given up; one too many sends nothing", async () => {
  stack.model.reply().text("so far").hang();
  const { run_id } = await guest.call("chat.send", { session_id: "s", message: "go" });
  const given = new AbortController();
  const wait = (signal: AbortSignal): Promise<Response> =>
    fetch(`${stack.gateway.url}/api/v1/rpc/run.wait`, {
      method: "POST",
      headers: { ...guest.bearer, "content-type": "application/json" },
      body: JSON.stringify({ run_id, timeout_ms: 60_000 }),
      signal,
    });
  const [first, second] = [wait(new AbortController().signal), wait(given.signal).catch(() => null)];
  const third = () => guest.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id, timeout_ms: 0 } });
  await eventually(third, ({ status }) => status === 503);
  const body = { message: "one too many", wait: true };
  const refused = await guest.ask("POST", "/api/v1/chat", { body });
  expect(refused.status).toBe(503);
  expect(refused.json.error.details).toMatchObject({ kind: "connections", what: "max_connections_per_user" });
  expect((await guest.call("session.list")).sessions).toHaveLength(1);
  given.abort();
  await second;
  await guest.call("chat.abort", { run_id });
  expect((await first).status).toBe(200);
  await allFree();
});
