import { describe, expect, test } from "bun:test";
import type { Run, Snapshot } from "../../src/protocol/entities.ts";
import type { TransportContext } from "../../src/transport/context.ts";
import { manualClock } from "../support/clock.ts";
import { until } from "../support/engine.ts";
import { frameOf, isEndOfRun, isSynced, toldModel } from "./http.events.ts";
import { bearer, startHttp } from "./http.fixture.ts";

describe("while it runs", () => {
  test("a client that leaves is gone at once, with all it followed", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const stream = await at.open("/api/v1/sessions/s1/events");
    await stream.next(isSynced);
    const [connection] = at.context.connections.all();
    const [subscription] = connection?.subscriptions.values() ?? [];
    expect([connection?.transport, subscription?.state]).toEqual(["sse", "live"]);
    // Nothing but the socket holds the request by now.
    Bun.gc(true);
    stream.close();
    await until(() => at.context.connections.size === 0);
    expect([subscription?.state, connection?.subscriptions.size]).toEqual(["ended", 0]);
    expect(at.presence.map(({ state }) => state)).toEqual(["joined", "left"]);
    const ref = await at.context.directory.find("owner", "s1", "read");
    expect(at.context.hub.followers(`o:${ref.id}`)).toBe(0);
  });

  test("many readers of one session read the same", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => at.open("/api/v1/sessions/s1/events")),
    );
    await Promise.all(streams.map((stream) => stream.next(isSynced)));
    await at.send("s1");
    const read = await Promise.all(
      streams.map(async (stream) => {
        const all: string[] = [];
        for (;;) {
          const event = await stream.next();
          if (event.id !== null) all.push(event.raw);
          if (isEndOfRun(event)) return all;
        }
      }),
    );
    expect(read[0]?.length).toBeGreaterThan(5);
    for (const each of read) expect(each).toEqual(read[0] ?? []);
    for (const stream of streams) stream.close();
  });

  test("somebody it is shared with reads the same events under the gateway's name of the session", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const { id } = await at.context.directory.find("owner", "s1", "read");
    await at.ask("POST", "/api/v1/rpc/session.share", {
      body: { session_id: "s1", user: "other", role: "viewer" },
    });
    const own = await at.open("/api/v1/sessions/s1/events");
    const shared = await at.open(`/api/v1/sessions/${id}/events`, { headers: bearer("other") });
    const seen: unknown[] = [];
    for (const stream of [own, shared]) {
      const opening = frameOf(await stream.next());
      await stream.next(isSynced);
      seen.push([opening.session_id, (opening.payload["snapshot"] as Snapshot).session.session_id]);
    }
    await at.send("s1");
    for (const stream of [own, shared]) {
      const created = await stream.next((event) => event.event === "message.created");
      seen.push([frameOf(created).session_id, frameOf(created).seq]);
      stream.close();
    }
    expect(seen).toEqual([
      ["s1", "s1"],
      [id, id],
      ["s1", 2],
      [id, 2],
    ]);
    expect((await at.ask("GET", "/api/v1/sessions/s1/events", { token: "other" })).status).toBe(404);
  });

  test("signals come under their name, without an id", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const stream = await at.open("/api/v1/sessions/s1/events");
    await stream.next(isSynced);
    await at.ask("POST", "/api/v1/rpc/event.broadcast", {
      body: { event: "app.note", payload: { text: "a\nb\r\n: c" } },
    });
    const note = await stream.next((event) => event.event === "app.note");
    expect([note.id, frameOf(note).payload]).toEqual([null, { text: "a\nb\r\n: c" }]);
    stream.close();
  });

  test("a session that is deleted ends its streams, and says so to those who come again", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const stream = await at.open("/api/v1/sessions/s1/events");
    await stream.next(isSynced);
    await at.ask("DELETE", "/api/v1/sessions/s1");
    const last = (await stream.rest()).filter((event) => event.event.startsWith("session."));
    expect(last.map((event) => event.event)).toEqual(
      expect.arrayContaining(["session.closed", "session.unsubscribed"]),
    );
    expect(frameOf(last.find((event) => event.event === "session.unsubscribed")).payload["reason"]).toBe(
      "deleted",
    );
    expect((await at.open("/api/v1/sessions/s1/events")).status).toBe(410);
  });

  test("what is said to a stream before it is closed is read", async () => {
    await using at = await startHttp();
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const stream = await at.open("/api/v1/sessions/s1/events");
    await stream.next(isSynced);
    const [connection] = at.context.connections.all();
    await at.ask("POST", "/api/v1/rpc/event.broadcast", { body: { event: "app.bye", payload: {} } });
    await at.ask("POST", "/api/v1/rpc/client.disconnect", { body: { connection_id: connection?.id } });
    expect((await stream.rest()).map((event) => event.event)).toContain("app.bye");
    expect(at.context.connections.size).toBe(0);
  });

  test("a comment every 10 s, by one timer that nobody pays for without a stream", async () => {
    const clock = manualClock();
    await using at = await startHttp({ clock });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    // What a start and a new session wait for is done.
    clock.advance(1_000);
    const idle = clock.pending;
    const streams = [
      await at.open("/api/v1/sessions/s1/events"),
      await at.open("/api/v1/sessions/s1/events"),
    ];
    for (const stream of streams) await stream.next(isSynced);
    expect(clock.pending).toBe(idle + 1);
    for (const comments of [[":"], [":", ":"]]) {
      clock.advance(10_000);
      await at.ask("POST", "/api/v1/rpc/event.broadcast", { body: { event: "app.note", payload: {} } });
      for (const stream of streams) {
        await stream.next((event) => event.event === "app.note");
        expect(stream.silent).toEqual(["retry: 1000\n: agentbus", ...comments]);
      }
    }
    for (const stream of streams) stream.close();
    await until(() => at.context.connections.size === 0);
    clock.advance(1_000);
    expect(clock.pending).toBe(idle);
  });
});

