import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { requestUpgrade } from "../support/ws-client.ts";
import type { Answer, Arena } from "./beside.ts";
import { openArena } from "./beside.ts";
import { dial, head } from "./raw-peer.ts";

/** What a web page can make its visitor's browser send, where a token would be needed and where none is. */

const ALLOWED = "https://app.example.com";
const SESSION = "mine";

const arenas: Record<"token" | "none", Arena> = { token: undefined as never, none: undefined as never };
beforeAll(async () => {
  for (const mode of ["token", "none"] as const) {
    const arena = await openArena({ config: { server: { allowed_origins: [ALLOWED] }, auth: { mode } } });
    await arena.call("session.create", { session_id: SESSION });
    arenas[mode] = arena;
  }
});
afterAll(async () => {
  for (const mode of ["token", "none"] as const) await arenas[mode][Symbol.asyncDispose]();
});

/** Every way in that is not a plain read, as a request with these headers. */
type Way = (arena: Arena, headers: Record<string, string>) => Promise<{ status: number; headers: Headers }>;
const upgradeAt = (path: string): Way => {
  return ({ gateway }, headers) => requestUpgrade(`${gateway.url}${path}`, headers);
};
const restAt = (verb: string, path: string, body?: unknown): Way => {
  return (arena, headers) => arena.ask(verb, path, { headers, ...(body !== undefined && { body }) });
};
const events: Way = async ({ gateway }, headers) => {
  const response = await fetch(`${gateway.url}/api/v1/sessions/${SESSION}/events`, { headers });
  await response.body?.cancel();
  return response;
};
const WAYS: [string, Way][] = [
  ["upgrade", upgradeAt("/ws")],
  ["upgrade at /", upgradeAt("/")],
  ["event stream", events],
  ["POST", restAt("POST", "/api/v1/sessions", { title: "theirs" })],
  ["PATCH", restAt("PATCH", `/api/v1/sessions/${SESSION}`, { title: "theirs" })],
  ["DELETE", restAt("DELETE", `/api/v1/sessions/${SESSION}`)],
  ["rpc", restAt("POST", "/api/v1/rpc/token.create", { name: "theirs", role: "admin" })],
  ["login", restAt("POST", "/api/v1/auth_sessions", {})],
  ["chat", restAt("POST", "/api/v1/chat", { message: "theirs" })],
];

/** As the owner where that is asked for, else as a page that has no token. */
function credential(mode: "token" | "none"): Record<string, string> {
  return mode === "token" ? { authorization: `Bearer ${arenas.token.gateway.token}` } : {};
}

/** Goes every way with the headers; the statuses, and whether anything came of it. */
async function tryAll(mode: "token" | "none", headers: Record<string, string>) {
  const arena = arenas[mode];
  const statuses = new Set<number>();
  const shared: string[] = [];
  for (const [, go] of WAYS) {
    const answer = await go(arena, { ...credential(mode), ...headers });
    statuses.add(answer.status);
    const cors = answer.headers.get("access-control-allow-origin");
    if (cors !== null) shared.push(cors);
  }
  return { statuses: [...statuses], shared };
}

/** Nothing was made, changed or deleted. */
async function unharmed(mode: "token" | "none"): Promise<void> {
  const { sessions } = await arenas[mode].call("session.list");
  expect(sessions.map((each: { title: string }) => each.title)).toEqual([""]);
  const { tokens } = await arenas[mode].call("token.list");
  expect(tokens.map((each: { name: string }) => each.name)).toEqual(["local"]);
}

