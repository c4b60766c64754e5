import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { deflateRawSync, gzipSync } from "node:zlib";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";
import type { FrameParts, Heard, RawSocket } from "./raw-peer.ts";
import { BINARY, CLOSE, CONTINUATION, dialSocket, frame, PING, PONG, TEXT } from "./raw-peer.ts";

/** Frames that the protocol below ours forbids, or that are more than anybody may send. */

const KIB = 1024;
const FRAME_BYTES = 256 * KIB;
const BEAT = '{"type":"req","id":"b","method":"heartbeat"}';
const ROUNDS = 3;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: { connect_deadline_ms: 1_000 } } });
});
afterAll(() => arena[Symbol.asyncDispose]());

function owner(headers: Record<string, string> = {}): Promise<RawSocket> {
  return dialSocket(arena.port, { Authorization: `Bearer ${arena.gateway.token}`, ...headers });
}

/** What a socket hears that sends just this, to the close or up to the answer to a heartbeat behind it. */
async function hear(peer: RawSocket, frames: readonly FrameParts[]): Promise<Heard[]> {
  for (const each of frames) await peer.write(frame(each));
  await peer.write(frame({ opcode: TEXT, payload: BEAT }));
  const answered = (): boolean => peer.heard.some((each) => "text" in each && each.text.includes('"ts":'));
  await until(() => peer.closed || answered(), "a close or an answer");
  return peer.heard;
}

const whole = (payload: string | Uint8Array, more: Partial<FrameParts> = {}): FrameParts => ({
  opcode: TEXT,
  payload,
  ...more,
});

const closing = (code: number, reason: number[] | string = ""): Buffer =>
  Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason as string)]);

describe("what is no frame is the end of its socket alone", () => {
  const cases: [string, FrameParts[], number][] = [
    ["unmasked", [whole(BEAT, { masked: false })], 1002],
    ["the first reserved bit, which a compressed one would have", [whole(BEAT, { rsv: 4 })], 1002],
    ["the second reserved bit", [whole(BEAT, { rsv: 2 })], 1002],
    ["the third reserved bit", [whole(BEAT, { rsv: 1 })], 1002],
    ["an opcode for data that nobody knows", [{ opcode: 3, payload: BEAT }], 1002],
    ["an opcode for control that nobody knows", [{ opcode: 11, payload: BEAT }], 1002],
    ["a ping in pieces", [{ opcode: PING, fin: false }], 1002],
    ["a ping of 126 bytes", [{ opcode: PING, payload: "x".repeat(126) }], 1002],
    ["a continuation of nothing", [{ opcode: CONTINUATION, payload: BEAT }], 1002],
    ["a message inside a message", [whole("{", { fin: false }), whole(BEAT)], 1002],
    ["a close of one byte", [{ opcode: CLOSE, payload: "x" }], 1002],
    ["a close with a code that is never sent", [{ opcode: CLOSE, payload: Buffer.from([3, 237]) }], 1002],
    ["a close with a code below all", [{ opcode: CLOSE, payload: closing(999) }], 1002],
    ["a close with a code between those that are", [{ opcode: CLOSE, payload: closing(1_016) }], 1002],
    ["a close with a code beyond all", [{ opcode: CLOSE, payload: closing(5_000) }], 1002],
    ["a close in pieces", [{ opcode: CLOSE, fin: false, payload: closing(1_000) }], 1002],
    ["a close whose reason is not UTF-8", [{ opcode: CLOSE, payload: closing(1_000, [255, 254]) }], 1007],
    ["UTF-8 beyond the last character", [whole(Buffer.from([0xf4, 0x90, 0x80, 0x80]))], 1007],
    ["UTF-8 that is longer than it has to be", [whole(Buffer.from([0xc0, 0xaf]))], 1007],
    ["bytes that are not UTF-8", [whole(Buffer.from([34, 255, 254, 34]))], 1007],
    ["a lone surrogate in UTF-8", [whole(Buffer.from([0xed, 0xa0, 0x80]))], 1007],
    [
      "a character that breaks off at the end of a fragment",
      [whole(Buffer.from([34, 0xe2]), { fin: false }), { opcode: CONTINUATION, payload: '""' }],
      1007,
    ],
    ["one byte too much by its header", [whole("x", { length: BigInt(FRAME_BYTES + 1) })], 1009],
    ["2^62 bytes by its header", [whole("x", { length: 1n << 62n })], 1009],
    ["2^63 bytes by its header", [whole("x", { length: 1n << 63n })], 1009],
    [
      "too much by the sum of its fragments",
      [whole(" ".repeat(FRAME_BYTES), { fin: false }), { opcode: CONTINUATION, payload: " " }],
      1009,
    ],
  ];
  const sockets: [string, () => Promise<RawSocket>][] = [
    ["after the handshake", owner],
    ["before it", () => dialSocket(arena.port)],
  ];
  test.each(sockets)("%s", (_, open) =>
    arena.beside(async () => {
      for (const [what, sent, code] of cases) {
        for (let round = 0; round < ROUNDS; round++) {
          using peer = await open();
          expect([what, await hear(peer, sent)]).toEqual([what, [{ close: code }]]);
        }
      }
    }),
  );
});

