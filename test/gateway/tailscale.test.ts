import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEvents } from "../support/sse-client.ts";
import type { TestTailscaled } from "../support/tailscaled.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import type { Stack } from "./stack.ts";
import { ask, refusal, startStack } from "./stack.ts";

/** Who comes through a proxy such as `tailscale serve`, and who only says so. */

const ADA = "100.101.102.103";
const LAN = "192.168.1.66";
const LOGIN = "ada@example.com";
const USERS = {
  '"ada@example.com"': { user: "ada", role: "user" },
  '"bob@example.com"': { user: "bob", role: "viewer" },
};
/** As `tailscale serve` sets them, whatever the client sent. */
const SERVE = {
  "x-forwarded-for": ADA,
  "x-forwarded-proto": "https",
  "tailscale-user-login": LOGIN,
  "tailscale-user-name": "Ada",
  "tailscale-headers-info": "https://tailscale.com/s/serve-headers",
};

let tailscaled: TestTailscaled;
let stack: Stack;
beforeAll(async () => {
  tailscaled = await startTailscaled({
    [ADA]: { login: LOGIN },
    "100.64.0.7": { login: "bob@example.com" },
    "100.64.0.9": { login: "tagged-devices", tags: ["tag:ci"] },
  });
  stack = await startTailnet({ trusted_proxies: ["127.0.0.1"] });
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await tailscaled[Symbol.asyncDispose]();
});

function startTailnet(server: Record<string, readonly string[]>): Promise<Stack> {
  const auth = { mode: "tailscale", tailscale: { socket: tailscaled.socket, users: USERS } };
  return startStack({ config: { server, auth } });
}

function list(headers: Record<string, string>, { gateway } = stack) {
  return ask(`${gateway.url}/api/v1/sessions`, "GET", { headers });
}

test("who a proxy says it is, and tailscaled too, comes in over each transport", async () => {
  const { url, ws_url } = stack.gateway;
  const made = await ask(`${url}/api/v1/sessions`, "POST", { body: { session_id: "s" }, headers: SERVE });
  expect([made.status, made.json.owner]).toEqual([201, "ada"]);
  const stream = await openEvents(`${url}/api/v1/sessions/s/events`, { headers: SERVE });
  expect(stream.status).toBe(200);
  stream.close();
  await using socket = await openSocket(ws_url, { headers: SERVE });
  expect((await socket.request("connect", {})).auth_info).toEqual({
    user: "ada",
    method: "tailscale",
    scopes: ["chat.read", "chat.write", "tools.approve", "sessions.manage"],
  });
  expect(await socket.request("chat.send", { session_id: "s", message: "hello" })).toMatchObject({
    status: "started",
  });
  expect(tailscaled.asked).toContain(`${ADA}:0`);
});

