import { afterAll, beforeAll, expect, test } from "bun:test";
import { connectNarrow } from "../support/narrow-socket.ts";
import { openEvents } from "../support/sse-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, crowd, openArena, until } from "./beside.ts";
import { frame, head, TEXT, upgradeHead } from "./raw-peer.ts";

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
