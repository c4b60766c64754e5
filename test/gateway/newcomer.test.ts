import { afterAll, beforeAll, expect, test } from "bun:test";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { openSocket } from "../support/ws-client.ts";

let gateway: RunningGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway[Symbol.asyncDispose]());

test("connect with only a name and a token is answered with everything a client needs", async () => {
  await using socket = await openSocket(gateway.ws_url);
  socket.send({
    type: "req",
    id: "h",
    method: "connect",
    params: { client_name: "My App", auth_token: gateway.token, something_new: true },
  });
  const { json } = await socket.next(() => true);
  expect(Object.keys(json)).toEqual(["type", "id", "ok", "payload"]);
  const { server_info, capabilities, features, policy, auth_info } = json.payload;
  expect(Object.keys(json.payload).sort()).toEqual([
    "auth_info",
    "capabilities",
    "features",
    "policy",
    "server_info",
  ]);
  expect(Object.keys(server_info).sort()).toEqual([
    "connection_id",
    "name",
    "node_id",
    "protocol_version",
    "version",
  ]);
  expect(server_info).toMatchObject({ name: "agentbus", protocol_version: 1 });
  expect(server_info.connection_id).toStartWith("con_");
  expect(capabilities).toEqual(expect.arrayContaining(["chat", "sessions", "presence", "resume"]));
  expect(features.methods).toEqual(
    expect.arrayContaining(["connect", "chat.send", "session.subscribe", "run.wait"]),
  );
  expect(features.events).toEqual(expect.arrayContaining(["message.delta", "run.completed", "heartbeat"]));
  expect(policy).toMatchObject({
    heartbeat_interval: 30,
    connection_timeout: 300,
    max_connections: 1000,
    max_frame_bytes: 262_144,
    max_in_flight: 16,
  });
  expect(auth_info).toMatchObject({ user: "owner", method: "token" });
  expect(auth_info.scopes).toEqual(expect.arrayContaining(["chat.read", "chat.write", "admin"]));
});

test("chat.send and chat.history, as a newcomer writes them", async () => {
  await using socket = await openSocket(gateway.ws_url);
  await socket.request("connect", { client_name: "n", auth_token: gateway.token });
  socket.send({
    type: "req",
    id: "2",
    method: "chat.send",
    params: { session_id: "hello-1", message: "Hello, agent", type: "text" },
  });
  const sent = await socket.next(({ json }) => json.id === "2");
  expect(sent.json).toMatchObject({
    ok: true,
    payload: { session_id: "hello-1", status: "started", subscribed: true },
  });
  await socket.nextEvent("run.completed", 15_000);
  const deltas = socket.frames.filter(({ json }) => json.event === "message.delta");
  expect(deltas.length).toBeGreaterThanOrEqual(20);
  const text = deltas.map(({ json }) => json.payload.text).join("");
  expect(text).toContain("Hello, agent");
  const history = await socket.request("chat.history", { session_id: "hello-1", limit: 10 });
  expect(history.total).toBe(2);
  expect(history.messages[0]).toMatchObject({ role: "user", status: "complete", content: "Hello, agent" });
  expect(history.messages[1]).toMatchObject({ role: "assistant", status: "complete", content: text });
});

async function thousand(url: string, headers: Record<string, string>): Promise<void> {
  await using socket = await openSocket(url, { headers });
  for (let i = 0; i < 1_000; i++) {
    const id = `test-${i}`;
    socket.send(`{"type":"req","id":"${id}","method":"system.status"}`);
    // What the session of before comes to may still be told.
    const { json } = await socket.next(({ json: { type } }) => type === "res");
    expect(json).toMatchObject({ type: "res", id, ok: true, payload: { status: "healthy" } });
  }
}

test("a thousand requests without params, authenticated at the upgrade", async () => {
  await thousand(gateway.ws_url, { authorization: `Bearer ${gateway.token}` });
  const basic = Buffer.from(`gateway:${gateway.token}`).toString("base64");
  await using socket = await openSocket(gateway.ws_url, { headers: { authorization: `Basic ${basic}` } });
  expect(await socket.request("system.status")).toMatchObject({ status: "healthy" });
});

test("a thousand requests without connect, in mode none", async () => {
  await using open = await startGateway({ env: { AGENTBUS_AUTH_MODE: "none" } });
  await thousand(open.ws_url, {});
});

test("a password says which mode is set, a wrong token says nothing", async () => {
  const basic = Buffer.from("gateway:hunter2").toString("base64");
  const refused = await fetch(`${gateway.url}/api/v1/stats`, {
    headers: { authorization: `Basic ${basic}` },
  });
  expect(refused.status).toBe(401);
  expect(((await refused.json()) as { error: { message: string } }).error.message).toContain("auth.mode");
  await using socket = await openSocket(gateway.ws_url);
  socket.send({ type: "req", id: "1", method: "connect", params: { auth_token: "agb_wrong" } });
  expect((await socket.next(() => true)).json).toMatchObject({
    ok: false,
    error: { code: "UNAUTHORIZED", status: 4001 },
  });
  expect((await socket.closed).code).toBe(4001);
});

test("an unknown field is refused and named", async () => {
  await using socket = await openSocket(gateway.ws_url, {
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  const error = await socket
    .request("chat.send", { message: "x", sesion_id: "typo" })
    .catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: "INVALID_REQUEST",
    details: { kind: "unknown_field", path: "sesion_id" },
  });
});