describe("what is forged is nothing", () => {
  const forged: [string, Record<string, string>][] = [
    ["the login of somebody else", { ...SERVE, "tailscale-user-login": "bob@example.com" }],
    ["a login twice", { ...SERVE, "tailscale-user-login": `${LOGIN}, ${LOGIN}` }],
    ["a login alone", { "tailscale-user-login": LOGIN }],
    ["an address alone", { "x-forwarded-for": ADA }],
    ["an address in another header", { "tailscale-user-login": LOGIN, "x-real-ip": ADA }],
    [
      "the address of a tagged machine",
      { "x-forwarded-for": "100.64.0.9", "tailscale-user-login": "tagged-devices" },
    ],
    ["an address of nobody's", { ...SERVE, "x-forwarded-for": "100.64.0.99" }],
    ["another address that the proxy saw", { ...SERVE, "x-real-ip": LAN }],
    ["one that was written before the proxy's", { ...SERVE, "x-forwarded-for": `${ADA}, ${LAN}` }],
  ];
  test.each(forged)("%s", async (_what, headers) => {
    const { url, ws_url } = stack.gateway;
    const refused = await list(headers);
    expect([refused.status, refused.json.error.code]).toEqual([401, "UNAUTHORIZED"]);
    expect((await openEvents(`${url}/api/v1/sessions/s/events`, { headers })).status).toBe(401);
    await using socket = await openSocket(ws_url, { headers });
    expect(await refusal(socket.request("connect", {}))).toMatchObject({ code: "UNAUTHORIZED" });
    expect((await socket.closed).code).toBe(4001);
  });

  test("all of it, directly, where no proxy is trusted", async () => {
    await using direct = await startTailnet({});
    expect((await list(SERVE, direct)).status).toBe(401);
    const { url, ws_url } = direct.gateway;
    expect((await openEvents(`${url}/api/v1/sessions/s/events`, { headers: SERVE })).status).toBe(401);
    await using socket = await openSocket(ws_url, { headers: SERVE });
    expect(await refusal(socket.request("connect", {}))).toMatchObject({ code: "UNAUTHORIZED" });
    expect((await list({ ...SERVE, ...direct.owner.bearer }, direct)).status).toBe(200);
  });

  test("all of it, through a proxy that passes on what its client says", async () => {
    await using proxy = passingProxy(stack.gateway.url);
    const through = { ...stack, gateway: { ...stack.gateway, url: proxy.url } };
    expect((await list(SERVE, through)).status).toBe(401);
    expect((await list({ ...SERVE, "x-forwarded-for": `${ADA}, ${ADA}` }, through)).status).toBe(401);
    // The same proxy is good for somebody who shows a credential.
    expect((await list(stack.owner.bearer, through)).status).toBe(200);
  });
});

test("a wrong credential is refused, whoever the proxy says it is", async () => {
  const headers = { ...SERVE, authorization: `Bearer agb_${"x".repeat(43)}` };
  expect((await list(headers)).status).toBe(401);
  expect((await requestUpgrade(stack.gateway.ws_url, headers)).status).toBe(401);
  const { gateway, owner } = stack;
  const made = await ask(`${gateway.url}/api/v1/sessions`, "POST", {
    body: {},
    headers: { ...SERVE, ...owner.bearer },
  });
  expect(made.json.owner).toBe("owner");
});

test("a page of another site gets nothing through the proxy either", async () => {
  const { url, ws_url } = stack.gateway;
  for (const more of [{ origin: "https://evil.example" }, { "sec-fetch-site": "cross-site" }]) {
    const headers = { ...SERVE, ...more } as Record<string, string>;
    const refused = await list(headers);
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, null]);
    expect((await openEvents(`${url}/api/v1/sessions/s/events`, { headers })).status).toBe(403);
    expect((await requestUpgrade(ws_url, headers)).status).toBe(403);
    expect((await ask(`${url}/api/v1/chat`, "POST", { body: { message: "x" }, headers })).status).toBe(403);
  }
});

test("without a tailscaled nobody comes in by it, and the log says so once", async () => {
  const auth = { mode: "tailscale", tailscale: { socket: `${tailscaled.socket}.none`, users: USERS } };
  await using own = await startStack({ config: { server: { trusted_proxies: ["127.0.0.1"] }, auth } });
  for (let i = 0; i < 20; i++) {
    const refused = await list(SERVE, own);
    expect([refused.status, refused.json.error.message]).toEqual([
      401,
      expect.stringContaining("agentbus doctor"),
    ]);
  }
  expect((await list(own.owner.bearer, own)).status).toBe(200);
  const told = own.gateway.log.filter(({ msg }) => msg.startsWith("tailscaled does not say"));
  expect(told).toMatchObject([{ level: "warn", reason: "ENOENT" }]);
});

/** A local proxy that notes whom it saw and passes on every header; its client is on the LAN. */
function passingProxy(target: string): AsyncDisposable & { url: string } {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const headers = new Headers(request.headers);
      const before = headers.get("x-forwarded-for");
      headers.set("x-forwarded-for", before === null ? LAN : `${before}, ${LAN}`);
      headers.set("host", new URL(target).host);
      return fetch(`${target}${pathname}${search}`, { method: request.method, headers });
    },
  });
  return { url: server.url.origin, [Symbol.asyncDispose]: () => server.stop(true) };
}
