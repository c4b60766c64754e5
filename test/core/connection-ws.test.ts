import { describe, expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { deafClient, onlyConnection, publish, right, serveSockets, until } from "../support/serve-sockets.ts";
import { openSocket } from "../support/ws-client.ts";

describe("a socket", () => {
  test("says connect, asks, is answered and leaves", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url);
    const hello = await socket.request("connect", { auth_token: "right", client_id: "c1" });
    expect(hello.server_info.connection_id).toBe(onlyConnection(gateway.stub).id);
    expect(await socket.request("echo", { n: 1 })).toEqual({ n: 1 });
    expect(await socket.request("nothing").catch((error: unknown) => error)).toMatchObject({
      code: "NOT_FOUND",
      status: 4004,
    });
    expect(socket.frames[0]?.json.id).toBe("t1");
    expect(await socket.request("disconnect")).toEqual({});
    expect(await socket.closed).toEqual({ code: 1000, reason: "disconnect" });
    await until(() => gateway.stub.context.connections.size === 0);
    expect(gateway.stub.presence.map(({ state }) => state)).toEqual(["joined", "left"]);
  });

  test("reads the refusal before the close", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url);
    expect(
      await socket.request("connect", { auth_token: "wrong" }).catch((error: unknown) => error),
    ).toMatchObject({
      code: "UNAUTHORIZED",
    });
    expect(await socket.closed).toEqual({ code: 4001, reason: "UNAUTHORIZED: the credential is wrong" });
  });

  test("may leave connect out in mode none", async () => {
    await using gateway = serveSockets({ options: { open: true } });
    await using socket = await openSocket(gateway.url);
    expect(await socket.request("echo", { n: 1 })).toEqual({ n: 1 });
    expect(gateway.stub.asked[0]).toMatchObject({ credential: { kind: "none" }, remote: "127.0.0.1" });
  });

  test("a frame of the limit passes, one byte more closes 1009", async () => {
    await using gateway = serveSockets();
    await using socket = await openSocket(gateway.url, { headers: right });
    const frame = (bytes: number): string => {
      const head = '{"type":"req","id":"1","method":"echo","params":{"pad":"';
      return `${head}${"x".repeat(bytes - head.length - 3)}"}}`;
    };
    socket.send(frame(262_144));
    await socket.next(({ json }) => json.ok === true);
    socket.send(frame(262_145));
    expect((await socket.closed).code).toBe(1009);
    await until(() => gateway.stub.counted.errors.length === 1);
    expect(gateway.stub.counted).toMatchObject({ limits: ["frame_bytes"], errors: ["TOO_LARGE"], slow: 0 });
  });

  test("that answers pings is not silent", async () => {
    await using gateway = serveSockets({ options: { connection_timeout_secs: 45 } });
    await using socket = await openSocket(gateway.url, { headers: right });
    for (let n = 0; n < 6; n++) {
      gateway.stub.clock.advance(30_000);
      await socket.nextEvent("heartbeat");
      // Its pong went out before this request.
      await socket.request("echo");
    }
    expect(onlyConnection(gateway.stub).state).toBe("connected");
  });

  test("a bug in a handler ends that socket alone", async () => {
    await using gateway = serveSockets();
    const { dispatch } = gateway.stub.context;
    Object.assign(gateway.stub.context, {
      dispatch: (...args: Parameters<typeof dispatch>) => {
        if (args[1].method === "bug") throw new Error("the table is called secrets");
        dispatch(...args);
      },
    });
    await using healthy = await openSocket(gateway.url, { headers: right });
    await using socket = await openSocket(gateway.url, { headers: right });
    socket.send({ type: "req", id: "1", method: "bug" });
    expect(await socket.closed).toMatchObject({ code: 1011 });
    expect(socket.frames.map(({ raw }) => raw).join()).not.toContain("secrets");
    expect(socket.frames[0]?.json.error.code).toBe("INTERNAL_ERROR");
    expect(await healthy.request("echo", { n: 1 })).toEqual({ n: 1 });
  });

  test("all are told when the gateway stops", async () => {
    await using gateway = serveSockets();
    await using one = await openSocket(gateway.url, { headers: right });
    await using two = await openSocket(gateway.url);
    gateway.sockets.closeAll(1012);
    expect((await one.closed).code).toBe(1012);
    expect((await two.closed).code).toBe(1012);
    await using three = await openSocket(gateway.url, { headers: right });
    gateway.sockets.closeAll(new GatewayError("UNAVAILABLE", "draining"));
    expect(await three.closed).toEqual({ code: 1013, reason: "UNAVAILABLE: draining" });
    expect(three.frames[0]?.json).toMatchObject({
      type: "res",
      id: null,
      ok: false,
      error: { code: "UNAVAILABLE" },
    });
  });
});

