import { describe, expect, test } from "bun:test";
import type { Subscription } from "../../src/core/subscription.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { connected, refusal, req, settle } from "../support/socket-stub.ts";

describe("requests", () => {
  test("answers are encoded by what they are", async () => {
    const { connection, port } = await connected();
    connection.receive(req("echo", { n: 1 }, "a"));
    connection.receive(req("text", undefined, "b"));
    connection.receive(req("nothing", undefined, "c"));
    expect(port.sent).toEqual([
      { type: "res", id: "a", ok: true, payload: { n: 1 } },
      { type: "res", id: "b", ok: true, payload: { from: "text" } },
      refusal("c", { code: "NOT_FOUND" }),
    ]);
  });

  test("an id is unique while it is in flight, and free afterwards", async () => {
    const { connection, port, stub } = await connected();
    connection.receive(req("hold", {}, "a"));
    connection.receive(req("echo", {}, "a"));
    expect(port.sent).toEqual([refusal("a", { code: "CONFLICT", details: { kind: "id" } })]);
    stub.held[0]?.({ ok: true, payload: {} });
    connection.receive(req("echo", {}, "a"));
    expect(port.sent.slice(1).map(({ ok }) => ok)).toEqual([true, true]);
  });

  test("16 in flight, run.wait apart with 32, and what ends work always passes", async () => {
    const { connection, port, stub } = await connected();
    for (let n = 0; n < 16; n++) connection.receive(req("hold", {}, `n${n}`));
    expect(port.sent).toEqual([]);
    connection.receive(req("hold", {}, "over"));
    const limited = { code: "RATE_LIMITED", retryable: true, retry_after_ms: expect.any(Number) };
    expect(port.sent).toEqual([
      refusal("over", { ...limited, details: { kind: "in_flight", what: "in_flight", limit: 16 } }),
    ]);

    for (let n = 0; n < 32; n++) connection.receive(req("run.wait", {}, `w${n}`));
    expect(port.sent).toHaveLength(1);
    connection.receive(req("run.wait", {}, "over"));
    expect(port.sent[1]).toEqual(
      refusal("over", { ...limited, details: { kind: "in_flight", what: "waits_in_flight", limit: 32 } }),
    );
    expect(stub.counted.limits).toEqual(["in_flight", "waits_in_flight"]);

    connection.receive(req("chat.abort", {}, "abort"));
    connection.receive(req("heartbeat", {}, "beat"));
    expect(stub.calls.at(-1)?.method).toBe("chat.abort");
    expect(port.sent[2]).toEqual({ type: "res", id: "beat", ok: true, payload: { ts: stub.clock.now() } });

    stub.held[0]?.({ ok: true, payload: {} });
    connection.receive(req("echo", {}, "again"));
    expect(port.sent.at(-1)).toEqual({ type: "res", id: "again", ok: true, payload: {} });
    connection.receive(req("disconnect", {}, "bye"));
    expect(port.closed?.code).toBe(1000);
  });

  test("heartbeat and disconnect refuse unknown fields", async () => {
    const { connection, port } = await connected();
    connection.receive(req("heartbeat", { x: 1 }, "a"));
    connection.receive(req("disconnect", { x: 1 }, "b"));
    const unknown = { code: "INVALID_REQUEST", details: { kind: "unknown_field", path: "x" } };
    expect(port.sent).toEqual([refusal("a", unknown), refusal("b", unknown)]);
    expect(port.closed).toBeNull();
  });

  test("disconnect answers, then closes 1000", async () => {
    const { connection, port, stub } = await connected();
    connection.receive(req("disconnect", undefined, "bye"));
    expect(port.sent).toEqual([{ type: "res", id: "bye", ok: true, payload: {} }]);
    expect(port.closed).toEqual({ code: 1000, reason: "disconnect" });
    expect(stub.presence.map(({ state }) => state)).toEqual(["joined", "left"]);
  });

  test("bad frames are answered; 30 within a minute close 4000", async () => {
    const { connection, port, stub } = await connected();
    for (let n = 0; n < 29; n++) connection.receive("{");
    stub.clock.advance(60_000);
    for (let n = 0; n < 29; n++) connection.receive(JSON.stringify({ type: "req", id: n, method: "echo" }));
    expect(port.sent).toHaveLength(58);
    expect(port.closed).toBeNull();
    connection.receive("[]");
    expect(port.sent.at(-1)).toEqual(refusal(null, { code: "INVALID_REQUEST", details: { kind: "frame" } }));
    expect(port.closed?.code).toBe(4000);
    expect(stub.counted.limits).toEqual(["bad_frames_per_minute"]);
    expect(stub.counted.errors).toEqual(Array(59).fill("INVALID_REQUEST"));
  });
});