describe("what is rarely sent is still a frame", () => {
  const cases: [string, FrameParts[], RegExp | number][] = [
    [
      "a character in two fragments, with a ping in between",
      [
        whole(Buffer.from('{"type":"req","id":"\xc3', "latin1"), { fin: false }),
        { opcode: PING, payload: "?" },
        { opcode: CONTINUATION, payload: Buffer.from('\xa9","method":"heartbeat"}', "latin1") },
      ],
      /"id":"\u00e9","ok":true/,
    ],
    ["a pong that nobody asked for", [{ opcode: PONG, payload: "!" }], /"id":"b","ok":true/],
    ["a byte order mark before the JSON", [whole(`\ufeff${BEAT}`)], /"kind":"json"/],
    ["no text at all", [whole("")], /"kind":"json"/],
    ["a close without a code", [{ opcode: CLOSE }], 1005],
    ["a close in the middle of a message", [whole("{", { fin: false }), { opcode: CLOSE }], 1005],
    ["a close twice", [{ opcode: CLOSE, payload: closing(1_000) }, { opcode: CLOSE }], 1000],
    ["a close with a code of ours", [{ opcode: CLOSE, payload: closing(4_029) }], 4029],
    [
      "a close whose reason is made for a log",
      [{ opcode: CLOSE, payload: closing(4_999, 'bye\r\n{"level":"error","msg":"forged"}') }],
      4999,
    ],
  ];
  test("and is answered, or closed as it says", () =>
    arena.beside(async () => {
      for (const [what, sent, expected] of cases) {
        using peer = await owner();
        const [first] = await hear(peer, sent);
        const said = first !== undefined && "text" in first ? first.text : first?.close;
        if (typeof expected === "number") expect([what, peer.heard]).toEqual([what, [{ close: expected }]]);
        else expect(`${what}: ${said}`).toMatch(expected);
      }
    }));
});

test("a binary frame is answered, and thirty of them within a minute are the end", () =>
  arena.beside(async () => {
    using peer = await owner();
    for (let i = 0; i < 40; i++) await peer.write(frame({ opcode: BINARY, payload: BEAT }));
    await peer.over;
    const answers = peer.heard.slice(0, -1).map((each) => ("text" in each ? JSON.parse(each.text) : null));
    expect(answers).toHaveLength(30);
    for (const { ok, id, error } of answers) {
      expect({ ok, id, error }).toMatchObject({
        ok: false,
        id: null,
        error: { code: "INVALID_REQUEST", details: { kind: "binary" } },
      });
    }
    expect(peer.heard.at(-1)).toEqual({ close: 4000 });
  }));