for (const mode of ["token", "none"] as const) {
  describe(`with auth.mode = "${mode}"`, () => {
    test("a page of another origin gets in no way, however much it looks like ours", () => {
      const { port, gateway, beside } = arenas[mode];
      const origins = [
        "https://evil.example",
        "null",
        "",
        "file://",
        `http://127.0.0.1:${port + 1}`,
        "http://127.0.0.1",
        `https://127.0.0.1:${port}`,
        `http://localhost:${port}`,
        `http://127.0.0.1.evil.example:${port}`,
        `http://evil.example#127.0.0.1:${port}`,
        `http://evil.example/127.0.0.1:${port}`,
        `http://127.0.0.1:${port}@evil.example`,
        `http://127.0.0.1:${port}/`,
        `HTTP://127.0.0.1:${port}`,
        `http://127.0.0.1:${port}, http://evil.example`,
        `http://127.1:${port}`,
        `http://[::ffff:127.0.0.1]:${port}`,
        `ws://127.0.0.1:${port}`,
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "https://app.example.com.",
        "https://APP.example.com",
        "chrome-extension://abcdefghijklmnop",
      ];
      return beside(async () => {
        for (const origin of origins) {
          expect([origin, await tryAll(mode, { origin })]).toEqual([origin, { statuses: [403], shared: [] }]);
        }
        await unharmed(mode);
        // Our own page and the one that was allowed come in, and only that one may read answers from elsewhere.
        for (const [origin, shared] of [
          [gateway.url, null],
          [ALLOWED, ALLOWED],
        ] as const) {
          const answer = await arenas[mode].ask("GET", "/api/v1/sessions", {
            headers: { ...credential(mode), origin },
          });
          expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, shared]);
          expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
          const upgraded = await requestUpgrade(gateway.ws_url, { ...credential(mode), origin });
          expect(upgraded.status).toBe(101);
          await upgraded.body?.cancel();
        }
      });
    });

    test("without an Origin, what a browser sends across sites gets in no way", () =>
      arenas[mode].beside(async () => {
        const signs: Record<string, string>[] = [
          { cookie: "theme=dark" },
          { "sec-fetch-site": "cross-site" },
          { "sec-fetch-site": "same-site" },
        ];
        for (const sign of signs) {
          expect([sign, await tryAll(mode, sign)]).toEqual([sign, { statuses: [403], shared: [] }]);
        }
        await unharmed(mode);
      }));

    test("a name that was rebound to this address is refused with 421, on every path", () =>
      arenas[mode].beside(async () => {
        const { port } = arenas[mode];
        const hosts = [
          "evil.example",
          `evil.example:${port}`,
          `127.0.0.1.evil.example:${port}`,
          `localhost.evil.example:${port}`,
          `127.0.0.1:${port + 1}`,
          `0x7f000001:${port}`,
          `2130706433:${port}`,
          `127.1:${port}`,
          `0177.0.0.1:${port}`,
          `0.0.0.0:${port}`,
          `[::ffff:127.0.0.1]:${port}`,
          `localhost:${port}@evil.example`,
          `127.0.0.1:${port}:${port}`,
          `127.0.0.1:99999`,
          `localhost:`,
        ];
        for (const host of hosts) {
          for (const line of [
            "GET /health",
            "GET /",
            "GET /api/v1/sessions",
            "POST /api/v1/sessions",
            "GET /ws",
          ]) {
            using peer = await dial(port);
            const more = { Host: host, Origin: `http://${host}`, Connection: "close", "Content-Length": "0" };
            await peer.write(`${head(line, port, { ...credential(mode), ...more })}\r\n`);
            await peer.over;
            expect([host, line, peer.text.split("\r\n", 1)[0]]).toEqual([
              host,
              line,
              "HTTP/1.1 421 Misdirected Request",
            ]);
            expect(peer.text).toContain("server.public_url");
          }
        }
        await unharmed(mode);
      }));

    test("a form of any kind is no request, even one that says it is of this site", () =>
      arenas[mode].beside(async () => {
        const types = [
          "text/plain",
          "text/plain; charset=application/json",
          "application/x-www-form-urlencoded",
          "multipart/form-data; boundary=x",
          "application/jsonp",
          "",
        ];
        for (const type of types) {
          for (const path of ["/api/v1/sessions", "/api/v1/chat", "/api/v1/rpc/session.create"]) {
            const headers = { ...credential(mode), "content-type": type };
            const answers: Answer[] = [];
            for (const origin of [
              {},
              { origin: arenas[mode].gateway.url },
              { origin: "https://evil.example" },
            ]) {
              const body = '{"title":"theirs","message":"theirs"}';
              answers.push(
                await arenas[mode].ask("POST", path, { headers: { ...headers, ...origin }, body }),
              );
            }
            expect([type, path, answers.map(({ status }) => status)]).toEqual([type, path, [415, 415, 403]]);
          }
        }
        await unharmed(mode);
      }));

    test("a page that asks first is not told that it may", () =>
      arenas[mode].beside(async () => {
        for (const origin of ["https://evil.example", "null", arenas[mode].gateway.url]) {
          const { headers } = await arenas[mode].ask("OPTIONS", "/api/v1/sessions", {
            headers: { origin, "access-control-request-method": "POST" },
          });
          expect([origin, headers.get("access-control-allow-origin")]).toEqual([origin, null]);
        }
        const { headers } = await arenas[mode].ask("OPTIONS", "/api/v1/sessions", {
          headers: { origin: ALLOWED, "access-control-request-method": "POST" },
        });
        expect(headers.get("access-control-allow-origin")).toBe(ALLOWED);
        expect(headers.get("vary")).toContain("Origin");
      }));
  });
}

test("a ticket opens no door: a native EventSource of another origin is refused before it is looked at", () =>
  arenas.token.beside(async () => {
    const { gateway, call, secret, ask } = arenas.token;
    const { ticket } = await call("ticket.create");
    const path = `/api/v1/sessions/${SESSION}/events?ticket=${secret(ticket)}`;
    for (const headers of [{ origin: "https://evil.example" }, { "sec-fetch-site": "cross-site" }]) {
      expect((await ask("GET", path, { headers })).status).toBe(403);
    }
    // It was not used up by that.
    const response = await fetch(`${gateway.url}${path}`);
    expect(response.status).toBe(200);
    await response.body?.cancel();
    expect((await ask("GET", path)).status).toBe(401);
  }));
