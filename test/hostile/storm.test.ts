import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEvents } from "../support/sse-client.ts";
import { openSocket } from "../support/ws-client.ts";
import { flood } from "../process/flood.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena, until } from "./beside.ts";
import { dial, dialSocket, frame, head, TEXT } from "./raw-peer.ts";

/** Clients that come and go, and all at once, and want everything from the beginning. */

const CHURN = 1_000;
const AT_ONCE = 20;
const SESSION = "long";
const EVENTS = 3_000;
const CLIENTS = 60;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  await arena.call("session.create", { session_id: SESSION });
  await flood(arena.gateway, EVENTS, (i) => ({
    method: "chat.inject",
    params: { session_id: SESSION, role: "user", content: `m${i}` },
  }));
});
afterAll(() => arena[Symbol.asyncDispose]());

const bearer = (): Record<string, string> => ({ Authorization: `Bearer ${arena.gateway.token}` });
const connections = async (): Promise<number> => (await arena.call("system.status")).connections;
/** Resolves when nobody is left but those who were there before. */
async function left(before: number): Promise<void> {
  while ((await connections()) > before) await Bun.sleep(10);
}

const subscribe = JSON.stringify({
  type: "req",
  id: "s",
  method: "session.subscribe",
  params: { session_id: SESSION, after: 0, catch_up: "log" },
});

describe("coming and going leaves nothing behind", () => {
  const visits: [string, () => Promise<void>][] = [
    [
      "TCP connections that say nothing",
      async () => {
        using _peer = await dial(arena.port);
      },
    ],
    [
      "sockets that are reset at once",
      async () => {
        using _peer = await dialSocket(arena.port, bearer());
      },
    ],
    [
      "sockets that are reset in the middle of a replay",
      async () => {
        using peer = await dialSocket(arena.port, bearer());
        await peer.write(frame({ opcode: TEXT, payload: subscribe }));
      },
    ],
    [
      "sockets that close as they should",
      async () => {
        await using socket = await openSocket(arena.gateway.ws_url, { headers: bearer() });
        await socket.request("heartbeat");
      },
    ],
    [
      "requests whose answer nobody waits for",
      async () => {
        using peer = await dial(arena.port);
        await peer.write(`${head(`GET /api/v1/sessions/${SESSION}/messages`, arena.port, bearer())}\r\n`);
      },
    ],
    [
      "event streams that are cut at their beginning",
      async () => {
        using peer = await dial(arena.port);
        await peer.write(`${head(`GET /api/v1/sessions/${SESSION}/events`, arena.port, bearer())}\r\n`);
      },
    ],
  ];
  test.each(visits)("%s", (_, visit) =>
    arena.beside(async () => {
      const before = await connections();
      await crowd(CHURN, AT_ONCE, visit);
      await left(before);
      const { watchers } = await arena.call("presence.list", { session_id: SESSION });
      expect(watchers).toEqual([]);
    }),
  );
});

describe("everybody comes back at once, from 0, to a long session", () => {
  const order = Array.from({ length: EVENTS }, (_, i) => i + 2);

  test("over sockets", () =>
    arena.beside(async () => {
      const before = await connections();
      await crowd(CLIENTS, CLIENTS, async () => {
        using peer = await dialSocket(arena.port, bearer());
        let text = "";
        peer.listen((bytes) => (text += bytes.toString("latin1")));
        await peer.write(frame({ opcode: TEXT, payload: subscribe }));
        await until(() => text.includes('"session.synced"'), "the end of the log", 20_000);
        const seqs = [...text.matchAll(/"message\.created".*?"seq":(\d+)/g)].map(([, seq]) => Number(seq));
        expect(seqs).toEqual(order);
      });
      await left(before);
    }));

  test("over event streams", () =>
    arena.beside(async () => {
      const before = await connections();
      const { epoch } = await arena.call("session.get", { session_id: SESSION });
      const url = `${arena.gateway.url}/api/v1/sessions/${SESSION}/events?catch_up=log`;
      await crowd(CLIENTS, CLIENTS, async () => {
        const stream = await openEvents(url, { headers: bearer(), lastEventId: `${epoch}.0` });
        const seqs: number[] = [];
        for (let event = await stream.next(); event.event !== "session.synced"; event = await stream.next()) {
          if (event.event === "message.created") seqs.push(JSON.parse(event.data).seq);
        }
        expect(seqs).toEqual(order);
        stream.close();
      });
      await left(before);
    }));

  test("on one socket, over and over", () =>
    arena.beside(async () => {
      using peer = await dialSocket(arena.port, bearer());
      for (let i = 0; i < 300; i++) {
        const payload = subscribe.replace('"s"', `"s${i}"`);
        await peer.write(frame({ opcode: TEXT, payload }));
      }
      await peer.write(frame({ opcode: TEXT, payload: '{"type":"req","id":"last","method":"heartbeat"}' }));
      let seen = -1;
      while (seen !== peer.bytes) {
        seen = peer.bytes;
        await Bun.sleep(100);
      }
      expect(peer.closed).toBe(false);
    }));
});
