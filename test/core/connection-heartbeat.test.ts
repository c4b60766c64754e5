import { describe, expect, test } from "bun:test";
import type { Principal } from "../../src/core/principal.ts";
import type { Subscription } from "../../src/core/subscription.ts";
import { SocketConnection } from "../../src/transport/connection.ts";
import { Heartbeat } from "../../src/transport/heartbeat.ts";
import { fakePort } from "../support/socket-stub.ts";
import type { FakePort } from "../support/socket-stub.ts";
import { OWNER, stubTransport } from "../support/transport-stub.ts";
import type { StubSetup } from "../support/transport-stub.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

function setup(options: StubSetup & { principal?: Principal | null } = {}) {
  const stub = stubTransport(options);
  const sockets = new Set<SocketConnection>();
  const heartbeat = new Heartbeat(stub.context, sockets);
  heartbeat.start();
  function open(principal: Principal | null = options.principal === undefined ? OWNER : options.principal) {
    const port = fakePort();
    const connection = new SocketConnection(stub.context, {
      remote: "::1",
      origin: "",
      principal,
      challenge: null,
    });
    sockets.add(connection);
    connection.opened(port);
    return { connection, port };
  }
  return { stub, heartbeat, open, ...open() };
}

function lastError(port: FakePort): string {
  return port.sent.at(-1)?.error?.code;
}

test("one timer serves every connection, and none is left after stop", () => {
  const { stub, heartbeat, open } = setup();
  for (let n = 0; n < 100; n++) open();
  heartbeat.start();
  expect(stub.clock.pending).toBe(1);
  heartbeat.stop();
  heartbeat.stop();
  expect(stub.clock.pending).toBe(0);
});

describe("heartbeat", () => {
  test("comes every interval, with the heads under the reader's names, and a ping", () => {
    const { stub, connection, port } = setup();
    const tail = { epoch: "abcdefgh", head: 41 };
    const mine = { id: "ses_1", owner: "owner", name: "__proto__" };
    const shared = { id: "ses_2", owner: "bob", name: "work" };
    connection.subscriptions.set("ses_1", {
      session: mine,
      naming: "owner",
      tail,
    } as unknown as Subscription);
    connection.subscriptions.set("ses_2", {
      session: shared,
      naming: "gateway",
      tail,
    } as unknown as Subscription);
    stub.clock.advance(29_000);
    expect(port.sent).toEqual([]);
    tail.head = 42;
    stub.clock.advance(1_000);
    const ts = stub.clock.now();
    expect(JSON.stringify(port.sent)).toBe(
      JSON.stringify([
        {
          type: "event",
          event: "heartbeat",
          ts,
          payload: { ts, heads: JSON.parse('{"__proto__":["abcdefgh",42],"ses_2":["abcdefgh",42]}') },
        },
      ]),
    );
    expect(port.pings).toBe(1);
    connection.pulse.ponged();
    stub.clock.advance(30_000);
    expect(port.sent).toHaveLength(2);
    expect(port.pings).toBe(2);
  });

  test("three pings may stay unanswered", () => {
    const { stub, connection, port } = setup();
    stub.clock.advance(60_000);
    connection.pulse.ponged();
    stub.clock.advance(90_000);
    expect(port.pings).toBe(5);
    expect(port.closed).toBeNull();
    connection.pulse.heard();
    stub.clock.advance(30_000);
    expect(lastError(port)).toBe("TIMEOUT");
    expect(port.closed?.code).toBe(4008);
  });

  test("silence for connection_timeout closes 4008; whatever comes breaks it", () => {
    const { stub, connection, port } = setup({ options: { connection_timeout_secs: 20 } });
    stub.clock.advance(19_000);
    connection.receive('{"type":"req","id":"1","method":"echo"}');
    stub.clock.advance(20_000);
    expect(port.closed).toBeNull();
    stub.clock.advance(1_000);
    expect(lastError(port)).toBe("TIMEOUT");
    expect(port.closed?.code).toBe(4008);
    expect(stub.counted.limits).toEqual(["connection_timeout_secs"]);
  });

  test("5 s to connect, whatever else is sent", () => {
    const { stub, connection, port } = setup({ principal: null });
    stub.clock.advance(4_000);
    connection.receive('{"type":"nonsense"}');
    expect(port.closed).toBeNull();
    stub.clock.advance(1_000);
    expect(lastError(port)).toBe("TIMEOUT");
    expect(port.closed?.code).toBe(4008);
    expect(stub.counted.limits).toEqual(["connect_deadline_ms"]);
  });

  test("the check of a credential has a deadline too, counted from connect", () => {
    const { stub, connection, port } = setup();
    stub.authenticate = () => new Promise(() => undefined);
    stub.clock.advance(10_000);
    connection.receive('{"type":"req","id":"h","method":"connect","params":{"auth_token":"x"}}');
    stub.clock.advance(4_000);
    expect(port.closed).toBeNull();
    stub.clock.advance(1_000);
    expect(port.closed?.code).toBe(4008);
  });

  test("a credential that expires ends the connection, 4001", () => {
    const now = stubTransport().clock.now();
    const { stub, port } = setup({ principal: { ...OWNER, expires_at: now + 2_500 } });
    stub.clock.advance(2_000);
    expect(port.closed).toBeNull();
    stub.clock.advance(1_000);
    expect(lastError(port)).toBe("UNAUTHORIZED");
    expect(port.closed?.code).toBe(4001);
  });
});

