import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openSocket, RefusedRequest, requestUpgrade } from "../support/ws-client.ts";
import type { Arena } from "./beside.ts";
import { ANY_RATE, openArena } from "./beside.ts";
import { dial, head } from "./raw-peer.ts";

/** Credentials that are wrong, in every place one can stand, while somebody with a right one wants in. */

const SESSION = "mine";
/** Guesses each way. */
const GUESSES = 60;
/** What the right token may take: as everywhere in these tests. */
const FLOOR_MS = 50;

let arena: Arena;
beforeAll(async () => {
  arena = await openArena({ config: { limits: { ...ANY_RATE, connect_deadline_ms: 1_000 } } });
  await arena.call("session.create", { session_id: SESSION });
});
afterAll(() => arena[Symbol.asyncDispose]());

type Headers_ = Record<string, string>;
const basic = (secret: string): Headers_ => ({ authorization: `Basic ${btoa(`gateway:${secret}`)}` });
const bearer = (secret: string): Headers_ => ({ authorization: `Bearer ${secret}` });
const events = `/api/v1/sessions/${SESSION}/events`;

async function stream(path: string, headers: Headers_): Promise<number> {
  const response = await fetch(`${arena.gateway.url}${path}`, { headers });
  await response.body?.cancel();
  return response.status;
}
async function upgrade(headers: Headers_): Promise<number> {
  const response = await requestUpgrade(arena.gateway.ws_url, headers);
  await response.body?.cancel();
  return response.status;
}
/** 200, or the HTTP status that goes with the error. */
async function connect(params: Record<string, unknown>, headers: Headers_): Promise<number> {
  const socket = await openSocket(arena.gateway.ws_url, { headers });
  try {
    await socket.request("connect", params);
    return 200;
  } catch (error) {
    if (!(error instanceof RefusedRequest)) throw error;
    return { UNAUTHORIZED: 401, RATE_LIMITED: 429, INVALID_REQUEST: 400 }[error.code] ?? error.status;
  } finally {
    socket.close();
  }
}
const login = (body: object, headers: Headers_): Promise<number> =>
  arena.ask("POST", "/api/v1/auth_sessions", { headers, body }).then(({ status }) => status);
const rest = (headers: Headers_): Promise<number> =>
  arena.ask("GET", "/api/v1/sessions", { headers }).then(({ status }) => status);
const ticketed = (ticket: string): Headers_ => ({
  "sec-websocket-protocol": `agentbus.v1, agentbus.ticket.${ticket}`,
});

/** Ways to show a secret; `tokens` are those in which a right token is let in. */
type Way = (secret: string, headers: Headers_) => Promise<number>;
const TOKEN_WAYS: [string, Way][] = [
  ["REST, Bearer", (secret, headers) => rest({ ...headers, ...bearer(secret) })],
  ["REST, Basic", (secret, headers) => rest({ ...headers, ...basic(secret) })],
  ["event stream, Bearer", (secret, headers) => stream(events, { ...headers, ...bearer(secret) })],
  ["upgrade, Bearer", (secret, headers) => upgrade({ ...headers, ...bearer(secret) })],
  ["connect, auth_token", (secret, headers) => connect({ auth_token: secret }, headers)],
  ["login, auth_token", (secret, headers) => login({ auth_token: secret }, headers)],
];
const OTHER_WAYS: [string, Way][] = [
  ["connect, session_token", (secret, headers) => connect({ session_token: secret }, headers)],
  ["upgrade, ticket", (secret, headers) => upgrade({ ...headers, ...ticketed(secret) })],
  ["event stream, ticket", (secret, headers) => stream(`${events}?ticket=${secret}`, headers)],
  ["login, session_token", (secret, headers) => login({ session_token: secret }, headers)],
];

let guesses = 0;
/** Nobody's, and of the right form. */
function guess(prefix: string): string {
  return arena.secret(`${prefix}${String(++guesses).padStart(43, "A")}`);
}
/** What says that the request comes from somewhere else, each time. */
function elsewhere(): Headers_ {
  const address = `203.0.113.${guesses % 250}`;
  return {
    "x-forwarded-for": `${address}, 198.51.100.7`,
    "x-real-ip": address,
    forwarded: `for=${address};proto=https`,
    "cf-connecting-ip": address,
    "true-client-ip": address,
  };
}

