import { describe, expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { right, serveSockets, until } from "../support/serve-sockets.ts";
import type { Served } from "../support/serve-sockets.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";

describe("the upgrade", () => {
  async function refused(
    gateway: Served,
    headers: Record<string, string>,
    query = "",
  ): Promise<[number, string, unknown]> {
    const response = await requestUpgrade(gateway.url + query, headers);
    const { error } = (await response.json()) as { error: { code: string; details?: { kind?: string } } };
    return [response.status, error.code, error.details?.kind];
  }

  test("authenticates by header", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url, { headers: right });
    expect(await socket.request("echo", { n: 1 })).toEqual({ n: 1 });
    expect(socket.protocol).toBe("");
  });

  test("refuses a wrong credential before it is a socket", async () => {
    await using gateway = serveSockets();
    expect(await refused(gateway, { authorization: "Bearer wrong" })).toEqual([
      401,
      "UNAUTHORIZED",
      undefined,
    ]);
    expect(await refused(gateway, { authorization: "Digest x" })).toEqual([401, "UNAUTHORIZED", undefined]);
    const response = await requestUpgrade(gateway.url, { authorization: "Bearer wrong" });
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="agentbus"');
    expect(
      await openSocket(gateway.url, { headers: { authorization: "Bearer wrong" } }).catch(
        (error: Error) => error.message,
      ),
    ).toStartWith("the upgrade was refused");
    expect(gateway.stub.context.connections.size).toBe(0);
  });

  test("takes a ticket as a subprotocol and never echoes it", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url, {
      protocols: ["agentbus.ticket.once", "agentbus.v1"],
    });
    expect(socket.protocol).toBe("agentbus.v1");
    expect(await socket.request("echo", { n: 1 })).toEqual({ n: 1 });
    expect(gateway.stub.asked.map(({ credential }) => credential)).toEqual([
      { kind: "ticket", ticket: "once" },
    ]);
  });

  test.each([
    ["a wrong ticket", "agentbus.v1, agentbus.ticket.twice", {}, 401, undefined],
    ["a ticket alone", "agentbus.ticket.once", {}, 400, "subprotocol"],
    ["only unknown subprotocols", "chat, superchat", {}, 400, "subprotocol"],
    ["two tickets", "agentbus.v1, agentbus.ticket.once, agentbus.ticket.once", {}, 400, "credential"],
    ["a ticket beside a header", "agentbus.v1, agentbus.ticket.once", right, 400, "credential"],
  ])("refuses %s", async (_name, protocols, headers, status, kind) => {
    await using gateway = serveSockets();
    const response = await requestUpgrade(gateway.url, { ...headers, "sec-websocket-protocol": protocols });
    const text = await response.text();
    expect(response.status).toBe(status);
    expect(JSON.parse(text).error.details?.kind).toBe(kind);
    expect(text + [...response.headers.values()].join()).not.toContain("agentbus.ticket");
  });

  test("selects the subprotocol with the challenge, and sends it first", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url, {
      protocols: ["agentbus.v1.challenge", "agentbus.v1"],
    });
    expect(socket.protocol).toBe("agentbus.v1.challenge");
    await socket.request("connect", { auth_token: "right" });
    expect(socket.frames.map(({ json }) => json.event ?? json.id)).toEqual(["connect.challenge", "t1"]);
  });

  test.each(["token", "auth_token", "password", "ticket", "key", "session_token", "Access_Token"])(
    "refuses a secret in the URL: %s",
    async (name) => {
      await using gateway = serveSockets();
      const response = await requestUpgrade(`${gateway.url}?a=b&${name}=s3cr3t`, right);
      expect(response.status).toBe(400);
      const text = await response.text();
      expect(JSON.parse(text).error).toMatchObject({
        code: "INVALID_REQUEST",
        details: { kind: "secret_in_url" },
      });
      expect(text).toContain("Authorization header");
      expect(text).not.toContain("s3cr3t");
      expect(gateway.stub.asked).toEqual([]);
    },
  );

  test("does not mind any other query", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(`${gateway.url}?tab=1`, { headers: right });
    expect(await socket.request("echo")).toEqual({});
  });

  test("asks the doors first", async () => {
    await using gateway = serveSockets();
    gateway.stub.refusedOrigin = new GatewayError("FORBIDDEN", "not from there", {
      details: { kind: "origin" },
    });
    expect(await refused(gateway, right)).toEqual([403, "FORBIDDEN", "origin"]);
    gateway.stub.refusedHost = new GatewayError("FORBIDDEN", "not here", { http: 421 });
    expect(await refused(gateway, right)).toEqual([421, "FORBIDDEN", undefined]);
    expect(gateway.stub.asked).toEqual([]);
  });

  test("is refused while draining, with the time to come again", async () => {
    await using gateway = serveSockets();
    gateway.stub.status = "draining";
    const response = await requestUpgrade(gateway.url, right);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "2"]);
  });

  test("refuses a request that is no handshake", async () => {
    await using gateway = serveSockets();
    const cases: [number, Record<string, string>][] = [
      [400, { "sec-websocket-key": "short" }],
      [426, { connection: "keep-alive" }],
    ];
    for (const [status, headers] of cases) {
      const response = await requestUpgrade(gateway.url, { ...right, ...headers });
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({
        error: { code: "INVALID_REQUEST", details: { kind: "upgrade" } },
      });
    }
    expect(gateway.stub.context.connections.size).toBe(0);
  });

  test("bounds the connections in all", async () => {
    await using gateway = serveSockets({ limits: { max_connections: 2 } });
    await using _one = await openSocket(gateway.url, { headers: right });
    await using two = await openSocket(gateway.url);
    const response = await requestUpgrade(gateway.url, right);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await response.json()).toMatchObject({
      error: { code: "UNAVAILABLE", details: { kind: "connections", limit: 2 } },
    });
    expect(gateway.stub.counted.limits).toEqual(["max_connections"]);
    two.close();
    await until(() => gateway.stub.context.connections.size === 1);
    await using three = await openSocket(gateway.url, { headers: right });
    expect(await three.request("echo")).toEqual({});
  });

  test("those whose credential is being checked do not slip past the bound", async () => {
    await using gateway = serveSockets({ limits: { max_connections: 1 } });
    const { authenticate } = gateway.stub;
    const gate = Promise.withResolvers<void>();
    gateway.stub.authenticate = (credential) => gate.promise.then(() => authenticate(credential));
    const attempts = [1, 2, 3].map(() => openSocket(gateway.url, { headers: right }));
    const settled = Promise.allSettled(attempts);
    await until(() => gateway.stub.asked.length === 3);
    gate.resolve();
    const results = await settled;
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const result of results)
      if (result.status === "fulfilled") await result.value[Symbol.asyncDispose]();
  });

  test("bounds those that have not authenticated, per address and in all", async () => {
    await using gateway = serveSockets({
      limits: { max_unauthenticated: 3, max_unauthenticated_per_address: 2 },
    });
    const from = (address: string) => ({ "x-real-ip": address });
    await using first = await openSocket(gateway.url, { headers: from("10.0.0.1") });
    await using _second = await openSocket(gateway.url, { headers: from("10.0.0.1") });
    expect(await refused(gateway, from("10.0.0.1"))).toEqual([503, "UNAVAILABLE", "connections"]);
    await using _third = await openSocket(gateway.url, { headers: from("10.0.0.2") });
    expect(await refused(gateway, from("10.0.0.3"))).toEqual([503, "UNAVAILABLE", "connections"]);
    expect(gateway.stub.counted.limits).toEqual(["max_unauthenticated_per_address", "max_unauthenticated"]);
    // Who shows a credential is not one of them, and who has connected no more.
    await using _fourth = await openSocket(gateway.url, { headers: { ...right, ...from("10.0.0.1") } });
    await first.request("connect", { auth_token: "right" });
    await using fifth = await openSocket(gateway.url, { headers: from("10.0.0.1") });
    expect(fifth.frames).toEqual([]);
  });
});