describe("slow readers", () => {
  test("more than 1 MiB buffered closes 4030", () => {
    const { stub, port } = setup();
    port.waiting = MIB;
    stub.clock.advance(1_000);
    expect(port.closed).toBeNull();
    port.waiting = MIB + 1;
    stub.clock.advance(1_000);
    expect(lastError(port)).toBe("SLOW_CONSUMER");
    expect(port.closed?.code).toBe(4030);
    expect(stub.counted.slow).toBe(1);
  });

  test("one large frame does not count, as long as it waits", () => {
    const { stub, connection, port } = setup();
    connection.send({ text: JSON.stringify("x".repeat(2 * MIB)), type: "t", epoch: null, seq: null });
    port.waiting = 3 * MIB;
    stub.clock.advance(1_000);
    expect(port.closed).toBeNull();
    // Of that frame 512 KiB can be left at the most.
    port.waiting = 512 * KIB;
    stub.clock.advance(1_000);
    port.waiting = 1.5 * MIB;
    stub.clock.advance(1_000);
    expect(port.closed).toBeNull();
    port.waiting = 1.5 * MIB + 1;
    stub.clock.advance(1_000);
    expect(port.closed?.code).toBe(4030);
  });

  test("more than 64 KiB that does not shrink for 15 s closes 4030", () => {
    const { stub, port } = setup();
    port.waiting = 64 * KIB + 1;
    stub.clock.advance(15_000);
    expect(port.closed).toBeNull();
    stub.clock.advance(1_000);
    expect(port.closed?.code).toBe(4030);
    expect(stub.counted.slow).toBe(1);
  });

  test("a reader whose buffer shrinks once in a while stays, though it grows over all", () => {
    const { stub, port } = setup();
    for (let round = 0; round < 5; round++) {
      port.waiting = (200 + 100 * round) * KIB;
      stub.clock.advance(14_000);
      port.waiting -= 16 * KIB;
      stub.clock.advance(1_000);
    }
    expect(port.closed).toBeNull();
  });

  test("64 KiB may wait for ever", () => {
    const { stub, connection, port } = setup();
    port.waiting = 64 * KIB;
    for (let n = 0; n < 10; n++) {
      stub.clock.advance(20_000);
      connection.pulse.ponged();
    }
    expect(port.closed).toBeNull();
  });

  test("a drain that nobody told of is noticed within a second", async () => {
    const { stub, connection, port } = setup();
    port.waiting = 70 * KIB;
    let resolved = false;
    const drained = connection.drained(64 * KIB).then(() => (resolved = true));
    stub.clock.advance(1_000);
    await Promise.resolve();
    expect(resolved).toBe(false);
    port.waiting = 0;
    stub.clock.advance(1_000);
    await drained;
    expect(resolved).toBe(true);
  });

  test("1006 with much in the buffer a second before counts as slow", () => {
    const { stub, connection, port } = setup();
    port.waiting = 65 * KIB;
    stub.clock.advance(1_000);
    connection.ended(1006);
    expect(stub.counted.slow).toBe(1);
  });
});
