import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";
import type { RawSocket } from "./raw-peer.ts";
import { dialSocket, frame, TEXT } from "./raw-peer.ts";

/** More requests than anybody waits for the answers of. */

const FRAMES = 10_000;
const BATCH = 2_000;
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
