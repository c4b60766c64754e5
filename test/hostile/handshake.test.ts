import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";
import type { Heard, RawSocket } from "./raw-peer.ts";
import { BINARY, dialSocket, frame, TEXT } from "./raw-peer.ts";

/** What comes before `connect`, and a `connect` too many. */

const ROUNDS = 3;
const KIB = 1024;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: { connect_deadline_ms: 1_000 } } });
});
afterAll(() => arena[Symbol.asyncDispose]());

type Said = string | Record<string, unknown>;
const req = (method: string, params?: unknown, id = "1"): string =>
  JSON.stringify({ type: "req", id, method, params });

async function say(socket: RawSocket, ...said: Said[]): Promise<void> {
  for (const each of said) {
    const payload = typeof each === "string" ? each : JSON.stringify(each);
    await socket.write(frame({ opcode: TEXT, payload }));
  }
}

/** Error codes, answers and the close, in order. */
function tell(heard: readonly Heard[]): unknown[] {
  return heard.map((each) => {
    if ("close" in each) return each.close;
    const { ok, error, event } = JSON.parse(each.text);
    return ok === true ? "ok" : (event ?? error.details?.kind ?? error.code);
  });
}

describe("before connect", () => {
  const deep = `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`;
  const cases: [string, readonly Said[], unknown[]][] = [
    ["text that is no JSON", ["hello"], ["json", 4000]],
    ["nothing", [""], ["json", 4000]],
    ["half of a frame", ['{"type":"req","id":"1"'], ["json", 4000]],
    ["a request", [req("session.list")], ["UNAUTHORIZED", 4001]],
    ["a request nobody knows", [req("constructor")], ["UNAUTHORIZED", 4001]],
    ["a heartbeat", [req("heartbeat")], ["UNAUTHORIZED", 4001]],
    [
      "a request and a connect behind it",
      [req("system.info"), req("connect", {}, "2")],
      ["UNAUTHORIZED", 4001],
    ],
    ["8 KiB and a byte", [" ".repeat(8 * KIB + 1)], ["TOO_LARGE", 1009]],
    ["connect of more than 8 KiB", [req("connect", { x: "y".repeat(8 * KIB) })], ["TOO_LARGE", 1009]],
    [
      "8 KiB in all",
      Array.from({ length: 20 }, () => `[${" ".repeat(500)}]`),
      [...Array.from({ length: 16 }, () => "frame"), "TOO_LARGE", 1009],
    ],
    ["JSON too deep, in more than may come", [deep], ["TOO_LARGE", 1009]],
    ["JSON too deep", ["[".repeat(5_000)], ["depth", "TIMEOUT", 4008]],
    [
      "objects that are no request, without end",
      Array.from({ length: 60 }, () => "{}"),
      [...Array.from({ length: 30 }, () => "type"), 4000],
    ],
    [
      "connect with an unknown protocol",
      [req("connect", { protocol: { min: 2, max: 9 } })],
      ["protocol", 4000],
    ],
    [
      "connect with two credentials",
      [req("connect", { auth_token: "a", session_token: "b" }), req("heartbeat", {}, "2")],
      ["credential", "UNAUTHORIZED", 4001],
    ],
    ["connect with none", [req("connect")], ["UNAUTHORIZED", 4001]],
    [
      "connect that is wrong, thirty times",
      Array.from({ length: 40 }, (_, i) => req("connect", { client_id: 1 }, `c${i}`)),
      [...Array.from({ length: 30 }, () => "schema"), 4000],
    ],
  ];
  test("junk is refused and ends its socket", () =>
    arena.beside(async () => {
      for (const [what, said, expected] of cases) {
        const waits = expected.includes("TIMEOUT");
        for (let round = 0; round < (waits ? 1 : ROUNDS); round++) {
          using socket = await dialSocket(arena.port);
          await say(socket, ...said);
          await socket.over;
          expect([what, tell(socket.heard)]).toEqual([what, expected]);
        }
      }
    }));

  test("a binary frame ends it, too", () =>
    arena.beside(async () => {
      using socket = await dialSocket(arena.port);
      await socket.write(
        frame({ opcode: BINARY, payload: req("connect", { auth_token: arena.gateway.token }) }),
      );
      await socket.over;
      expect(tell(socket.heard)).toEqual(["binary", 4000]);
    }));
});

describe("connect", () => {
  const hello = (more: object = {}): string =>
    req("connect", { auth_token: arena.gateway.token, ...more }, "h");
  const answers = (socket: RawSocket, count: number): Promise<void> =>
    until(
      () => tell(socket.heard).filter((each) => each !== "presence.updated").length >= count,
      "the answers",
    );

  test("a second one, and a hundred more, change nothing", () =>
    arena.beside(async () => {
      const viewer = await arena.guest({ role: "viewer", user: "eve" });
      using socket = await dialSocket(arena.port);
      await say(socket, req("connect", { auth_token: viewer.token }, "h"));
      await answers(socket, 1);
      // Who is a viewer stays one, whatever token comes later.
      for (let i = 0; i < 100; i++) await say(socket, hello());
      await say(socket, req("token.list", {}, "t"));
      await answers(socket, 102);
      expect(tell(socket.heard)).toEqual(["ok", ...Array.from({ length: 100 }, () => "state"), "scope"]);
    }));

  test("two at once are one, and what comes behind a wrong one is not answered", () =>
    arena.beside(async () => {
      using both = await dialSocket(arena.port);
      await both.write(
        Buffer.concat(
          [hello(), hello(), req("heartbeat", {}, "b")].map((payload) => frame({ opcode: TEXT, payload })),
        ),
      );
      await answers(both, 3);
      expect(both.heard.map((each) => ("text" in each ? JSON.parse(each.text).ok : each)).toSorted()).toEqual(
        [false, true, true],
      );
      using wrong = await dialSocket(arena.port);
      await wrong.write(
        Buffer.concat(
          [
            req("connect", { auth_token: `agb_${"x".repeat(43)}` }, "h"),
            req("session.create", {}, "s"),
            hello(),
          ].map((payload) => frame({ opcode: TEXT, payload })),
        ),
      );
      await wrong.over;
      expect(tell(wrong.heard).at(-1)).toBe(4001);
      expect(tell(wrong.heard)).not.toContain("ok");
      expect((await arena.call("session.list")).sessions).toEqual([]);
    }));

  test("with the longest and oddest it may say is shown as it was said", () =>
    arena.beside(async () => {
      using socket = await dialSocket(arena.port, {}, undefined);
      const said = {
        client_id: "a\r\nb\0c",
        client_name: "\u2028\u202e<script>",
        version: "x".repeat(64),
        platform: "__proto__",
        capabilities: Array.from({ length: 64 }, () => "constructor"),
      };
      await say(socket, hello(said));
      await answers(socket, 1);
      const { clients } = await arena.call("client.list");
      expect(clients).toContainEqual(expect.objectContaining(said));
    }));
});