describe("topics", () => {
  test("a frame reaches the followers, after what was sent to them before", async () => {
    await using gateway = serveSockets();
    await using one = await openSocket(gateway.url, { headers: right });
    const connection = onlyConnection(gateway.stub);
    await using two = await openSocket(gateway.url, { headers: right });
    const text = '{"type":"event","event":"x","payload":{}}';
    connection.send({
      text: '{"type":"event","event":"before","payload":{}}',
      type: "before",
      epoch: null,
      seq: null,
    });
    connection.follow("t");
    gateway.stub.context.hub.follow("t");
    publish(gateway.stub, "t", text);
    connection.unfollow("t");
    publish(gateway.stub, "t", text);
    await one.request("echo");
    await two.request("echo");
    expect(one.frames.map(({ json }) => json.event ?? json.id)).toEqual(["before", "x", "t1"]);
    expect(one.frames[1]?.raw).toBe(text);
    expect(two.frames).toHaveLength(1);
  });

  test("a reader that does not read is cut off at 4 MiB, counted once; its neighbour gets everything", async () => {
    await using gateway = serveSockets();
    const deaf = await deafClient(gateway.port);
    const slow = onlyConnection(gateway.stub);
    await using socket = await openSocket(gateway.url, { headers: right });
    const [, healthy] = gateway.stub.context.connections.all();
    slow.follow("t");
    healthy?.follow("t");
    gateway.stub.context.hub.follow("t");
    const text = JSON.stringify({ type: "event", event: "x", payload: { pad: "z".repeat(65_000) } });
    let published = 0;
    while (!slow.closed && published < 500) {
      publish(gateway.stub, "t", text);
      published++;
      const expected = published;
      await until(() => socket.frames.length === expected);
    }
    await until(() => slow.closed);
    expect(published).toBeLessThan(500);
    expect(gateway.stub.counted.slow).toBe(1);
    expect(healthy?.closed).toBe(false);
    deaf.destroy();
  });

  test("a reader with more than 1 MiB waiting is closed 4030, and drains until then", async () => {
    await using gateway = serveSockets();
    const deaf = await deafClient(gateway.port);
    const connection = onlyConnection(gateway.stub);
    const text = JSON.stringify({ type: "event", event: "x", payload: { pad: "z".repeat(65_000) } });
    const fill = (bytes: number): void => {
      while (connection.buffered() <= bytes) connection.send({ text, type: "x", epoch: null, seq: null });
    };
    fill(512 * 1024);
    gateway.stub.clock.advance(1_000);
    expect(connection.closed).toBe(false);
    const drained = connection.drained(64 * 1024);
    let received = Buffer.alloc(0);
    deaf.on("data", (bytes: Buffer) => (received = Buffer.concat([received.subarray(-8_192), bytes])));
    deaf.resume();
    await drained;
    expect(connection.buffered()).toBeLessThan(64 * 1024);
    deaf.pause();
    fill(1024 * 1024);
    const ended = new Promise((resolve) => deaf.on("close", resolve));
    gateway.stub.clock.advance(1_000);
    expect(connection.closed).toBe(true);
    expect(gateway.stub.counted.slow).toBe(1);
    deaf.resume();
    await ended;
    const close = received.lastIndexOf(Buffer.from([4030 >> 8, 4030 & 0xff]));
    expect(received.subarray(close + 2).toString()).toStartWith("SLOW_CONSUMER: ");
  });
});