describe("guessing", () => {
  test("is slowed down wherever it seems to come from, and never slows down the right token", () =>
    arena.beside(async () => {
      const right = arena.gateway.token;
      const statuses: number[] = [];
      const took: number[] = [];
      for (const [what, go] of [...TOKEN_WAYS, ...OTHER_WAYS]) {
        const prefix = what.includes("ticket") ? "agt_" : what.includes("session") ? "ags_" : "agb_";
        for (let i = 0; i < GUESSES; i++) {
          statuses.push(await go(guess(prefix), elsewhere()));
          const [way, ask] = TOKEN_WAYS[i % TOKEN_WAYS.length] as [string, Way];
          const began = performance.now();
          const status = await ask(right, elsewhere());
          took.push(performance.now() - began);
          expect([way, [101, 200, 201].includes(status)]).toEqual([way, true]);
        }
      }
      // Ten of an address are looked at, then one after every delay; the rest is refused unseen.
      expect(new Set(statuses)).toEqual(new Set([401, 429]));
      expect(statuses.filter((status) => status === 401).length).toBeLessThan(30);
      took.sort((a, b) => a - b);
      expect(took[Math.floor(took.length * 0.99)]).toBeLessThan(FLOOR_MS);
      expect((await arena.call("system.stats")).throttled).toBeGreaterThan(500);
      // One line in ten seconds, with the number of those in between.
      const lines = arena.gateway.log.filter(({ msg }) => msg === "a login was refused");
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.length).toBeLessThan(10);
      expect(new Set(lines.map(({ remote }) => remote))).toEqual(new Set(["127.0.0.1"]));
    }));

  test("where somebody comes from is what his connection says", () =>
    arena.beside(async () => {
      const headers = { ...bearer(arena.gateway.token), ...elsewhere() };
      await using socket = await openSocket(arena.gateway.ws_url, { headers });
      const { clients } = await socket.request("client.list");
      expect(new Set(clients.map(({ remote }: { remote: string }) => remote))).toEqual(
        new Set(["127.0.0.1"]),
      );
    }));

  test("with a right credential beside it is refused, and so is the right one with it", () =>
    arena.beside(async () => {
      const right = arena.gateway.token;
      const junk = guess("agb_");
      const refused: [string, Promise<number>][] = [
        ["header and ticket", upgrade({ ...bearer(right), ...ticketed(junk) })],
        ["junk header and ticket", upgrade({ ...bearer(junk), ...ticketed(right) })],
        ["two tickets", upgrade(ticketed(`${junk}, agentbus.ticket.${junk}`))],
        ["header and ?ticket", stream(`${events}?ticket=${junk}`, bearer(right))],
        ["two in connect", connect({ auth_token: right, session_token: junk }, {})],
        ["token and password", connect({ auth_token: right, password: junk }, {})],
        ["header and body", login({ auth_token: junk }, bearer(right))],
        ["a token in the URL", stream(`${events}?token=${right}`, bearer(right))],
      ];
      for (const [what, status] of refused) expect([what, await status]).toEqual([what, 400]);
      // Who was let in by the header stays so only as long as nothing wrong follows.
      expect([401, 429]).toContain(await connect({ auth_token: junk }, bearer(right)));
      expect([401, 429]).toContain(await rest({ authorization: `Bearer ${right}, Bearer ${junk}` }));
    }));
});

describe("a credential that is none", () => {
  const odd: [string, unknown][] = [
    ["empty", ""],
    ["an array", []],
    ["an array of the right one", ["TOKEN"]],
    ["an object", {}],
    ["an object with the right one", { token: "TOKEN", length: 47, toString: "TOKEN" }],
    ["null", null],
    ["a number", 0],
    ["true", true],
    ["too long", "x".repeat(1_025)],
  ];
  /** With the right token where the word stands. */
  const fill = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value).replaceAll('"TOKEN"', JSON.stringify(arena.gateway.token)));

  test("is refused as what it is, in connect and at the login", () =>
    arena.beside(async () => {
      for (const field of ["auth_token", "session_token", "password"]) {
        for (const [what, value] of odd) {
          const params = { [field]: fill(value) };
          expect([field, what, await connect(params, {})]).toEqual([field, what, 400]);
          expect([field, what, await login(params, {})]).toEqual([field, what, 422]);
        }
      }
    }));

  test("is refused in the header, whatever stands there", () =>
    arena.beside(async () => {
      const right = arena.gateway.token;
      const headers = [
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer undefined",
        "Bearer []",
        `Bearer ["${right}"]`,
        `Bearer {"token":"${right}"}`,
        `Bearer ${right} x`,
        `Bearer ${right},`,
        `Bearer "${right}"`,
        `, Bearer ${right}`,
        `Bearer\t${right}`,
        `Token ${right}`,
        right,
        "Basic",
        "Basic !!!",
        `Basic ${btoa("gateway")}`,
        `Basic ${btoa("gateway:")}`,
        `Basic ${btoa(`admin:${right}`)}`,
        `Basic ${btoa(`gateway:${right}\0`)}`,
        `Basic ${btoa("gateway:\xff\xfe")}`,
        `Bearer ${"x".repeat(5_000)}`,
        "Digest username=gateway",
      ];
      for (const header of headers) {
        using peer = await dial(arena.port);
        const more = { Authorization: header, Connection: "close" };
        await peer.write(`${head("GET /api/v1/sessions", arena.port, more)}\r\n`);
        await peer.over;
        const status = peer.text.split(" ", 2)[1];
        expect([header, status === "401" || status === "429"]).toEqual([header, true]);
      }
      using twice = await dial(arena.port);
      const both = `Authorization: Bearer ${right}\r\nAuthorization: Bearer ${right}\r\nConnection: close\r\n`;
      await twice.write(`${head("GET /api/v1/sessions", arena.port)}${both}\r\n`);
      await twice.over;
      expect(twice.text).toStartWith("HTTP/1.1 401 ");
    }));
});
