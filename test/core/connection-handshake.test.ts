import { describe, expect, test } from "bun:test";
import { connect as connectMethod } from "../../src/protocol/api/system.ts";
import { validate } from "../../src/protocol/schema.ts";
import { open, refusal, req, settle } from "../support/socket-stub.ts";
import { OWNER } from "../support/transport-stub.ts";

describe("handshake", () => {
  test("connect answers with everything a client has to know, as defined", async () => {
    const { connection, port, stub } = open();
    connection.receive(
      req(
        "connect",
        { auth_token: "right", client_id: "c1", client_name: "App", capabilities: ["chat"] },
        "h",
      ),
    );
    expect(connection.state).toBe("authenticating");
    await settle();
    const [answer] = port.sent;
    expect(answer).toEqual({
      type: "res",
      id: "h",
      ok: true,
      payload: {
        server_info: {
          name: "agentbus",
          version: "1.2.3",
          protocol_version: 1,
          node_id: "nod_1",
          connection_id: connection.id,
        },
        capabilities: ["chat", "resume"],
        features: { methods: ["connect", "disconnect", "heartbeat"], events: ["heartbeat"] },
        policy: {
          heartbeat_interval: 30,
          connection_timeout: 300,
          max_connections: 1000,
          max_frame_bytes: 262_144,
          max_in_flight: 16,
          max_waits_in_flight: 32,
          max_message_bytes: 131_072,
          max_subscriptions: 128,
        },
        auth_info: { user: "owner", method: "token", scopes: ["admin", "chat.read"] },
      },
    });
    expect(validate(connectMethod.result, answer.payload)).toBe(answer.payload);
    expect(connection).toMatchObject({
      state: "connected",
      client_id: "c1",
      client_name: "App",
      capabilities: ["chat"],
    });
    expect([...stub.context.connections.ofUser("owner")]).toEqual([connection]);
    expect(stub.presence).toEqual([{ connection, state: "joined" }]);
    expect(stub.asked).toEqual([
      {
        credential: { kind: "token", token: "right" },
        transport: "ws",
        remote: "127.0.0.1",
        client_id: "c1",
      },
    ]);
  });

  test("the credential's expiry is told", async () => {
    const other = open();
    other.stub.authenticate = async () => ({ ok: true, principal: { ...OWNER, expires_at: 9e15 } });
    other.connection.receive(req("connect", { session_token: "x" }));
    await settle();
    expect(other.port.sent[0].payload.auth_info).toMatchObject({ expires_at: 9e15 });
    expect(other.stub.asked[0]?.credential).toEqual({ kind: "session_token", token: "x" });
  });

  test("unknown fields are ignored, client_id defaults to the connection's id", async () => {
    const { connection } = open();
    connection.receive(req("connect", { auth_token: "right", from_the_future: { deep: 1 } }));
    await settle();
    expect(connection).toMatchObject({ state: "connected", client_id: connection.id, client_name: "" });
  });

  test.each([
    ["a wrong type", { auth_token: ["right"] }, "schema"],
    ["an empty token", { auth_token: "" }, "schema"],
    ["two credentials", { auth_token: "right", password: "x" }, "credential"],
  ])("%s is refused and connect may be sent again", async (_name, params, kind) => {
    const { connection, port, stub } = open();
    connection.receive(req("connect", params, "h"));
    expect(port.sent).toEqual([
      refusal("h", { code: "INVALID_REQUEST", details: expect.objectContaining({ kind }) }),
    ]);
    expect(stub.asked).toEqual([]);
    connection.receive(req("connect", { auth_token: "right" }, "h"));
    await settle();
    expect(connection.state).toBe("connected");
  });

  test.each([
    [2, 3],
    [0, 0],
  ])("protocol %d to %d is refused and closes 4000", (min, max) => {
    const { connection, port } = open();
    connection.receive(req("connect", { auth_token: "right", protocol: { min, max } }, "h"));
    expect(port.sent).toEqual([
      refusal("h", { code: "INVALID_REQUEST", details: { kind: "protocol", min: 1, max: 1 } }),
    ]);
    expect(port.closed?.code).toBe(4000);
  });

  test("a wrong credential is answered, then the socket closes 4001", async () => {
    const { connection, port, stub } = open();
    connection.receive(req("connect", { auth_token: "wrong" }, "h"));
    await settle();
    expect(port.sent).toEqual([refusal("h", { code: "UNAUTHORIZED", status: 4001 })]);
    expect(port.closed).toEqual({ code: 4001, reason: "UNAUTHORIZED: the credential is wrong" });
    expect(stub.context.connections.size).toBe(0);
    expect(stub.presence).toEqual([]);
  });

  test("an authenticator that fails unexpectedly tells nothing but an id", async () => {
    const { connection, port, stub } = open();
    stub.authenticate = async () => {
      throw new Error("the table is called secrets");
    };
    connection.receive(req("connect", { auth_token: "right" }, "h"));
    await settle();
    expect(port.sent).toEqual([refusal("h", { code: "INTERNAL_ERROR" })]);
    expect(JSON.stringify(port.sent)).not.toContain("secrets");
    expect(port.closed?.code).toBe(1011);
  });

  test("a second connect is a conflict, while the first is checked and afterwards", async () => {
    const { connection, port } = open();
    connection.receive(req("connect", { auth_token: "right" }, "a"));
    connection.receive(req("connect", { auth_token: "right" }, "b"));
    await settle();
    connection.receive(req("connect", { auth_token: "right" }, "c"));
    const conflict = { code: "CONFLICT", details: { kind: "state" } };
    expect(port.sent).toEqual([
      refusal("b", conflict),
      expect.objectContaining({ id: "a", ok: true }),
      refusal("c", conflict),
    ]);
    expect(connection.state).toBe("connected");
  });

  test("a request before connect is UNAUTHORIZED and closes 4001", () => {
    const { connection, port, stub } = open();
    connection.receive(req("echo"));
    expect(port.sent).toEqual([refusal("1", { code: "UNAUTHORIZED" })]);
    expect(port.closed?.code).toBe(4001);
    expect(stub.calls).toEqual([]);
  });

  test.each([
    ["text that is not JSON", "hello"],
    ["a binary frame", new Uint8Array([1, 2])],
  ])("%s before connect closes 4000", (_name, raw) => {
    const { connection, port } = open();
    connection.receive(raw);
    expect(port.sent).toEqual([refusal(null, { code: "INVALID_REQUEST" })]);
    expect(port.closed?.code).toBe(4000);
  });

  test("8 KiB may come before connect, in all", () => {
    const { connection, port, stub } = open();
    const junk = JSON.stringify({ type: "no", id: "x", pad: "é".repeat(2_000) });
    connection.receive(junk);
    expect(port.closed).toBeNull();
    connection.receive(junk);
    connection.receive(junk);
    expect(port.sent.at(-1)).toEqual(refusal(null, { code: "TOO_LARGE" }));
    expect(port.closed?.code).toBe(1009);
    expect(stub.counted.limits).toEqual(["connect_bytes"]);
  });

  test("requests that come while the credential is checked run after it, in order", async () => {
    const { connection, port, stub } = open();
    connection.receive(req("connect", { auth_token: "right" }, "h"));
    connection.receive(req("echo", { n: 1 }, "a"));
    connection.receive(req("heartbeat", {}, "b"));
    connection.receive(req("echo", { n: 2 }, "c"));
    connection.receive(req("echo", { n: 3 }, "a"));
    expect(stub.calls).toEqual([]);
    await settle();
    expect(port.sent.map(({ id }) => id)).toEqual(["a", "h", "a", "b", "c"]);
    expect(port.sent[0]).toEqual(refusal("a", { code: "CONFLICT", details: { kind: "id" } }));
    expect(stub.calls.map(({ params }) => params)).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test("what is kept meanwhile is bounded in number and in bytes", async () => {
    const { connection, port } = open({ limits: { frame_bytes: 9_000 } });
    connection.receive(req("connect", { auth_token: "right" }, "h"));
    for (let n = 0; n < 17; n++) connection.receive(req("echo", {}, `n${n}`));
    expect(port.sent).toEqual([
      refusal("n16", { code: "RATE_LIMITED", details: { kind: "in_flight", what: "in_flight", limit: 16 } }),
    ]);
    connection.receive(req("chat.abort", { pad: "x".repeat(8_900) }, "big"));
    expect(port.sent[1]).toEqual(refusal("big", { code: "RATE_LIMITED" }));
    await settle();
    expect(port.sent).toHaveLength(2 + 1 + 16);
  });

  test("nothing that was kept runs when the credential turns out wrong", async () => {
    const { connection, stub } = open();
    connection.receive(req("connect", { auth_token: "wrong" }, "h"));
    connection.receive(req("echo", {}, "a"));
    await settle();
    expect(connection.closed).toBe(true);
    expect(stub.calls).toEqual([]);
  });

  test("a socket that went away while its credential was checked stays gone", async () => {
    const { connection, stub } = open();
    connection.receive(req("connect", { auth_token: "right" }, "h"));
    connection.ended(1006);
    await settle();
    expect(connection.state).toBe("closing");
    expect(stub.context.connections.size).toBe(0);
    expect(stub.presence).toEqual([]);
  });

  test("the challenge comes first where it is asked for, with a nonce of its own", () => {
    const nonces = [open({ challenge: true }), open({ challenge: true })].map(({ port, stub }) => {
      expect(port.sent).toEqual([
        {
          type: "event",
          event: "connect.challenge",
          ts: stub.clock.now(),
          payload: {
            nonce: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
            server_id: "srv_1",
            ts: stub.clock.now(),
          },
        },
      ]);
      return port.sent[0].payload.nonce;
    });
    expect(nonces[0]).not.toBe(nonces[1]);
  });
});