describe("until a run has ended", () => {
  test("the stream ends with it", async () => {
    const model = toldModel();
    await using at = await startHttp({ script: model.script });
    const { run_id, epoch } = await at.send("s1");
    const stream = await at.open(`/api/v1/sessions/s1/events?until=${run_id}`);
    await stream.next(isSynced);
    model.say("hello");
    model.stop();
    const rest = await stream.rest();
    const [last, end] = rest.slice(-2);
    expect([last?.event, end?.event, end?.id]).toEqual(["run.completed", "end", null]);
    expect(frameOf(end)).toMatchObject({ event: "end", session_id: "s1", payload: { run_id } });
    expect(last?.id).toStartWith(`${epoch}.`);

    // What a browser does next: it comes again from where it was.
    const again = await at.open(`/api/v1/sessions/s1/events?until=${run_id}`, {
      lastEventId: last?.id ?? "",
    });
    expect([again.status, await again.rest()]).toEqual([204, []]);
    expect(at.context.connections.size).toBe(0);
  });

  test("a run that has ended long ago: 204 past its end, and its end before that", async () => {
    await using at = await startHttp();
    const first = await at.send("s1");
    await at.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id: first.run_id } });
    const { head } = (await at.ask("GET", "/api/v1/sessions/s1")).body;
    const second = await at.send("s1");
    await at.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id: second.run_id } });
    const statusAt = async (seq: number): Promise<number> => {
      const stream = await at.open(`/api/v1/sessions/s1/events?until=${first.run_id}`, {
        lastEventId: `${first.epoch}.${seq}`,
      });
      stream.close();
      return stream.status;
    };
    expect(await statusAt(head)).toBe(204);
    expect(await statusAt(head + 2)).toBe(204);
    const stream = await at.open(`/api/v1/sessions/s1/events?until=${first.run_id}`, {
      lastEventId: `${first.epoch}.${head - 1}`,
    });
    expect((await stream.rest()).map((event) => event.event)).toEqual([
      "session.resumed",
      "run.completed",
      "end",
    ]);
    const whole = await at.open(`/api/v1/sessions/s1/events?until=${first.run_id}`);
    expect((await whole.rest()).map((event) => event.event)).toEqual([
      "session.snapshot",
      "session.synced",
      "end",
    ]);
    await until(() => at.context.connections.size === 0);
  });

  test("a run that ends while the stream is opened is over in the snapshot", async () => {
    await using at = await startHttp();
    const { run_id } = await at.send("s1");
    await at.ask("POST", "/api/v1/rpc/run.wait", { body: { run_id } });
    const { context } = at as { context: { -readonly [K in keyof TransportContext]: TransportContext[K] } };
    const { dispatch } = context;
    // What was read before the end was committed.
    context.dispatch = (caller, request, answer) =>
      dispatch(caller, request, (outcome) => {
        if (request.method !== "run.get" || !outcome.ok || !("payload" in outcome)) return answer(outcome);
        return answer({ ok: true, payload: { ...(outcome.payload as Run), status: "running" } });
      });
    const stream = await at.open(`/api/v1/sessions/s1/events?until=${run_id}`);
    expect((await stream.rest()).map((event) => event.event)).toEqual([
      "session.snapshot",
      "session.synced",
      "end",
    ]);
  });

  test("a run of another session is not found", async () => {
    await using at = await startHttp();
    const { run_id } = await at.send("s1");
    await at.send("s2");
    expect((await at.ask("GET", `/api/v1/sessions/s2/events?until=${run_id}`)).status).toBe(404);
  });
});
