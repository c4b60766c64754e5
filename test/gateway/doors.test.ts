import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { requestUpgrade } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { ask, startStack } from "./stack.ts";

const APP = "https://app.example.com";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    config: { server: { allowed_origins: [APP], public_url: "https://bus.example.com" } },
  });
  ({ owner } = stack);
  await owner.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

/** The ways in: an upgrade, a stream, a change and a read. */
const ways: Record<
  "upgrade" | "stream" | "change" | "read",
  (headers: Record<string, string>) => Promise<Response>
> = {
  upgrade: (headers) => requestUpgrade(stack.gateway.ws_url, { ...owner.bearer, ...headers }),
  stream: (headers) => open("GET", "/api/v1/sessions/s/events", headers),
  change: (headers) => open("PATCH", "/api/v1/sessions/s", headers),
  read: (headers) => open("GET", "/api/v1/sessions/s", headers),
};

async function open(method: string, path: string, headers: Record<string, string>): Promise<Response> {
  const abort = new AbortController();
  const response = await fetch(`${stack.gateway.url}${path}`, {
    method,
    headers: { ...owner.bearer, "content-type": "application/json", ...headers },
    ...(method === "PATCH" && { body: "{}" }),
    signal: abort.signal,
  });
  // A stream has no end of its own.
  if (response.headers.get("content-type") === "text/event-stream") abort.abort();
  return response;
}

/** Statuses of upgrade, stream, change and read. fetch cannot be a socket, so 101 comes as an error of its own. */
async function statuses(headers: Record<string, string>): Promise<(number | string)[]> {
  const all: (number | string)[] = [];
  for (const way of Object.values(ways)) {
    all.push(
      await way(headers).then(
        ({ status }) => status,
        () => "upgraded",
      ),
    );
  }
  return all.map((status) => (status === 101 ? "upgraded" : status));
}

const IN = ["upgraded", 200, 200, 200];
const OUT = [403, 403, 403, 200];

describe("Origin", () => {
  const cases: [string, () => Record<string, string>, (number | string)[]][] = [
    ["none", () => ({}), IN],
    ["our own", () => ({ origin: stack.gateway.url }), IN],
    ["the public one", () => ({ origin: "https://bus.example.com" }), IN],
    ["an allowed one", () => ({ origin: APP }), IN],
    ["an evil one", () => ({ origin: "https://evil.example.com" }), OUT],
    ["null", () => ({ origin: "null" }), OUT],
    ["one that looks alike", () => ({ origin: "https://app.example.com.evil.example" }), OUT],
    ["another scheme", () => ({ origin: "http://app.example.com" }), OUT],
    ["another port", () => ({ origin: "https://app.example.com:8443" }), OUT],
    ["our own name on another port", () => ({ origin: "http://127.0.0.1:1" }), OUT],
    ["none, from another site", () => ({ "sec-fetch-site": "cross-site" }), OUT],
    ["none, from the same site", () => ({ "sec-fetch-site": "same-site" }), OUT],
    ["none, with a cookie", () => ({ cookie: "a=b" }), OUT],
    ["none, from this page or the address bar", () => ({ "sec-fetch-site": "same-origin" }), IN],
    ["an allowed one with a cookie", () => ({ origin: APP, cookie: "a=b" }), IN],
  ];
  for (const [what, headers, expected] of cases) {
    test(what, async () => {
      expect(await statuses(headers())).toEqual(expected);
    });
  }

  test("a refusal says what to set, without a word of the credential", async () => {
    const response = await ways.change({ origin: "https://evil.example.com" });
    const { error } = (await response.json()) as {
      error: { code: string; message: string; details: object };
    };
    expect(error).toMatchObject({ code: "FORBIDDEN", status: 4003, details: { kind: "origin" } });
    expect(error.message).toContain("server.allowed_origins");
    // Before anybody is looked at: the same without a credential.
    const nobody = await ways.change({ origin: "https://evil.example.com", authorization: "" });
    expect(nobody.status).toBe(403);
  });

  test("allowed ones get CORS and its preflight, nobody else does", async () => {
    const preflight = async (origin: string): Promise<Response> =>
      fetch(`${stack.gateway.url}/api/v1/sessions`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization",
        },
      });
    const allowed = await preflight(APP);
    expect([allowed.status, allowed.headers.get("access-control-allow-origin")]).toEqual([204, APP]);
    expect(allowed.headers.get("access-control-allow-methods")).toContain("PATCH");
    expect(allowed.headers.get("access-control-allow-headers")?.toLowerCase()).toContain("authorization");
    expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
    expect(allowed.headers.get("vary")).toContain("Origin");
    expect(
      (await preflight("https://evil.example.com")).headers.get("access-control-allow-origin"),
    ).toBeNull();
    expect((await ways.read({ origin: APP })).headers.get("access-control-allow-origin")).toBe(APP);
    expect(
      (await ways.read({ origin: "https://evil.example.com" })).headers.get("access-control-allow-origin"),
    ).toBeNull();
    expect((await ways.read({ origin: "null" })).headers.get("access-control-allow-origin")).toBeNull();
  });
});

