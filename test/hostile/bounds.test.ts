import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena, until } from "./beside.ts";
import { dialSocket } from "./raw-peer.ts";

/** More than anybody may have at once: requests, runs, subscriptions, connections. */

const IN_FLIGHT = 16;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
});
afterAll(() => arena[Symbol.asyncDispose]());

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
const connect = (token = arena.gateway.token): Promise<TestSocket> =>
  openSocket(arena.gateway.ws_url, { headers: bearer(token) });

describe("what is not answered yet is bounded", () => {
  test("sixteen requests at once, the rest is told to wait and did nothing", () =>
    arena.beside(async (round) => {
      const session_id = `counted${round}`;
      await using socket = await connect();
      await socket.request("session.create", { session_id });
      const refused: string[] = [];
      const done = await Promise.all(
        Array.from({ length: 1_000 }, (_, i) =>
          socket.request("chat.inject", { session_id, role: "user", content: `m${i}` }).then(
            () => 1,
            ({ code, details, retry_after_ms }) => {
              refused.push(code);
              expect([details.kind, retry_after_ms > 0]).toEqual(["in_flight", true]);
              return 0;
            },
          ),
        ),
      );
      const count = done.reduce<number>((sum, each) => sum + each, 0);
      expect(count).toBeGreaterThanOrEqual(IN_FLIGHT);
      expect(refused).toEqual(Array.from({ length: 1_000 - count }, () => "RATE_LIMITED"));
      expect((await socket.request("chat.history", { session_id, limit: 1 })).total).toBe(count);
    }));

  test("an id in flight is not another request's", () =>
    arena.beside(async () => {
      await using socket = await connect();
      const { run_id } = await socket.request("chat.send", { session_id: "ids", message: "one two three" });
      for (let i = 0; i < 50; i++) {
        socket.send({ type: "req", id: "same", method: "run.wait", params: { run_id, timeout_ms: 60_000 } });
      }
      await socket.next(({ json }) => json.id === "same" && json.ok === true);
      await socket.request("heartbeat");
      const answers = socket.frames
        .filter(({ json }) => json.id === "same")
        .map(({ json }) => json.error?.details?.kind);
      expect(answers.filter((kind) => kind === "id").length).toBeGreaterThan(0);
      expect(answers).toHaveLength(50);
    }));

  test("a session queues sixteen runs behind the one that runs", () =>
    arena.beside(async () => {
      await using socket = await connect();
      const said = "word ".repeat(400);
      const outcomes: string[] = [];
      for (let i = 0; i < 40; i++) {
        const params = { session_id: "queue", message: said, subscribe: false };
        outcomes.push(
          await socket.request("chat.send", params).then(
            ({ status }) => status,
            ({ code, details }) => `${code} ${details.kind}`,
          ),
        );
      }
      expect(new Set(outcomes)).toEqual(new Set(["started", "queued", "CONFLICT full"]));
      expect(outcomes.filter((outcome) => outcome === "CONFLICT full").length).toBeGreaterThan(10);
      const aborted = await socket.request("chat.abort", { session_id: "queue" });
      expect(aborted.run_ids.length).toBeLessThanOrEqual(17);
    }));
});