describe("the end", () => {
  test("an error is sent, then its close code; once", async () => {
    const { connection, port, stub } = await connected();
    let resolved = 0;
    port.waiting = 100_000;
    void connection.drained(65_536).then(() => resolved++);
    connection.receive(req("hold", {}, "a"));
    const { signal } = stub.calls[0]!.caller;
    const long = `the gateway is full: ${"ü".repeat(200)}`;
    connection.close(new GatewayError("UNAVAILABLE", long));
    connection.close(new GatewayError("TIMEOUT", "again"));
    connection.end(1000, "again");
    connection.ended(1013);
    expect(port.sent).toEqual([refusal(null, { code: "UNAVAILABLE", message: long })]);
    expect(port.closed?.code).toBe(1013);
    expect(Buffer.byteLength(port.closed?.reason ?? "")).toBeLessThanOrEqual(123);
    expect(`UNAVAILABLE: ${long}`).toStartWith(port.closed?.reason ?? "?");
    expect(signal.aborted).toBe(true);
    expect(stub.unfollowed).toEqual([connection]);
    expect(stub.context.connections.size).toBe(0);
    expect([...stub.context.connections.ofUser("owner")]).toEqual([]);
    expect(stub.presence.map(({ state }) => state)).toEqual(["joined", "left"]);
    await settle();
    expect(resolved).toBe(1);
  });

  test("after it nothing is sent, followed or run", async () => {
    const { connection, port, stub } = await connected();
    connection.receive(req("hold", {}, "a"));
    connection.ended(1001);
    stub.held[0]?.({ ok: true, payload: {} });
    connection.send({ text: '{"type":"event"}', type: "x", epoch: null, seq: null });
    connection.follow("topic");
    connection.ping();
    connection.receive(req("echo", {}, "b"));
    expect(port).toMatchObject({ sent: [], pings: 0, closed: null });
    expect(port.topics.size).toBe(0);
    expect(connection.buffered()).toBe(0);
    expect(stub.calls).toHaveLength(1);
  });

  test("1006 with a full buffer counts as a slow reader, without one it does not", async () => {
    const lost = await connected();
    lost.connection.ended(1006);
    expect(lost.stub.counted.slow).toBe(0);

    const fuse = await connected();
    fuse.port.status = 0;
    fuse.connection.send({ text: "{}", type: "x", epoch: null, seq: null });
    fuse.connection.ended(1006);
    expect(fuse.stub.counted.slow).toBe(1);
  });
});

describe("as a reader", () => {
  test("topics go to the socket", async () => {
    const { connection, port } = await connected();
    connection.follow("a");
    connection.follow("b");
    connection.unfollow("a");
    expect([...port.topics]).toEqual(["b"]);
  });

  test("drained waits for its own threshold", async () => {
    const { connection, port } = await connected();
    const done: number[] = [];
    await connection.drained(1);
    port.waiting = 100;
    void connection.drained(50).then(() => done.push(50));
    void connection.drained(100).then(() => done.push(100));
    connection.wake();
    await settle();
    expect(done).toEqual([]);
    port.waiting = 99;
    connection.wake();
    await settle();
    expect(done).toEqual([100]);
    port.waiting = 0;
    connection.wake();
    await settle();
    expect(done).toEqual([100, 50]);
  });

  test("subscriptions end with the connection", async () => {
    const { connection } = await connected();
    let ends = 0;
    connection.subscriptions.set("ses_1", { end: () => ends++ } as unknown as Subscription);
    connection.ended(1000);
    expect(ends).toBe(1);
  });
});