test("the first page names the public address, whichever way it was asked for", async () => {
  const page = await ask(`${stack.gateway.url}/`, "GET");
  expect(page.text).toContain("curl -N https://bus.example.com/api/v1/chat");
  expect(page.text).toContain("wss://bus.example.com/ws");
  expect(page.text).not.toContain("127.0.0.1");
});

describe("Host", () => {
  test("names of this gateway are let in", async () => {
    const { port } = new URL(stack.gateway.url);
    for (const host of [
      `localhost:${port}`,
      `127.0.0.1:${port}`,
      `[::1]:${port}`,
      `LOCALHOST:${port}`,
      "bus.example.com",
      "bus.example.com:444",
      "app.example.com",
    ]) {
      expect([host, ...(await statuses({ host }))]).toEqual([host, ...IN]);
    }
  });

  test("any other is 421, which names server.public_url, on every path and before the credential", async () => {
    const { port } = new URL(stack.gateway.url);
    for (const host of [
      "evil.example.com",
      `evil.example.com:${port}`,
      "127.0.0.1:1",
      `2130706433:${port}`,
      `0x7f.1:${port}`,
      `localhost.evil.example:${port}`,
      "x@localhost",
    ]) {
      for (const path of [
        "/health",
        "/",
        "/docs",
        "/ws",
        "/api/v1/sessions/s",
        "/api/v1/sessions/s/events",
        "/nowhere",
      ]) {
        const answer = await ask(`${stack.gateway.url}${path}`, "GET", { headers: { host } });
        expect([host, path, answer.status, answer.json.error.code]).toEqual([host, path, 421, "FORBIDDEN"]);
        expect(answer.json.error).toMatchObject({
          details: { kind: "host" },
          message: expect.stringContaining("server.public_url"),
        });
      }
      expect((await ways.upgrade({ host })).status).toBe(421);
    }
  });
});

describe("secrets in a URL", () => {
  const names = [
    "token",
    "auth_token",
    "access_token",
    "password",
    "session_token",
    "api_key",
    "TOKEN",
    "key",
    "X-Api-Key",
    "userPassword",
    "client_secret",
    "id_token",
    "signature",
    "auth",
    "jwt",
    "q",
  ];
  test("are refused everywhere, right ones too, and are in no log", async () => {
    const { token } = owner;
    for (const name of names) {
      for (const path of ["/health", "/api/v1/sessions", "/api/v1/sessions/s/events", "/nowhere"]) {
        const answer = await ask(`${stack.gateway.url}${path}?${name}=${token}`, "GET");
        expect([name, path, answer.status, answer.json.error.details]).toEqual([
          name,
          path,
          400,
          { kind: "secret_in_url" },
        ]);
        expect(answer.text).not.toContain(token);
      }
      const upgrade = await requestUpgrade(`${stack.gateway.ws_url}?${name}=${token}`);
      expect([name, upgrade.status]).toEqual([name, 400]);
    }
    const { ticket } = await owner.call("ticket.create");
    for (const url of [
      `${stack.gateway.url}/api/v1/sessions?ticket=${ticket}`,
      `${stack.gateway.url}/ws?ticket=${ticket}`,
    ]) {
      const answer = url.includes("/ws") ? await requestUpgrade(url) : await fetch(url);
      expect([url.includes("/ws"), answer.status]).toEqual([url.includes("/ws"), 400]);
    }
    expect(stack.gateway.log.filter((line) => JSON.stringify(line).includes(token.slice(4)))).toEqual([]);
    // A ticket that was refused this way was not used.
    const stream = await ask(
      `${stack.gateway.url}/api/v1/sessions/s/events?ticket=${ticket}&until=run_unknown`,
      "GET",
    );
    expect([stream.status, stream.json.error.details]).toEqual([404, { kind: "run" }]);
  });
});