describe("subscriptions", () => {
  const SESSIONS = 130;
  const MOST = 128;
  beforeAll(async () => {
    await crowd(SESSIONS, 8, (i) => arena.call("session.create", { session_id: `f${i}` }));
  });

  test("128 of a connection, and the same one over and over", () =>
    arena.beside(async () => {
      await using socket = await connect();
      for (let i = 0; i < SESSIONS; i++) {
        const outcome = await socket.request("session.subscribe", { session_id: `f${i}` }).then(
          ({ mode }) => mode,
          ({ code, details }) => `${code} ${details.kind} ${details.limit}`,
        );
        expect([i, outcome]).toEqual([i, i < MOST ? "snapshot" : `CONFLICT full ${MOST}`]);
      }
      await using other = await connect();
      for (let i = 0; i < 2_500; i++) {
        const method = i % 2 === 0 ? "session.subscribe" : "session.unsubscribe";
        await other.request(method, { session_id: "f0" });
      }
      const { watchers } = await socket.request("presence.list", { session_id: "f1" });
      expect(watchers).toHaveLength(1);
    }));

  test("10,000 on 80 connections, and one event reaches each of them once", () =>
    arena.beside(async (round) => {
      const sockets = await Promise.all(Array.from({ length: 80 }, () => connect()));
      try {
        await crowd(sockets.length, 8, async (at) => {
          const socket = sockets[at] as TestSocket;
          for (let i = 0; i < 125; i++) await socket.request("session.subscribe", { session_id: `f${i}` });
        });
        const event = `app.hello${round}`;
        await arena.call("event.send", { session_id: "f7", event, payload: {}, durable: true });
        const heard = (socket: TestSocket): number =>
          socket.frames.filter(({ raw }) => raw.includes(`"event":"${event}"`)).length;
        await until(() => sockets.every((socket) => heard(socket) > 0), "the event");
        expect(sockets.map(heard)).toEqual(sockets.map(() => 1));
      } finally {
        for (const socket of sockets) socket.close();
        await Promise.all(sockets.map((socket) => socket.closed));
      }
    }));
});

describe("connections", () => {
  const PER_USER = 200;
  const TOTAL = 1_000;

  /** Opens sockets until none is let in; those that were, and why the next was not. */
  async function fill(token: string, most: number) {
    const sockets: TestSocket[] = [];
    await crowd(most, 16, async () => {
      const socket = await connect(token).catch(() => null);
      if (socket !== null) sockets.push(socket);
    });
    const response = await requestUpgrade(arena.gateway.ws_url, bearer(token));
    const { error } = (await response.json()) as { error?: { code: string; details: { what: string } } };
    const refused = { status: response.status, code: error?.code, what: error?.details.what };
    return { sockets, refused, retry: response.headers.get("retry-after") };
  }
  async function closeAll(sockets: readonly TestSocket[]): Promise<void> {
    for (const socket of sockets) socket.close();
    await Promise.all(sockets.map((socket) => socket.closed));
  }

  test("of one user are 200, whatever tokens they have, and others still come in", () =>
    arena.beside(async (round) => {
      const user = `crowd${round}`;
      const tokens = await Promise.all([0, 1, 2].map(() => arena.guest({ user, role: "operator" })));
      const filled = await fill(tokens[0]?.token ?? "", PER_USER + 50);
      expect(filled.sockets).toHaveLength(PER_USER);
      expect(filled.refused).toEqual({ status: 503, code: "UNAVAILABLE", what: "max_connections_per_user" });
      expect(Number(filled.retry)).toBeGreaterThan(0);
      // Another token of theirs, a connect in the first frame and a stream are no way around it.
      for (const { token } of tokens) {
        await expect(connect(token)).rejects.toThrow("refused");
        await using late = await openSocket(arena.gateway.ws_url);
        const greeted = late.request("connect", { auth_token: token });
        await expect(greeted).rejects.toMatchObject({ code: "UNAVAILABLE" });
        expect((await late.closed).code).toBe(1013);
        const { session_id } = await arena.call("session.create", {}, token);
        const stream = await arena.ask("GET", `/api/v1/sessions/${session_id}/events`, {
          headers: bearer(token),
        });
        expect([stream.status, stream.body.error.code]).toEqual([503, "UNAVAILABLE"]);
      }
      const other = await arena.guest({ user: `other${round}`, role: "user" });
      await (await connect(other.token))[Symbol.asyncDispose]();
      await closeAll(filled.sockets);
    }));

  test("are a thousand in all, even for the owner, and the last ones do not hurt the first", () =>
    arena.beside(async () => {
      const { connections } = await arena.call("system.status");
      const filled = await fill(arena.gateway.token, TOTAL + 20);
      expect(filled.sockets).toHaveLength(TOTAL - connections);
      expect(filled.refused).toEqual({ status: 503, code: "UNAVAILABLE", what: "max_connections" });
      // A socket that says nothing yet is refused before it is one, and REST needs no place.
      using stranger = await dialSocket(arena.port);
      expect(stranger.answer).toStartWith("HTTP/1.1 503 ");
      expect((await arena.call("system.status")).connections).toBe(TOTAL);
      await closeAll(filled.sockets);
    }));
});
