import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { openArena, until } from "./beside.ts";
import type { RawPeer, RawSocket } from "./raw-peer.ts";
import { dial, dialSocket, frame, head, TEXT } from "./raw-peer.ts";

/** Peers that do not finish what they begin, and requests of which two readers would make two different ones. */

const JSON_BODY = { "Content-Type": "application/json" };
/** How long a request may take to be there, and a body; what is waited for in addition is a busy machine's. */
const HEAD_MS = 12_000;
const BODY_MS = 30_000;
const LATE_MS = 5_000;
const DRIP_MS = 500;
const SLOW = 50;

let arena: Arena;
let bodies: SlowBodies;
beforeAll(async () => {
  arena = await openArena({ config: { gateway: { heartbeat_interval_secs: 1 } } });
  bodies = await startBodies();
});
afterAll(async () => {
  bodies.stop();
  await arena[Symbol.asyncDispose]();
});

const bearer = (): Record<string, string> => ({ Authorization: `Bearer ${arena.gateway.token}` });
const statusOf = (peer: RawPeer): string => peer.text.split(" ", 2)[1] ?? "";

/** Bodies that come a byte at a time; started early, because they take as long as they may. */
interface SlowBodies {
  readonly known: readonly RawPeer[];
  readonly unknown: readonly RawPeer[];
  readonly began: number;
  stop(): void;
}

async function startBodies(): Promise<SlowBodies> {
  const request = head("POST /api/v1/sessions", arena.port, { ...JSON_BODY, "Content-Length": "100000" });
  const open = (credential: string): Promise<RawPeer[]> =>
    several(SLOW, async () => {
      const peer = await dial(arena.port);
      await peer.write(`${request}${credential}\r\n{`);
      return peer;
    });
  const began = performance.now();
  const known = await open(`Authorization: Bearer ${arena.gateway.token}\r\n`);
  const unknown = await open("");
  const all = [...known, ...unknown];
  const drip = setInterval(() => {
    for (const peer of all) if (!peer.closed) void peer.write(" ");
  }, DRIP_MS);
  const stop = (): void => {
    clearInterval(drip);
    for (const peer of all) peer[Symbol.dispose]();
  };
  return { known, unknown, began, stop };
}

function several<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}

