import { describe, expect, test } from "bun:test";
import type { Snapshot } from "../../src/protocol/entities.ts";
import { until } from "../support/engine.ts";
import type { ServerEvent } from "../support/sse-client.ts";
import { openEvents } from "../support/sse-client.ts";
import { frameOf, isSynced } from "./http.events.ts";
import { bearer, startHttp } from "./http.fixture.ts";

describe("the opening", () => {
  test("without a cursor it is a snapshot, with its head as the id; then synced, then live", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1", title: "One" } });
    const stream = await at.open("/api/v1/sessions/s1/events");
    expect([
      stream.status,
      stream.headers.get("content-type"),
      stream.headers.get("x-accel-buffering"),
    ]).toEqual([200, "text/event-stream", "no"]);
    const opening = await stream.next();
    // Before anything else, how soon to come back and something to read.
    expect(stream.silent).toEqual(["retry: 1000\n: agentbus"]);
    const { payload, epoch, session_id } = frameOf(opening);
    const snapshot = payload["snapshot"] as Snapshot;
    expect([opening.event, opening.id, payload["head"]]).toEqual(["session.snapshot", `${epoch}.1`, 1]);
    expect([session_id, snapshot.session.title, snapshot.session.head]).toEqual(["s1", "One", 1]);
    const synced = await stream.next();
    expect([synced.event, synced.id, frameOf(synced).payload]).toEqual([
      "session.synced",
      null,
      { epoch, at: 1 },
    ]);
    await at.send("s1");
    const created = await stream.next((event) => event.event === "message.created");
    expect([created.id, frameOf(created).seq]).toEqual([`${epoch}.2`, 2]);
    stream.close();
  });

  test("with a cursor the log continues, byte for byte as a socket gets it", async () => {
    await using at = await startHttp();
    const socket = at.core.connect("owner");
    const sent = await socket.request<{ run_id: string; epoch: string }>("chat.send", {
      session_id: "s1",
      message: "hi",
    });
    await socket.request("run.wait", { run_id: sent.run_id });
    const live = socket.sent.filter((text) => text.startsWith('{"type":"event"') && text.includes('"seq":'));
    const first = `${sent.epoch}.1`;
    for (const [path, options] of [
      [`s1/events?after=${first}`, {}],
      ["s1/events", { lastEventId: first }],
      // The header is what the client read last; the parameter is from when it began.
      [`s1/events?after=${sent.epoch}.3`, { lastEventId: first }],
      [`s1/events?after=${first}&catch_up=log`, { lastEventId: "nonsense" }],
    ] as const) {
      const stream = await at.open(`/api/v1/sessions/${path}`, options);
      const opening = await stream.next();
      expect([opening.event, opening.id]).toEqual(["session.resumed", first]);
      expect(frameOf(opening).payload).toEqual({ from: 1, head: live.length + 1 });
      const read: ServerEvent[] = [];
      for (let event = await stream.next(); !isSynced(event); event = await stream.next()) read.push(event);
      expect(read.map((event) => event.data)).toEqual(live);
      expect(read.map((event) => event.id)).toEqual(
        read.map((event) => `${sent.epoch}.${frameOf(event).seq}`),
      );
      expect(read.map((event) => event.event)).toEqual(read.map((event) => frameOf(event).event));
      stream.close();
    }
  });

  test("a cursor the log does not have is answered with a reset", async () => {
    await using at = await startHttp();
    const { epoch } = await at.send("s1");
    for (const [lastEventId, reason] of [
      ["00000000.1", "epoch"],
      [`${epoch}.9000`, "ahead"],
    ] as const) {
      const stream = await at.open("/api/v1/sessions/s1/events", { lastEventId });
      const opening = await stream.next();
      expect([opening.event, frameOf(opening).payload["reason"]]).toEqual(["session.reset", reason]);
      expect(opening.id).toBe(`${epoch}.${String(frameOf(opening).payload["head"])}`);
      stream.close();
    }
  });

  test("a cursor that does not parse counts as none in the header, and is refused in the URL", async () => {
    await using at = await startHttp();
    await at.send("s1");
    const stream = await at.open("/api/v1/sessions/s1/events", { lastEventId: "abc.1" });
    expect((await stream.next()).event).toBe("session.snapshot");
    stream.close();
    for (const after of [
      "",
      "5",
      "k3v9q2a7.-1",
      "k3v9q2a7.1.5",
      "k3v9q2a7.99999999999999999",
      "K3V9Q2A7.1",
    ]) {
      const { status, body } = await at.ask("GET", `/api/v1/sessions/s1/events?after=${after}`);
      expect([after, status, body.error.details]).toEqual([after, 400, { kind: "cursor", path: "after" }]);
    }
  });
});

describe("refusals come as JSON, before the stream", () => {
  test("401, 403, 404, 410, 422", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "old" } });
    await at.ask("DELETE", "/api/v1/sessions/old");
    const tried = [
      ["/api/v1/sessions/s1/events", null, 401, "UNAUTHORIZED"],
      ["/api/v1/sessions/s1/events", "writer", 403, "FORBIDDEN"],
      ["/api/v1/sessions/s1/events", "other", 404, "NOT_FOUND"],
      ["/api/v1/sessions/nowhere/events", "owner", 404, "NOT_FOUND"],
      ["/api/v1/sessions/old/events", "owner", 410, "GONE"],
      ["/api/v1/sessions/s1/events?limit=5", "owner", 422, "INVALID_REQUEST"],
      ["/api/v1/sessions/s1/events?catch_up=all", "owner", 400, "INVALID_REQUEST"],
      ["/api/v1/sessions/s1/events?until=run_none", "owner", 404, "NOT_FOUND"],
    ] as const;
    for (const [path, token, status, code] of tried) {
      const answer = await at.ask("GET", path, { token });
      expect([path, answer.status, answer.body.error?.code]).toEqual([path, status, code]);
    }
    expect(
      (await fetch(`${at.url}/api/v1/sessions/s1/events`, { method: "HEAD", headers: bearer("owner") }))
        .status,
    ).toBe(405);
    expect(at.context.connections.size).toBe(0);
  });

  test("a ticket opens one stream", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const { body } = await at.ask("POST", "/api/v1/tickets");
    const url = `${at.url}/api/v1/sessions/s1/events?ticket=${body.ticket}`;
    const stream = await openEvents(url);
    expect((await stream.next()).event).toBe("session.snapshot");
    stream.close();
    expect((await openEvents(url)).status).toBe(401);
    at.tickets.add("t9");
    expect((await at.ask("GET", "/api/v1/sessions/s1/events?ticket=t9")).status).toBe(400);
  });

  test("a stream is a connection, and there is a bound on those", async () => {
    await using at = await startHttp({ limits: { max_connections: 1 } });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const stream = await at.open("/api/v1/sessions/s1/events", { headers: { "x-client-id": "wall" } });
    await stream.next(isSynced);
    const { body } = await at.ask("GET", "/api/v1/clients");
    expect(body.clients).toEqual([
      expect.objectContaining({
        transport: "sse",
        client_id: "wall",
        user: "owner",
        state: "connected",
        remote: "127.0.0.1",
      }),
    ]);
    const full = await at.ask("GET", "/api/v1/sessions/s1/events");
    expect([full.status, full.headers.get("retry-after"), full.body.error.details.kind]).toEqual([
      503,
      "2",
      "connections",
    ]);
    expect(at.counted.limits).toEqual(["max_connections"]);
    stream.close();
    await until(() => at.context.connections.size === 0);
    const next = await at.open("/api/v1/sessions/s1/events");
    expect(next.status).toBe(200);
    next.close();
  });
});
