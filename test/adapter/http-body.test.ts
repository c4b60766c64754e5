import { expect, test } from "bun:test";
import { connect } from "node:net";
import { until } from "../support/engine.ts";
import type { TestHttp } from "./http.fixture.ts";
import { startHttp } from "./http.fixture.ts";

/** Bodies that are refused, or not read at all, and go on coming. */

const MIB = 1024 * 1024;
/** What is taken in of them at the most, in pieces of a byte in six, and what may be on its way besides. */
const MOST_BYTES = 6 * 4 * MIB + 16 * MIB;
const AUTHORIZATION = "Authorization: Bearer owner\r\n";
const CHUNK = `10000\r\n${" ".repeat(65_536)}\r\n`;

/** Sends a request and its body, as long as it is taken; what was sent, and whether the gateway ended it. */
async function pour(at: TestHttp, line: string, headers: string, piece: string) {
  const { hostname, port } = new URL(at.url);
  const socket = connect(Number(port), hostname);
  let closed = false;
  socket.on("error", () => undefined);
  socket.on("close", () => (closed = true));
  const type = "Content-Type: application/json\r\n";
  socket.write(`${line} HTTP/1.1\r\nHost: localhost:${port}\r\n${type}${headers}\r\n`);
  let sent = 0;
  while (!closed && sent < 2 * MOST_BYTES) {
    sent += piece.length;
    socket.write(piece);
    // The gateway is in this process and needs its turns.
    do await new Promise((resolve) => setImmediate(resolve));
    while (!closed && socket.writableLength > 0);
  }
  socket.destroy();
  return { sent, closed };
}

test("a body that nobody reads is not taken in without end", async () => {
  await using at = await startHttp();
  const chunked = "Transfer-Encoding: chunked\r\n";
  const long = `Content-Length: ${1024 * MIB}\r\n`;
  const cases: [string, string, string][] = [
    ["POST /api/v1/sessions", `${AUTHORIZATION}${long}`, " ".repeat(65_536)],
    ["POST /api/v1/sessions", `${AUTHORIZATION}${chunked}`, CHUNK],
    ["POST /api/v1/sessions", long, " ".repeat(65_536)],
    ["POST /api/v1/sessions", chunked, CHUNK],
    ["POST /api/v1/sessions", `${AUTHORIZATION}${chunked}`, "1\r\n \r\n".repeat(10_000)],
    ["POST /nothing", chunked, CHUNK],
    ["GET /health", long, " ".repeat(65_536)],
    ["GET /health", chunked, CHUNK],
    ["DELETE /api/v1/sessions/s", `${AUTHORIZATION}${chunked}`, CHUNK],
    ["OPTIONS /api/v1/sessions", chunked, CHUNK],
  ];
  for (const [line, headers, piece] of cases) {
    const { sent, closed } = await pour(at, line, headers, piece);
    expect([line, headers, closed, sent < MOST_BYTES]).toEqual([line, headers, true, true]);
  }
});

test("one that is too large by little, or not read, and comes to its end is told so and keeps its connection", async () => {
  await using at = await startHttp();
  const { hostname, port } = new URL(at.url);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.on("data", (bytes) => (text += bytes.toString("latin1")));
  const head = `HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Type: application/json\r\n`;
  const body = " ".repeat(3 * MIB);
  const length = `Content-Length: ${body.length}\r\n`;
  socket.write(`POST /api/v1/sessions ${head}${AUTHORIZATION}${length}\r\n${body}`);
  await until(() => text.includes("limits.body_bytes"));
  socket.write(`POST /api/v1/sessions ${head}${length}\r\n${body}`);
  await until(() => text.includes("UNAUTHORIZED"));
  // Read to its end, whatever it is sent in.
  socket.write(
    `POST /api/v1/sessions ${head}${AUTHORIZATION}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  );
  await until(() => text.includes("HTTP/1.1 201 "));
  socket.write(`GET /health ${head}\r\n`);
  await until(() => text.includes("healthy"));
  expect(text.toLowerCase()).not.toContain("connection: close");
  socket.destroy();
});

test("one without a length that is too large is told so, where it ends soon", async () => {
  await using at = await startHttp();
  async function* pieces() {
    for (let i = 0; i < 40; i++) yield new Uint8Array(65_536).fill(32);
  }
  const response = await fetch(`${at.url}/api/v1/sessions`, {
    method: "POST",
    headers: { authorization: "Bearer owner", "content-type": "application/json" },
    body: pieces() as unknown as ReadableStream,
  });
  expect(response.status).toBe(413);
  expect(await response.json()).toMatchObject({ error: { code: "TOO_LARGE" } });
});

test("one that says it is far too large is refused at once, and may be sent for a moment longer", async () => {
  await using at = await startHttp();
  const { hostname, port } = new URL(at.url);
  const headers = `Host: localhost:${port}\r\nContent-Type: application/json\r\nContent-Length: ${64 * MIB}\r\n`;
  const socket = connect(Number(port), hostname);
  let [text, closed] = ["", false];
  socket.on("data", (bytes) => (text += bytes.toString("latin1")));
  socket.on("error", () => undefined);
  socket.on("close", () => (closed = true));
  socket.write(`POST /api/v1/sessions HTTP/1.1\r\n${headers}${AUTHORIZATION}\r\n`);
  await until(() => text.includes("limits.body_bytes"));
  expect(text).toStartWith("HTTP/1.1 413 ");
  expect(text.toLowerCase()).toContain("connection: close");
  for (let sent = 0; sent < 8 * MIB; sent += 65_536) {
    socket.write(" ".repeat(65_536));
    while (socket.writableLength > 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(closed).toBe(false);
  // Not for ever, though it says nothing more.
  await until(() => closed);
  expect(text).toEndWith("}}\r\n0\r\n\r\n");
});