describe("a request that can be read in two ways is read in none", () => {
  const post = (headers: string, body: string): string =>
    `${head("POST /api/v1/sessions", arena.port, { ...JSON_BODY, ...bearer() })}${headers}\r\n${body}`;
  /** What a gateway in front would take for the body, and one behind it for a request. */
  const smuggled = (): string => `${head("GET /health", arena.port)}\r\n`;
  const big = "x".repeat(64 * 1024);
  const cases: [string, () => string, string][] = [
    [
      "Content-Length, then Transfer-Encoding",
      () => post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${smuggled()}`),
      "400",
    ],
    [
      "Transfer-Encoding, then Content-Length",
      () => post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `0\r\n\r\n${smuggled()}`),
      "400",
    ],
    ["two lengths", () => post("Content-Length: 2\r\nContent-Length: 40\r\n", `{}${smuggled()}`), "400"],
    [
      "two encodings",
      () => post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
      "400",
    ],
    [
      "an encoding nobody knows",
      () => post("Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
      "400",
    ],
    [
      "a blank before the colon",
      () => post("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
      "400",
    ],
    ["a length below zero", () => post("Content-Length: -1\r\n", ""), "400"],
    ["a length with a sign", () => post("Content-Length: +2\r\n", "{}"), "400"],
    ["a length beyond 2^64", () => post("Content-Length: 99999999999999999999\r\n", "{}"), "400"],
    ["a chunk beyond 2^64", () => post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}"), "400"],
    ["a folded header", () => `${head("GET /health", arena.port)}X: a\r\n b\r\n\r\n`, "400"],
    ["a NUL in a header", () => `${head("GET /health", arena.port, { X: "a\0b" })}\r\n`, "400"],
    ["no Host", () => "GET /health HTTP/1.1\r\n\r\n", "400"],
    ["a second Host", () => `${head("GET /health", arena.port)}Host: evil.example\r\n\r\n`, "421"],
    ["lines without CR", () => head("GET /health", arena.port).replaceAll("\r", "") + "\n", "505"],
    ["TLS where none is spoken", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"],
    ["HTTP/2 where none is spoken", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"],
    ["a header of 64 KiB", () => `${head("GET /health", arena.port, { X: big })}\r\n`, "431"],
    ["a header that never ends", () => `${head("GET /health", arena.port)}X: ${big}${big}`, "431"],
    ["a path of 64 KiB", () => `${head(`GET /${big}`, arena.port)}\r\n`, "431"],
    ["500 headers", () => `${head("GET /health", arena.port)}${"X: a\r\n".repeat(500)}\r\n`, "431"],
  ];

  test("answered once, and the connection is over where its end cannot be known", () =>
    arena.beside(async () => {
      const { body } = await arena.ask("GET", "/api/v1/sessions", { headers: bearer() });
      for (const [what, make, status] of cases) {
        using peer = await dial(arena.port);
        await peer.write(make());
        await until(() => peer.text.includes("\r\n\r\n"), `an answer to ${what}`);
        expect([what, statusOf(peer)]).toEqual([what, status]);
        // A refused Host is a request like any other; all else ends the connection, and nothing behind it is answered.
        if (status !== "421") await peer.over;
        expect([what, peer.text.split("HTTP/1.1 ").length - 1]).toEqual([what, 1]);
      }
      expect((await arena.ask("GET", "/api/v1/sessions", { headers: bearer() })).body).toEqual(body);
    }));
});

test("requests sent without waiting for answers keep nobody else waiting", () =>
  arena.beside(async () => {
    const requests: string[] = [
      `${head("GET /health", arena.port)}\r\n`,
      `${head("GET /api/v1/sessions", arena.port)}\r\n`,
      `${head("GET /nothing", arena.port)}\r\n`,
      `${head("POST /api/v1/rpc/system.describe", arena.port, { ...bearer(), "Content-Length": "0" })}\r\n`,
    ];
    for (const request of requests) {
      const peers = await several(20, () => dial(arena.port));
      await Promise.all(peers.map((peer) => peer.write(request.repeat(1_000))));
      const { status } = await arena.ask("GET", "/health");
      expect(status).toBe(200);
      for (const peer of peers) peer[Symbol.dispose]();
    }
  }));

test("a body that nobody reads is not kept: 64 MiB to every kind of route", () =>
  arena.beside(async () => {
    const mib = Buffer.alloc(1024 * 1024, 32);
    const routes: [string, Record<string, string>, string][] = [
      ["POST /api/v1/sessions", JSON_BODY, "401"],
      ["POST /api/v1/sessions", { ...JSON_BODY, ...bearer() }, "413"],
      ["POST /api/v1/auth_sessions", JSON_BODY, "413"],
      ["GET /health", {}, "200"],
      ["GET /api/v1/sessions/none/events", bearer(), "404"],
      ["POST /nothing", {}, "404"],
      ["POST /api/v1/sessions", { Host: "evil.example" }, "421"],
    ];
    for (const [line, headers, status] of routes) {
      using peer = await dial(arena.port);
      await peer.write(
        `${head(line, arena.port, { ...headers, "Content-Length": String(64 * mib.length) })}\r\n`,
      );
      for (let i = 0; i < 64 && !peer.closed; i++) await peer.write(mib);
      await until(() => peer.closed || peer.bytes > 0, `an answer to ${line}`);
      expect([line, statusOf(peer)]).toEqual([line, status]);
    }
  }));

test("a head that does not come to its end is given up within 12 s, however it drips", () =>
  arena.beside(async () => {
    const beginnings = [
      "",
      "GET /hea",
      head("GET /health", arena.port),
      head("GET /ws", arena.port, bearer()),
    ];
    const peers = await several(beginnings.length * SLOW, async (index) => {
      const peer = await dial(arena.port);
      const beginning = beginnings[index % beginnings.length] ?? "";
      if (beginning !== "") await peer.write(beginning);
      return { peer, drips: beginning.endsWith("\r\n") };
    });
    const drip = setInterval(() => {
      for (const { peer, drips } of peers) if (drips && !peer.closed) void peer.write("X: a\r\n");
    }, DRIP_MS);
    await Promise.all(peers.map(({ peer }) => peer.over)).finally(() => clearInterval(drip));
    for (const { peer } of peers) expect(peer.closed_ms).toBeLessThan(HEAD_MS + LATE_MS);
  }));

describe("sockets that say nothing", () => {
  // Other addresses than 127.0.0.1 are there on Linux alone.
  test.skipIf(process.platform !== "linux")(
    "500 of them take 256 places, 8 for an address, for 5 s; who has a token comes in meanwhile",
    () =>
      arena.beside(async () => {
        const sockets: RawSocket[] = [];
        for (let i = 0; i < 500; i++) {
          sockets.push(await dialSocket(arena.port, {}, `127.0.1.${1 + Math.floor(i / 10)}`));
        }
        const [taken, refused] = [101, 503].map((status) =>
          sockets.filter(({ answer }) => answer.startsWith(`HTTP/1.1 ${status} `)),
        );
        expect([taken?.length, refused?.length]).toEqual([256, 244]);
        for (const { answer } of refused ?? []) expect(answer.toLowerCase()).toContain("retry-after: ");
        using known = await dialSocket(arena.port, bearer());
        expect(known.answer).toStartWith("HTTP/1.1 101 ");
        await Promise.all((taken ?? []).map((socket) => socket.over));
        for (const { heard, closed_ms } of taken ?? []) {
          expect(heard).toMatchObject([{ text: expect.stringContaining('"TIMEOUT"') }, { close: 4008 }]);
          expect(closed_ms).toBeLessThan(5_000 + LATE_MS);
        }
        using later = await dialSocket(arena.port);
        expect(later.answer).toStartWith("HTTP/1.1 101 ");
        for (const socket of sockets) socket[Symbol.dispose]();
      }),
  );

  test("one that was let in and answers no ping is closed with 4008 after three of them", () =>
    arena.beside(async () => {
      const sockets = await several(SLOW, () => dialSocket(arena.port, bearer()));
      // Bare sockets: nobody answers their pings.
      await Promise.all(sockets.map((socket) => socket.over));
      for (const { heard } of sockets) expect(heard.at(-1)).toEqual({ close: 4008 });
    }));

  test("one that is reset in the middle of a frame leaves nothing behind", () =>
    arena.beside(async () => {
      const count = async (): Promise<number> => (await arena.call("system.status")).connections;
      const before = await count();
      await several(SLOW, async () => {
        using socket = await dialSocket(arena.port, bearer());
        await socket.write(frame({ opcode: TEXT, payload: "{", length: 100n }));
      });
      while ((await count()) > before) await Bun.sleep(10);
    }));
});

test(
  "a body that drips is answered 408 after 30 s; without a credential it is refused before",
  () =>
    arena.beside(async () => {
      const { known, unknown, began } = bodies;
      for (const peer of unknown) expect(statusOf(peer)).toBe("401");
      const left = began + BODY_MS + LATE_MS - performance.now();
      await until(() => known.every((peer) => peer.bytes > 0), "the answers", left);
      for (const peer of known) expect(statusOf(peer)).toBe("408");
    }),
  BODY_MS + 2 * LATE_MS,
);