describe("fragments without end", () => {
  const many = (count: number, payload: string): Buffer =>
    Buffer.concat(Array.from({ length: count }, () => frame({ opcode: CONTINUATION, fin: false, payload })));

  test("of a byte each are closed with 1009 at the bound of a frame", () =>
    arena.beside(async () => {
      using peer = await owner();
      await peer.write(frame(whole("{", { fin: false })));
      const tiny = many(10_000, " ");
      for (let i = 0; i < 30 && !peer.closed; i++) await peer.write(tiny);
      await peer.over;
      expect(peer.heard).toEqual([{ close: 1009 }]);
    }));

  test("that are empty add nothing, and the message behind them is answered", () =>
    arena.beside(async () => {
      using peer = await owner();
      await peer.write(frame(whole("", { fin: false })));
      const empty = many(10_000, "");
      for (let i = 0; i < 30; i++) await peer.write(empty);
      await peer.write(frame({ opcode: CONTINUATION, payload: BEAT }));
      await until(() => peer.heard.length > 0, "the answer");
      expect(peer.heard).toMatchObject([{ text: expect.stringContaining('"ok":true') }]);
    }));

  test("that are empty do not put off the deadline of connect", () =>
    arena.beside(async () => {
      using peer = await dialSocket(arena.port);
      const began = performance.now();
      await peer.write(frame(whole("", { fin: false })));
      const empty = many(100, "");
      while (!peer.closed && performance.now() - began < 5_000) {
        await peer.write(empty);
        await Bun.sleep(10);
      }
      expect(peer.heard).toMatchObject([{ text: expect.stringContaining("TIMEOUT") }, { close: 4008 }]);
    }));
});

describe("pings and pongs without end", () => {
  const many = (opcode: number): Buffer =>
    Buffer.concat(Array.from({ length: 5_000 }, () => frame({ opcode, payload: "x".repeat(125) })));
  const connections = async (): Promise<number> => (await arena.call("system.status")).connections;

  test.each([
    ["pings", PING],
    ["pongs", PONG],
  ])("%s are closed with 4029", (_, opcode) =>
    arena.beside(async () => {
      for (const headers of [{ Authorization: `Bearer ${arena.gateway.token}` }, {}]) {
        using peer = await dialSocket(arena.port, headers);
        const controls = many(opcode);
        for (let i = 0; i < 100 && !peer.closed; i++) await peer.write(controls);
        await peer.over;
        expect(peer.heard).toMatchObject([
          { text: expect.stringContaining("RATE_LIMITED") },
          { close: 4029 },
        ]);
      }
    }),
  );

  test("by who reads nothing", () =>
    arena.beside(async () => {
      const before = await connections();
      using peer = await owner();
      peer.pause();
      const pings = many(PING);
      for (let i = 0; i < 100 && !peer.closed; i++) await peer.write(pings);
      while ((await connections()) > before) await Bun.sleep(20);
    }));
});

describe("compression", () => {
  const offers = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=15",
  ];
  test("is not agreed on, and a bomb in it is no frame", () =>
    arena.beside(async () => {
      // 64 MiB of spaces in 64 KiB.
      const bomb = deflateRawSync(Buffer.alloc(64 * KIB * KIB, 32));
      for (const offer of offers) {
        using peer = await owner({ "Sec-WebSocket-Extensions": offer });
        expect(peer.answer).toStartWith("HTTP/1.1 101 ");
        expect(peer.answer.toLowerCase()).not.toContain("sec-websocket-extensions");
        expect([offer, await hear(peer, [whole(bomb, { rsv: 4 })])]).toEqual([offer, [{ close: 1002 }]]);
      }
    }));

  test("of a body is refused before anything is unpacked", () =>
    arena.beside(async () => {
      const bomb = gzipSync(Buffer.alloc(64 * KIB * KIB, 32));
      for (const encoding of ["gzip", "deflate", "br", "gzip, gzip"]) {
        const response = await fetch(`${arena.gateway.url}/api/v1/sessions`, {
          method: "POST",
          headers: {
            authorization: `Bearer ${arena.gateway.token}`,
            "content-type": "application/json",
            "content-encoding": encoding,
          },
          body: bomb,
        });
        expect([encoding, response.status]).toEqual([encoding, 415]);
      }
    }));
});
