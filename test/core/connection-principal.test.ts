import { describe, expect, test } from "bun:test";
import type { Subscription } from "../../src/core/subscription.ts";
import { SocketConnection } from "../../src/transport/connection.ts";
import { fakePort, open, refusal, req, settle } from "../support/socket-stub.ts";
import { OWNER, stubTransport, wrongCredential } from "../support/transport-stub.ts";

describe("authenticated at the upgrade", () => {
  test("connect may be left out", () => {
    const { connection, port, stub } = open({ authenticated: true });
    expect(connection).toMatchObject({ state: "connected", client_id: connection.id });
    expect(stub.presence).toEqual([{ connection, state: "joined" }]);
    connection.receive(req("echo", { n: 1 }));
    expect(port.sent).toEqual([{ type: "res", id: "1", ok: true, payload: { n: 1 } }]);
    expect(stub.calls[0]?.caller).toMatchObject({
      principal: OWNER,
      transport: "ws",
      client_id: connection.id,
      connection,
    });
  });

  test("connect may come, also later, and names the client", () => {
    const { connection, port, stub } = open({ authenticated: true });
    connection.receive(req("echo", {}, "a"));
    connection.receive(req("connect", { client_id: "c1" }, "h"));
    expect(port.sent[1]).toMatchObject({ id: "h", ok: true });
    expect(stub.asked).toEqual([]);
    connection.receive(req("echo", {}, "b"));
    expect(stub.calls[1]?.caller.client_id).toBe("c1");
    expect(stub.context.connections.size).toBe(1);
    expect([...stub.context.connections.ofUser("owner")]).toEqual([connection]);
  });

  test("a credential in connect replaces it for the same user only", async () => {
    const same = open({ authenticated: true });
    const narrow = { ...OWNER, scopes: new Set(["chat.read"] as const) };
    same.stub.authenticate = async () => ({ ok: true, principal: narrow });
    same.connection.receive(req("connect", { auth_token: "narrow" }, "h"));
    await settle();
    expect(same.connection).toMatchObject({ state: "connected", principal: narrow });

    const other = open({ authenticated: true });
    other.stub.authenticate = async () => ({ ok: true, principal: { ...OWNER, user: "bob" } });
    other.connection.receive(req("connect", { auth_token: "bob's" }, "h"));
    await settle();
    expect(other.port.sent).toEqual([
      refusal("h", { code: "INVALID_REQUEST", details: { kind: "credential" } }),
    ]);
    expect(other.port.closed?.code).toBe(4000);

    const wrong = open({ authenticated: true });
    wrong.stub.authenticate = async () => wrongCredential();
    wrong.connection.receive(req("connect", { auth_token: "wrong" }, "h"));
    await settle();
    expect(wrong.port.closed?.code).toBe(4001);
  });
});

describe("in mode none", () => {
  const bob = { ...OWNER, user: "bob" };

  async function connectAsBob(prepare: (connection: SocketConnection) => void = () => undefined) {
    const stub = stubTransport({ options: { open: true } });
    const port = fakePort();
    const principal = { ...OWNER, method: "none" as const, credential: null };
    const connection = new SocketConnection(stub.context, {
      remote: "::1",
      origin: "",
      principal,
      challenge: null,
    });
    connection.opened(port);
    prepare(connection);
    stub.authenticate = async () => ({ ok: true, principal: bob });
    connection.receive(req("connect", { auth_token: "bob's" }, "h"));
    await settle();
    return { stub, port, connection };
  }

  test("a credential says who else it is", async () => {
    const { stub, connection } = await connectAsBob();
    expect(connection).toMatchObject({ state: "connected", principal: bob });
    expect([...stub.context.connections.ofUser("owner")]).toEqual([]);
    expect([...stub.context.connections.ofUser("bob")]).toEqual([connection]);
    connection.receive(req("echo", {}, "a"));
    expect(stub.calls[0]?.caller.principal).toBe(bob);
  });

  test("not once it follows a session as the owner", async () => {
    const followed = { end: () => undefined } as unknown as Subscription;
    const { port } = await connectAsBob((connection) => connection.subscriptions.set("ses_1", followed));
    expect(port.sent).toEqual([refusal("h", { code: "INVALID_REQUEST", details: { kind: "credential" } })]);
    expect(port.closed?.code).toBe(4000);
  });
});
