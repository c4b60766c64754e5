import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connectNarrow } from "../support/narrow-socket.ts";
import { openEvents } from "../support/sse-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena, until } from "./beside.ts";
import { dial, dialSocket, frame, head, TEXT, upgradeHead } from "./raw-peer.ts";

/** Readers that never read, while others do. */

const READERS = 200;
const SESSION = "loud";
const MESSAGE_BYTES = 16 * 1024;
/** Far more than the kernel and the gateway hold for one reader, together. */
const MESSAGES_MAX = 1_000;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: ANY_RATE } });
  await arena.call("session.create", { session_id: SESSION });
});
afterAll(() => arena[Symbol.asyncDispose]());

const bearer = (): Record<string, string> => ({ Authorization: `Bearer ${arena.gateway.token}` });
const connections = async (): Promise<number> => (await arena.call("system.status")).connections;
const subscribe = frame({
  opcode: TEXT,
  payload: `{"type":"req","id":"s","method":"session.subscribe","params":{"session_id":"${SESSION}"}}`,
});

/** Connects as over a network, says this and reads up to the live events, and nothing of those. */
async function deaf(request: string, then: Buffer | null): Promise<Disposable> {
  const follows = Promise.withResolvers<void>();
  let heard = "";
  const socket = await connectNarrow(arena.port, undefined, {
    data(from, bytes) {
      if (heard === "" && then !== null) from.write(then);
      heard += bytes.toString("latin1");
      if (!heard.includes("session.synced")) return;
      from.pause();
      follows.resolve();
    },
    close: () => follows.reject(new Error(`ended after: ${heard}`)),
  });
  socket.write(request);
  await follows.promise;
  return { [Symbol.dispose]: () => void socket.terminate() };
}
const deafSocket = (): Promise<Disposable> => deaf(upgradeHead(arena.port, bearer()), subscribe);
const deafStream = (): Promise<Disposable> =>
  deaf(`${head(`GET /api/v1/sessions/${SESSION}/events`, arena.port, bearer())}\r\n`, null);

/** What a message begins with. */
function numberOf(text: string): number {
  return Number.parseInt(JSON.parse(text).payload.message.content, 10);
}

test("200 sockets and 200 event streams that never read are ended; who reads misses nothing", () =>
  arena.beside(async () => {
    const { slow_consumers } = await arena.call("system.stats");
    await using socket = await openSocket(arena.gateway.ws_url, { headers: bearer() });
    await socket.request("session.subscribe", { session_id: SESSION });
    const url = `${arena.gateway.url}/api/v1/sessions/${SESSION}/events`;
    const stream = await openEvents(url, { headers: bearer() });
    await stream.next((event) => event.event === "session.synced");
    const before = await connections();
    const readers: Disposable[] = [];
    await crowd(READERS, 8, async () => readers.push(await deafSocket(), await deafStream()));
    expect(await connections()).toBe(before + 2 * READERS);

    const read: number[] = [];
    const reading = (async () => {
      for await (const { event, data } of stream) if (event === "message.created") read.push(numberOf(data));
    })();

    let sent = 0;
    while ((await connections()) > before) {
      expect(sent).toBeLessThan(MESSAGES_MAX);
      const content = `${sent++}:${"x".repeat(MESSAGE_BYTES)}`;
      await arena.call("chat.inject", { session_id: SESSION, role: "user", content });
    }
    const order = Array.from({ length: sent }, (_, i) => i);
    const heard = (): number[] =>
      socket.frames.filter(({ json }) => json.event === "message.created").map(({ raw }) => numberOf(raw));
    await until(() => read.length === sent && heard().length === sent, "every message");
    expect([read, heard()]).toEqual([order, order]);
    expect((await arena.call("system.stats")).slow_consumers).toBe(slow_consumers + 2 * READERS);
    stream.close();
    await reading.catch(() => undefined);
    for (const reader of readers) reader[Symbol.dispose]();
  }));

describe("answers that nobody reads", () => {
  const LONG = "long";
  const MESSAGES = 300;
  beforeAll(async () => {
    await arena.call("session.create", { session_id: LONG });
    const content = "x".repeat(MESSAGE_BYTES / 2);
    await crowd(MESSAGES, 8, () => arena.call("chat.inject", { session_id: LONG, role: "user", content }));
  });
  const paths: [string, () => string][] = [
    ["pages of a history", () => `/api/v1/sessions/${LONG}/messages?limit=1000`],
    ["the description of the API", () => "/docs/json"],
    ["a script of its pages", () => "/docs/swagger-ui.js"],
  ];

  test.each(paths)("250 at once over HTTP: %s", (_, path) =>
    arena.beside(async () => {
      const peers = await Promise.all(Array.from({ length: 250 }, () => dial(arena.port)));
      for (const peer of peers) peer.pause();
      await Promise.all(
        peers.map((peer) => peer.write(`${head(`GET ${path()}`, arena.port, bearer())}\r\n`)),
      );
      expect((await arena.ask("GET", path(), { headers: bearer() })).status).toBe(200);
      for (const peer of peers) peer[Symbol.dispose]();
    }),
  );

  test("a long log from its beginning, on 50 sockets, four times each", () =>
    arena.beside(async () => {
      const peers = await Promise.all(Array.from({ length: 50 }, () => dialSocket(arena.port, bearer())));
      for (const peer of peers) {
        peer.pause();
        for (let i = 0; i < 4; i++) {
          const params = { session_id: LONG, after: 0, catch_up: "log" };
          const request = { type: "req", id: `r${i}`, method: "session.subscribe", params };
          await peer.write(frame({ opcode: TEXT, payload: JSON.stringify(request) }));
        }
      }
      await arena.call("chat.history", { session_id: LONG, limit: 1_000 });
      for (const peer of peers) peer.resume();
      await until(() => peers.every((peer) => peer.bytes > MESSAGES * (MESSAGE_BYTES / 2)), "the log");
      for (const peer of peers) peer[Symbol.dispose]();
    }));
});
