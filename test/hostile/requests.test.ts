import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Arena } from "./beside.ts";
import { crowd, openArena, until } from "./beside.ts";
import type { RawPeer } from "./raw-peer.ts";
import { dial, dialSocket, head, upgradeHead } from "./raw-peer.ts";

/** Requests of which two readers would make two different ones, and more of them than anybody can mean. */

const JSON_BODY = { "Content-Type": "application/json" };
const MIB = 1024 * 1024;
/** Changes nothing. */
const INFO = "/api/v1/rpc/system.info";
/** What is taken in of a body that nobody reads, and what the kernel holds besides. */
const MOST_BYTES = 32 * MIB;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena();
});
afterAll(() => arena[Symbol.asyncDispose]());

const bearer = (): Record<string, string> => ({ Authorization: `Bearer ${arena.gateway.token}` });
const statusOf = (peer: RawPeer): string => peer.text.split(" ", 2)[1] ?? "";

describe("a request that can be read in two ways", () => {
  const post = (headers: string, body: string, path = "/api/v1/sessions"): string =>
    `${head(`POST ${path}`, arena.port, { ...JSON_BODY, ...bearer() })}${headers}\r\n${body}`;
  const chunked = (body: string): string => post("Transfer-Encoding: chunked\r\n", body);
  const get = (headers = ""): string => `${head("GET /health", arena.port)}${headers}\r\n`;
  const big = "x".repeat(64 * 1024);
  const empty = "2\r\n{}\r\n0\r\n\r\n";

  const refused: [string, () => string, string][] = [
    [
      "Content-Length, then Transfer-Encoding",
      () => post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${get()}`),
      "400",
    ],
    [
      "Transfer-Encoding, then Content-Length",
      () => post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", `0\r\n\r\n${get()}`),
      "400",
    ],
    ["two lengths", () => post("Content-Length: 2\r\nContent-Length: 40\r\n", `{}${get()}`), "400"],
    ["a list of lengths", () => post("Content-Length: 2, 2\r\n", "{}"), "400"],
    ["an empty length", () => post("Content-Length: \r\n", "{}"), "400"],
    ["a length below zero", () => post("Content-Length: -1\r\n", ""), "400"],
    ["a length with a sign", () => post("Content-Length: +2\r\n", "{}"), "400"],
    ["a length in another base", () => post("Content-Length: 0x2\r\n", "{}"), "400"],
    ["a length with something behind it", () => post("Content-Length: 2abc\r\n", "{}"), "400"],
    ["a length beyond 2^64", () => post("Content-Length: 99999999999999999999\r\n", "{}"), "400"],
    [
      "two encodings",
      () => post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", empty),
      "400",
    ],
    ["an encoding before the last one", () => post("Transfer-Encoding: gzip, chunked\r\n", empty), "400"],
    ["an encoding after the last one", () => post("Transfer-Encoding: chunked, gzip\r\n", empty), "400"],
    ["an encoding nobody knows", () => post("Transfer-Encoding: xchunked\r\n", empty), "400"],
    ["an encoding in quotes", () => post('Transfer-Encoding: "chunked"\r\n', empty), "400"],
    ["an encoding behind a vertical tab", () => post("Transfer-Encoding: \vchunked\r\n", empty), "400"],
    ["a blank before the colon", () => post("Transfer-Encoding : chunked\r\n", empty), "400"],
    ["a chunk beyond 2^64", () => chunked("fffffffffffffffff\r\n{}"), "400"],
    ["a chunk below zero", () => chunked("-2\r\n{}\r\n0\r\n\r\n"), "400"],
    ["a chunk in another base", () => chunked("0x2\r\n{}\r\n0\r\n\r\n"), "400"],
    ["a chunk that is longer than it says", () => chunked("2\r\n{}{}\r\n0\r\n\r\n"), "400"],
    ["chunks in lines without CR", () => chunked("2\n{}\n0\n\n"), "400"],
    ["a folded header", () => get("X: a\r\n b\r\n"), "400"],
    ["a header in a line without CR", () => get("X: a\nY: b\r\n"), "400"],
    ["a header without a colon", () => get("X\r\n"), "400"],
    ["a header without a name", () => get(": x\r\n"), "400"],
    ["a NUL in a header", () => get("X: a\0b\r\n"), "400"],
    ["no Host", () => "GET /health HTTP/1.1\r\n\r\n", "400"],
    ["a second Host", () => get("Host: evil.example\r\n"), "421"],
    ["no Host, as in HTTP/1.0", () => "GET /health HTTP/1.0\r\n\r\n", "421"],
    ["HTTP/0.9", () => "GET /health\r\n\r\n", "505"],
    ["HTTP/1.2", () => head("GET /health", arena.port).replace("/1.1", "/1.2") + "\r\n", "505"],
    ["HTTP/2 where none is spoken", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"],
    ["TLS where none is spoken", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"],
    ["lines without CR", () => head("GET /health", arena.port).replaceAll("\r", "") + "\n", "505"],
    ["a space in the path", () => `${head("GET /health x", arena.port)}\r\n`, "505"],
    ["a NUL in the path", () => `${head("GET /health\0", arena.port)}\r\n`, "505"],
    ["an empty line before it", () => `\r\n${get()}`, "400"],
    ["another address for its target", () => `${head(`GET 127.0.0.1:${arena.port}`, arena.port)}\r\n`, "400"],
    ["a header of 64 KiB", () => get(`X: ${big}\r\n`), "431"],
    ["a header that never ends", () => `${head("GET /health", arena.port)}X: ${big}${big}`, "431"],
    ["a path of 64 KiB", () => `${head(`GET /${big}`, arena.port)}\r\n`, "431"],
    ["500 headers", () => get("X: a\r\n".repeat(500)), "431"],
  ];

  test("is answered once, and the connection is over where its end cannot be known", () =>
    arena.beside(async () => {
      const { body } = await arena.ask("GET", "/api/v1/sessions", { headers: bearer() });
      for (const [what, make, status] of refused) {
        using peer = await dial(arena.port);
        await peer.write(Buffer.from(make(), "latin1"));
        await until(() => peer.text.includes("\r\n\r\n"), `an answer to ${what}`);
        expect([what, statusOf(peer)]).toEqual([what, status]);
        // A refused Host is a request like any other; all else ends the connection, and nothing behind it is answered.
        if (status !== "421") await peer.over;
        expect([what, peer.text.split("HTTP/1.1 ").length - 1]).toEqual([what, 1]);
      }
      expect((await arena.ask("GET", "/api/v1/sessions", { headers: bearer() })).body).toEqual(body);
    }));

  test("and is whole before that is answered, and its connection is over", () =>
    arena.beside(async () => {
      for (const request of [
        post("Transfer-Encoding: chunked\r\n", `2\r\n{}\r\n0\r\nX: a\r\n\r\n${get()}`, INFO),
        post("Content-Length: 2\r\n", `{}{}${get()}`, INFO),
        post("", `{}${get()}`, INFO),
      ]) {
        using peer = await dial(arena.port);
        await peer.write(request);
        await peer.over;
        expect(peer.text).not.toContain("healthy");
      }
    }));

  test("a body that a request has no use for is no request", () =>
    arena.beside(async () => {
      const inner = `${head("POST /api/v1/rpc/session.create", arena.port, bearer())}Content-Length: 0\r\n\r\n`;
      const length = `Content-Length: ${inner.length}\r\n`;
      for (const line of [
        "GET /health",
        "GET /api/v1/sessions",
        "DELETE /api/v1/sessions/none",
        "HEAD /health",
      ]) {
        using peer = await dial(arena.port);
        await peer.write(
          `${head(line, arena.port, bearer())}${length}\r\n${inner}${get("Connection: close\r\n")}`,
        );
        await peer.over;
        const statuses = [...peer.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
        expect([line, statuses.length <= 2, statuses.includes("201")]).toEqual([line, true, false]);
      }
      expect((await arena.call("session.list")).sessions).toEqual([]);
    }));

  test("names that look like another's path or verb are that of nothing", () =>
    arena.beside(async () => {
      for (const [path, statuses] of [
        ["//evil.example/health", ["404"]],
        ["/api%2fv1/sessions", ["404"]],
        ["/API/V1/sessions", ["404"]],
        ["/api/v1/sessions;admin=1", ["404"]],
        ["/docs/../../../etc/passwd", ["404"]],
        ["/docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd", ["404"]],
        ["/api/v1/sessions/a%2fb", ["422"]],
        ["/api/v1/sessions/%00", ["422"]],
        ["/api/v1/sessions/%c0%ae", ["400"]],
        ["/api/v1/sessions/%", ["400"]],
      ] as const) {
        using peer = await dial(arena.port);
        await peer.write(`${head(`GET ${path}`, arena.port, { ...bearer(), Connection: "close" })}\r\n`);
        await peer.over;
        expect([path, statuses]).toContainEqual(expect.arrayContaining([statusOf(peer)]));
      }
      const { session_id } = await arena.call("session.create");
      const override = { ...bearer(), "x-http-method-override": "DELETE", "x-method-override": "DELETE" };
      const body = { _method: "DELETE" };
      expect(
        (await arena.ask("POST", `/api/v1/sessions/${session_id}`, { headers: override, body })).status,
      ).toBe(404);
      for (const verb of ["TRACE", "CONNECT", "PUT", "PROPFIND"]) {
        using peer = await dial(arena.port);
        await peer.write(`${head(`${verb} /health`, arena.port, { ...bearer(), Connection: "close" })}\r\n`);
        await peer.over;
        expect([verb, statusOf(peer)]).toEqual([verb, "404"]);
        expect(peer.text).not.toContain(arena.gateway.token);
      }
      await arena.call("session.delete", { session_id });
    }));
});

describe("an upgrade", () => {
  test("that has a body, or does not ask for one, is none", () =>
    arena.beside(async () => {
      const cases: [string, Record<string, string>, string][] = [
        ["a length", { "Content-Length": "10" }, "400"],
        ["chunks", { "Transfer-Encoding": "chunked" }, "400"],
        ["no Connection", { Connection: "keep-alive" }, "426"],
        ["another protocol", { Upgrade: "h2c" }, "426"],
        ["another version", { "Sec-WebSocket-Version": "12" }, "426"],
        ["a short key", { "Sec-WebSocket-Key": "abc" }, "400"],
        [
          "1,000 subprotocols",
          { "Sec-WebSocket-Protocol": Array.from({ length: 1_000 }, (_, i) => `p${i}`).join() },
          "400",
        ],
        [
          "100 tickets",
          { "Sec-WebSocket-Protocol": `agentbus.v1${",agentbus.ticket.x".repeat(100)}` },
          "400",
        ],
      ];
      for (const [what, headers, status] of cases) {
        for (const credential of [bearer(), {}]) {
          using peer = await dialSocket(arena.port, { ...credential, ...headers });
          expect([what, statusOf(peer)]).toEqual([what, status]);
        }
      }
      for (const verb of ["POST", "HEAD"]) {
        using peer = await dial(arena.port);
        await peer.write(
          upgradeHead(arena.port, { ...bearer(), Connection: "Upgrade, close" }).replace("GET", verb),
        );
        await until(() => peer.bytes > 0, "an answer");
        expect([verb, ["400", "404"].includes(statusOf(peer))]).toEqual([verb, true]);
      }
    }));
});

test("requests sent without waiting for answers keep nobody else waiting", () =>
  arena.beside(async () => {
    const requests: string[] = [
      `${head("GET /health", arena.port)}\r\n`,
      `${head("GET /api/v1/sessions", arena.port)}\r\n`,
      `${head("GET /nothing", arena.port)}\r\n`,
      `${head("GET /%zz", arena.port)}\r\n`,
      `${head("HEAD /docs/json", arena.port)}\r\n`,
      `${head("POST /api/v1/rpc/system.describe", arena.port, { ...bearer(), "Content-Length": "0" })}\r\n`,
    ];
    for (const request of requests) {
      const peers = await Promise.all(Array.from({ length: 20 }, () => dial(arena.port)));
      await Promise.all(peers.map((peer) => peer.write(request.repeat(1_000))));
      const { status } = await arena.ask("GET", "/health");
      expect(status).toBe(200);
      for (const peer of peers) peer[Symbol.dispose]();
    }
  }));

describe("a body", () => {
  const chunks = "Transfer-Encoding: chunked\r\n";
  const long = `Content-Length: ${1024 * MIB}\r\n`;
  const spaces = " ".repeat(65_536);
  const whole = `10000\r\n${spaces}\r\n`;
  const bytes = "1\r\n \r\n".repeat(10_000);
  const bodies: [string, () => Record<string, string>, string, string, string][] = [
    ["POST /api/v1/sessions", () => ({}), long, spaces, "401"],
    ["POST /api/v1/sessions", () => ({}), chunks, bytes, "401"],
    ["POST /api/v1/sessions", bearer, long, spaces, "413"],
    ["POST /api/v1/sessions", bearer, chunks, whole, "413"],
    ["POST /api/v1/auth_sessions", () => ({}), chunks, whole, "413"],
    ["GET /health", () => ({}), long, spaces, "200"],
    ["GET /api/v1/sessions/none/events", bearer, chunks, whole, "404"],
    ["POST /nothing", () => ({}), chunks, whole, "404"],
    ["POST /api/v1/sessions", () => ({ Host: "evil.example" }), long, spaces, "421"],
  ];
  test("that nobody reads is not taken in without end, and not kept", () =>
    arena.beside(async () => {
      for (const [line, headers, length, piece, status] of bodies) {
        using peer = await dial(arena.port);
        const request = head(line, arena.port, { ...JSON_BODY, ...headers() });
        let sent = 0;
        await peer.write(`${request}${length}\r\n`);
        for (; sent < 16 * MOST_BYTES && !peer.closed; sent += piece.length) {
          await Promise.race([peer.write(piece), peer.over]);
          await Bun.sleep(0);
        }
        expect([line, length, peer.closed, sent < MOST_BYTES]).toEqual([line, length, true, true]);
        // Who still sends may be cut off before the answer is read.
        expect([line, ["", status]]).toContainEqual(expect.arrayContaining([statusOf(peer)]));
      }
    }));

  test("in a hundred pieces at once, of a byte each, keeps nobody waiting", () =>
    arena.beside(async () => {
      await crowd(100, 20, async () => {
        using peer = await dial(arena.port);
        const request = head("POST /api/v1/auth_sessions", arena.port, JSON_BODY);
        await peer.write(`${request}${chunks}\r\n${bytes}${bytes}0\r\n\r\n`);
        await until(() => peer.bytes > 0, "an answer");
        expect(["400", "401", "422", "429"]).toContain(statusOf(peer));
      });
    }));

  test("of which the line before a chunk does not end is not kept either", () =>
    arena.beside(async () => {
      for (const line of [`2;${"x".repeat(100_000)}`, "0".repeat(100_000)]) {
        using peer = await dial(arena.port);
        await peer.write(`${head("POST /api/v1/auth_sessions", arena.port, JSON_BODY)}${chunks}\r\n`);
        for (let i = 0; i < 200 && !peer.closed; i++) await Promise.race([peer.write(line), peer.over]);
      }
    }));
});
