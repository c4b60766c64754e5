import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { crowd, openArena, until } from "./beside.ts";
import type { RawSocket } from "./raw-peer.ts";
import { dialSocket, frame, TEXT } from "./raw-peer.ts";

/** More requests than anybody waits for the answers of. */

const FRAMES = 10_000;
const BATCH = 2_000;
const IN_FLIGHT = 16;
/** In the answer to the last frame of a flood. */
const LAST = '"id":"last"';

let arena: Arena;
let viewer: string;
beforeAll(async () => {
  arena = await openArena();
  viewer = (await arena.guest({ user: "eve", role: "viewer" })).token;
});
afterAll(() => arena[Symbol.asyncDispose]());

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` });
const connect = (token = arena.gateway.token): Promise<TestSocket> =>
  openSocket(arena.gateway.ws_url, { headers: bearer(token) });

/** Sends frames as fast as they are read; resolves once the last of them, a heartbeat, is answered or all is over. */
async function flood(peer: RawSocket, count: number, make: (index: number) => string): Promise<void> {
  let end = "";
  let answered = false;
  peer.listen((bytes) => {
    end = end.slice(-LAST.length) + bytes.toString("latin1");
    answered ||= end.includes(LAST);
  });
  for (let sent = 0; sent < count && !peer.closed; sent += BATCH) {
    const frames = Array.from({ length: BATCH }, (_, i) => frame({ opcode: TEXT, payload: make(sent + i) }));
    await peer.write(Buffer.concat(frames));
  }
  await peer.write(frame({ opcode: TEXT, payload: req("last", "heartbeat") }));
  await until(() => peer.closed || answered, "the answer to the last");
}
const req = (id: number | string, method: string, params: object = {}): string =>
  `{"type":"req","id":"${id}","method":"${method}","params":${JSON.stringify(params)}}`;

describe("a flood of requests on one socket keeps nobody else waiting", () => {
  const floods: [string, string, object, (() => string)?][] = [
    ["that are answered at once", "heartbeat", {}],
    ["that nobody knows", "no.such.method", {}],
    ["that are read from the store", "session.get", { session_id: "none" }],
    ["with long answers", "system.describe", {}],
    ["that change something", "chat.inject", { session_id: "none", role: "user", content: "x" }],
    ["for tickets", "ticket.create", {}],
    ["to everybody", "event.broadcast", { event: "app.x", payload: {} }],
    ["that are forbidden", "token.create", { name: "mine", role: "admin" }, () => viewer],
    ["to connect again", "connect", {}, () => viewer],
  ];
  test.each(floods)("%s", (_, method, params, token = () => arena.gateway.token) =>
    arena.beside(async () => {
      using peer = await dialSocket(arena.port, bearer(token()));
      await flood(peer, method === "system.describe" ? FRAMES / 10 : FRAMES, (i) => req(i, method, params));
    }),
  );

  test("whose answers are not read: the socket is closed, and its answers are not kept", () =>
    arena.beside(async () => {
      const peer = await dialSocket(arena.port, bearer(arena.gateway.token));
      peer.pause();
      const { connections } = await arena.call("system.status");
      const frames = Buffer.concat(
        Array.from({ length: 200 }, (_, i) => frame({ opcode: TEXT, payload: req(i, "system.describe") })),
      );
      for (let i = 0; i < 50 && !peer.closed; i++) await Promise.race([peer.write(frames), Bun.sleep(1_000)]);
      while ((await arena.call("system.status")).connections >= connections) await Bun.sleep(20);
      peer[Symbol.dispose]();
    }));

  test("and every one of them is answered once, in order", () =>
    arena.beside(async () => {
      using peer = await dialSocket(arena.port, bearer(arena.gateway.token));
      const count = 2 * BATCH;
      await flood(peer, count, (i) => req(i, "heartbeat"));
      const ids = peer.heard.flatMap((each) => ("text" in each ? [JSON.parse(each.text)] : []));
      const answered = ids.filter(({ type }) => type === "res").map(({ id }) => id);
      expect(answered).toEqual([...Array.from({ length: count }, (_, i) => String(i)), "last"]);
    }));
});

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
      for (let i = 0; i < 50; i++) socket.send(req("same", "run.wait", { run_id, timeout_ms: 60_000 }));
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
      using peer = await dialSocket(arena.port, bearer(arena.gateway.token));
      await flood(peer, FRAMES / 4, (i) =>
        req(i, i % 2 === 0 ? "session.subscribe" : "session.unsubscribe", { session_id: "f0" }),
      );
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
