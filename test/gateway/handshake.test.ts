import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
let ann: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
  ann = await stack.guest({ user: "ann", role: "user" });
});
afterAll(() => stack[Symbol.asyncDispose]());

function bare(): Promise<TestSocket> {
  return openSocket(stack.gateway.ws_url);
}

describe("connect", () => {
  test("on each of the socket's paths", async () => {
    for (const path of ["/ws", "/ws/", "/"]) {
      await using socket = await openSocket(`${stack.gateway.url}${path}`);
      expect([path, await socket.request("connect", { auth_token: owner.token })]).toMatchObject([
        path,
        { auth_info: { user: "owner" } },
      ]);
    }
    for (const path of ["/ws/x", "/api/v1/sessions", "/wss"]) {
      expect([path, (await requestUpgrade(`${stack.gateway.url}${path}`, owner.bearer)).status]).not.toEqual([
        path,
        101,
      ]);
    }
  });

  test("is answered first, whoever else is told of it", async () => {
    await using socket = await bare();
    socket.send({ type: "req", id: "h", method: "connect", params: { auth_token: owner.token } });
    await eventually(
      () => socket.frames.length,
      (count) => count > 0,
    );
    expect(socket.frames[0]?.json).toMatchObject({ type: "res", id: "h", ok: true });
  });

  test("what it says of the client is what client.list has", async () => {
    await using socket = await bare();
    const said = {
      client_id: "c-1",
      client_name: "Näme",
      version: "1.2.3",
      platform: "web",
      capabilities: ["chat", "toast"],
    };
    const { server_info } = await socket.request("connect", { ...said, auth_token: owner.token });
    const { clients } = await owner.call("client.list");
    const mine = clients.find((each: { client_id: string }) => each.client_id === "c-1");
    expect(mine).toMatchObject({
      ...said,
      connection_id: server_info.connection_id,
      user: "owner",
      transport: "ws",
      state: "connected",
    });
    await using nameless = await bare();
    const { server_info: info } = await nameless.request("connect", { auth_token: owner.token });
    const { clients: all } = await owner.call("client.list");
    expect(
      all.find((each: { connection_id: string }) => each.connection_id === info.connection_id),
    ).toMatchObject({
      client_id: info.connection_id,
      client_name: "",
      version: "",
      platform: "",
      capabilities: [],
    });
  });

  test("a second one is a CONFLICT and changes nothing", async () => {
    await using socket = await bare();
    await socket.request("connect", { auth_token: ann.token, client_id: "first" });
    const again = { auth_token: owner.token, client_id: "second" };
    expect(await refusal(socket.request("connect", again))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "state" },
    });
    await expect(socket.request("system.status")).rejects.toMatchObject({ code: "FORBIDDEN" });
    // Both at once: the second is refused while the first is looked at.
    await using other = await bare();
    const both = [
      other.request("connect", { auth_token: ann.token }),
      refusal(other.request("connect", again)),
    ];
    expect(await Promise.all(both)).toMatchObject([{ auth_info: { user: "ann" } }, { code: "CONFLICT" }]);
  });

  test("requests behind it wait for it and are answered", async () => {
    await using socket = await bare();
    const [hello, ...answers] = await Promise.all([
      socket.request("connect", { auth_token: owner.token }),
      socket.request("heartbeat"),
      socket.request("session.create", { session_id: "pipelined" }),
      socket.request("session.update", { session_id: "pipelined", title: "t" }),
    ]);
    expect([hello, ...answers]).toMatchObject([
      { auth_info: { user: "owner" } },
      { ts: expect.any(Number) },
      { head: 1 },
      { head: 2 },
    ]);
    expect(socket.frames[0]?.json.payload).toEqual(hello);
  });

  test("the protocol version has to be one of the gateway's", async () => {
    for (const protocol of [
      { min: 1, max: 1 },
      { min: 0, max: 1 },
      { min: 1, max: 9 },
    ]) {
      await using socket = await bare();
      expect(await socket.request("connect", { auth_token: owner.token, protocol })).toMatchObject({
        server_info: { protocol_version: 1 },
      });
    }
    for (const protocol of [
      { min: 2, max: 3 },
      { min: 0, max: 0 },
      { min: 3, max: 1 },
    ]) {
      await using socket = await bare();
      socket.send({ type: "req", id: "h", method: "connect", params: { auth_token: owner.token, protocol } });
      expect((await socket.next(() => true)).json).toMatchObject({
        ok: false,
        error: { code: "INVALID_REQUEST", details: { kind: "protocol", min: 1, max: 1 } },
      });
      expect((await socket.closed).code).toBe(4000);
    }
  });

  test("malformed ones are refused, and the next may be right", async () => {
    await using socket = await bare();
    const wrong: Record<string, unknown>[] = [
      { auth_token: "" },
      { auth_token: null },
      { auth_token: {} },
      { auth_token: ["x"] },
      { auth_token: "x".repeat(1_025) },
      { client_id: 1 },
      { capabilities: "chat" },
      { protocol: {} },
    ];
    for (const params of wrong) {
      expect([params, await refusal(socket.request("connect", params))]).toMatchObject([
        params,
        { code: "INVALID_REQUEST", details: { kind: "schema" } },
      ]);
    }
    expect(await socket.request("connect", { auth_token: owner.token })).toBeObject();
  });

  test("several credentials are one too many, of whatever kind", async () => {
    const kinds = { auth_token: owner.token, session_token: "s", password: "p", device: {} };
    for (const [one, first] of Object.entries(kinds)) {
      for (const [two, second] of Object.entries(kinds)) {
        if (one >= two) continue;
        await using socket = await bare();
        const refused = await refusal(socket.request("connect", { [one]: first, [two]: second }));
        expect([one, two, refused]).toMatchObject([
          one,
          two,
          { code: "INVALID_REQUEST", details: { kind: "credential" } },
        ]);
      }
    }
  });

  test("kinds this mode does not take say so, close 4001 and never let in", async () => {
    for (const params of [
      { password: owner.token },
      { device: { device_id: "x" } },
      { session_token: owner.token },
    ]) {
      await using socket = await bare();
      expect(await refusal(socket.request("connect", params))).toMatchObject({
        code: "UNAUTHORIZED",
        status: 4001,
      });
      expect((await socket.closed).code).toBe(4001);
    }
  });

  test("is optional after the upgrade; another user's credential in it is one too many", async () => {
    await using socket = await owner.connect();
    expect(await socket.request("system.status")).toBeObject();
    expect(await socket.request("connect", { client_id: "named" })).toMatchObject({
      auth_info: { user: "owner" },
    });
    expect(await socket.request("system.status")).toBeObject();
    await using same = await owner.connect();
    expect(await same.request("connect", { auth_token: owner.token })).toMatchObject({
      auth_info: { user: "owner" },
    });
    await using other = await owner.connect();
    expect(await refusal(other.request("connect", { auth_token: ann.token }))).toMatchObject({
      details: { kind: "credential" },
    });
    expect((await other.closed).code).toBe(4000);
    await using wrong = await owner.connect();
    expect(await refusal(wrong.request("connect", { auth_token: "agb_wrong" }))).toMatchObject({
      code: "UNAUTHORIZED",
    });
    expect((await wrong.closed).code).toBe(4001);
  });
});

describe("subprotocols", () => {
  test("the gateway selects its own, and never what it does not know", async () => {
    const offers: [string[], string][] = [
      [["agentbus.v1"], "agentbus.v1"],
      [["agentbus.v1.challenge"], "agentbus.v1.challenge"],
      [["graphql-ws", "agentbus.v1"], "agentbus.v1"],
    ];
    for (const [protocols, selected] of offers) {
      await using socket = await owner.connect(undefined, { protocols });
      expect(socket.protocol).toBe(selected);
    }
    await using none = await owner.connect();
    expect(none.protocol).toBe("");
    const unknown = await requestUpgrade(stack.gateway.ws_url, {
      ...owner.bearer,
      "sec-websocket-protocol": "graphql-ws",
    });
    expect(unknown.status).toBe(400);
  });

  test("with agentbus.v1.challenge the first frame is a challenge, another for each socket", async () => {
    const nonces = new Set<string>();
    for (let i = 0; i < 3; i++) {
      await using socket = await openSocket(stack.gateway.ws_url, { protocols: ["agentbus.v1.challenge"] });
      const { json } = await socket.next(() => true);
      expect(json).toMatchObject({ type: "event", event: "connect.challenge" });
      expect(Buffer.from(json.payload.nonce, "base64url").length).toBeGreaterThanOrEqual(16);
      nonces.add(json.payload.nonce);
      expect(await socket.request("connect", { auth_token: owner.token })).toBeObject();
    }
    expect(nonces.size).toBe(3);
  });
});

test("disconnect is answered and closes with 1000; client.disconnect closes with 4003", async () => {
  const socket = await owner.connect();
  expect(await socket.request("disconnect")).toEqual({});
  expect((await socket.closed).code).toBe(1000);
  await using other = await owner.connect();
  const { server_info } = await other.request("connect", {});
  const answer = await owner.call("client.disconnect", {
    connection_id: server_info.connection_id,
    reason: "maintenance",
  });
  expect(answer).toEqual({ disconnected: true });
  expect(await other.closed).toMatchObject({ code: 4003, reason: expect.stringContaining("maintenance") });
  expect(await owner.call("client.disconnect", { connection_id: server_info.connection_id })).toEqual({
    disconnected: false,
  });
});

test("in mode none nobody has to connect, and a wrong credential is wrong all the same", async () => {
  await using open = await startStack({ config: { auth: { mode: "none" } } });
  await using socket = await openSocket(open.gateway.ws_url);
  expect(await socket.request("session.create", { session_id: "mine" })).toMatchObject({ owner: "owner" });
  expect(await socket.request("connect", { client_id: "late" })).toMatchObject({
    auth_info: { user: "owner", method: "none" },
  });
  expect((await fetch(`${open.gateway.url}/api/v1/sessions/mine`)).status).toBe(200);
  expect(
    (await fetch(`${open.gateway.url}/api/v1/sessions/mine`, { headers: { authorization: "Bearer wrong" } }))
      .status,
  ).toBe(401);
  await using wrong = await openSocket(open.gateway.ws_url);
  expect(await refusal(wrong.request("connect", { auth_token: "wrong" }))).toMatchObject({
    code: "UNAUTHORIZED",
  });
});
