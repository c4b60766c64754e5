import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openEvents } from "../support/sse-client.ts";
import type { TestSocket } from "../support/ws-client.ts";
import { openSocket, requestUpgrade } from "../support/ws-client.ts";
import { refusal } from "../gateway/stack.ts";
import type { TailnetGateway } from "./tailnet.fixture.ts";
import { BOB, startTailnetGateway } from "./tailnet.fixture.ts";

/** Peers that come by themselves, over real sockets. */

const WRONG = `agb_${"x".repeat(43)}`;
const APP = "https://app.example.com";

function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

describe("without a credential", () => {
  let gateway: TailnetGateway;
  beforeAll(async () => {
    gateway = await startTailnetGateway({ server: { allowed_origins: [APP] } });
    const made = await gateway.ask("POST", "/api/v1/sessions", { body: { session_id: "s" } });
    expect([made.status, made.json.owner]).toEqual([201, "ada"]);
  });
  afterAll(() => gateway[Symbol.asyncDispose]());

  test("a peer is who tailscaled says, over REST, SSE and WebSocket", async () => {
    const listed = await gateway.ask("GET", "/api/v1/sessions");
    expect([listed.status, listed.json.sessions.length]).toEqual([200, 1]);
    expect((await gateway.ask("POST", "/api/v1/rpc/system.status", { body: {} })).status).toBe(200);

    const stream = await openEvents(`${gateway.url}/api/v1/sessions/s/events`);
    expect(stream.status).toBe(200);
    await stream.next(({ event }) => event === "session.synced");
    stream.close();

    await using silent = await openSocket(gateway.ws_url);
    expect(await silent.request("session.get", { session_id: "s" })).toMatchObject({ owner: "ada" });
    await using polite = await openSocket(gateway.ws_url);
    const { auth_info } = await polite.request("connect", { client_id: "laptop" });
    expect(auth_info).toMatchObject({ user: "ada", method: "tailscale" });
    expect(auth_info.scopes).toContain("admin");
    expect("peer" in auth_info).toBe(false);
    // Each connection is asked about by its own port.
    expect(new Set(gateway.tailscaled.asked).size).toBeGreaterThanOrEqual(2);
    for (const addr of gateway.tailscaled.asked) expect(addr).toMatch(/^127\.0\.0\.1:[1-9]\d+$/);
  });

  test("what headers say of a login or an address is nothing", async () => {
    const forged = {
      "tailscale-user-login": "bob@example.com",
      "x-forwarded-for": "100.64.0.7",
      "x-real-ip": "100.64.0.7",
    };
    const made = await gateway.ask("POST", "/api/v1/sessions", { body: {}, headers: forged });
    expect([made.status, made.json.owner]).toEqual([201, "ada"]);
  });

  test("a credential that is shown counts instead, a wrong one too", async () => {
    const owner = await gateway.ask("POST", "/api/v1/sessions", { body: {}, headers: bearer(gateway.token) });
    expect(owner.json.owner).toBe("owner");
    for (const headers of [
      bearer(WRONG),
      { authorization: `Basic ${btoa(`gateway:${WRONG}`)}` },
      { authorization: "Bearer " },
      { authorization: "nonsense" },
    ]) {
      const refused = await gateway.ask("GET", "/api/v1/sessions", { headers });
      expect([headers, refused.status]).toEqual([headers, 401]);
      expect([headers, (await requestUpgrade(gateway.ws_url, headers)).status]).toEqual([headers, 401]);
    }
    expect((await gateway.ask("GET", "/api/v1/sessions/s/events?ticket=agt_wrong")).status).toBe(401);
    expect((await gateway.ask("POST", "/api/v1/auth_sessions", { body: { auth_token: WRONG } })).status).toBe(
      401,
    );

    await using shown = await openSocket(gateway.ws_url);
    expect((await shown.request("connect", { auth_token: gateway.token })).auth_info).toMatchObject({
      user: "owner",
      method: "token",
    });
    for (const wrong of [
      { auth_token: WRONG },
      { session_token: `ags_${"x".repeat(43)}` },
      { password: "x" },
    ]) {
      await using socket = await openSocket(gateway.ws_url);
      expect(await refusal(socket.request("connect", wrong))).toMatchObject({ code: "UNAUTHORIZED" });
      expect((await socket.closed).code).toBe(4001);
    }
  });

  test("a peer cannot pass itself on", async () => {
    for (const [verb, path] of [
      ["POST", "/api/v1/tickets"],
      ["POST", "/api/v1/auth_sessions"],
      ["POST", "/api/v1/rpc/auth_session.create"],
    ] as const) {
      const refused = await gateway.ask(verb, path, { body: {} });
      expect([path, refused.status, refused.json.error.details]).toEqual([path, 403, { kind: "tailscale" }]);
    }
  });

  describe("a web page of another site gets nothing", () => {
    const foreign: [string, Record<string, string>][] = [
      ["another origin", { origin: "https://evil.example" }],
      ["no origin at all", { origin: "null" }],
      ["one that looks alike", { origin: "http://127.0.0.1.evil.example" }],
      ["another port", { origin: "http://127.0.0.1:1" }],
      [
        "a cross-site request without Origin",
        { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
      ],
      ["a same-site one", { "sec-fetch-site": "same-site" }],
      ["one with cookies", { cookie: "a=b" }],
    ];
    const reads = [
      "/api/v1/sessions",
      "/api/v1/sessions/s",
      "/api/v1/sessions/s/events",
      "/api/v1/stats",
      "/api/v1/tokens",
    ];

    test.each(foreign)("%s", async (_what, headers) => {
      for (const path of reads) {
        for (const verb of path.endsWith("events") ? ["GET"] : ["GET", "HEAD"]) {
          const refused = await gateway.ask(verb, path, { headers });
          expect([verb, path, refused.status]).toEqual([verb, path, 403]);
          expect(refused.headers.get("access-control-allow-origin")).toBeNull();
          expect(refused.text).not.toContain("ada");
        }
      }
      for (const [verb, path] of [
        ["POST", "/api/v1/rpc/session.list"],
        ["POST", "/api/v1/chat"],
        ["PATCH", "/api/v1/sessions/s"],
        ["DELETE", "/api/v1/sessions/s"],
      ] as const) {
        // As a form sends it, too: a browser asks nobody before it sends that.
        const form = { "content-type": "text/plain", ...headers };
        const refused = await gateway.ask(verb, path, { body: "{}", headers: form });
        expect([verb, path, refused.status]).toEqual([verb, path, 403]);
      }
      for (const path of ["/ws", "/"]) {
        const refused = await requestUpgrade(`${gateway.url.replace(/^http/, "ws")}${path}`, headers);
        expect([path, refused.status]).toEqual([path, 403]);
      }
    });

    test("what a browser fetches without saying where from cannot be read by the page", async () => {
      // Over plain HTTP it sends neither Origin nor Sec-Fetch-Site with an image, a script or a frame.
      const { status, headers } = await gateway.ask("GET", "/api/v1/sessions", {
        headers: { accept: "image/*" },
      });
      expect(status).toBe(200);
      expect(headers.get("access-control-allow-origin")).toBeNull();
      expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("content-type")).toStartWith("application/json");
      expect(headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
    });

    test("nor does its preflight", async () => {
      const headers = { origin: "https://evil.example", "access-control-request-method": "POST" };
      const answer = await gateway.ask("OPTIONS", "/api/v1/sessions", { headers });
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
    });

    test("our own page and one that is allowed get what a peer gets", async () => {
      for (const headers of [
        { origin: gateway.url },
        { origin: APP },
        { "sec-fetch-site": "same-origin" },
        { "sec-fetch-site": "none" },
      ]) {
        const answer = await gateway.ask("GET", "/api/v1/sessions", {
          headers: headers,
        });
        expect([headers, answer.status]).toEqual([headers, 200]);
        // Never with credentials: a page gets what is allowed to it by name.
        expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
      }
      expect(
        (await gateway.ask("GET", "/api/v1/sessions", { headers: { origin: APP } })).headers.get(
          "access-control-allow-origin",
        ),
      ).toBe(APP);
    });

    test("a name that was bound again to our address gets nothing", async () => {
      const answer = await gateway.ask("GET", "/api/v1/sessions", { headers: { host: "evil.example" } });
      expect(answer.status).toBe(421);
    });
  });
});

describe("a peer", () => {
  test("has the scopes of its role and no more", async () => {
    await using gateway = await startTailnetGateway({ machine: BOB });
    await using socket = await openSocket(gateway.ws_url);
    expect(await socket.request("session.list")).toEqual({ sessions: [] });
    expect(await refusal(socket.request("chat.send", { message: "x" }))).toMatchObject({
      code: "FORBIDDEN",
      details: { kind: "scope", scope: "chat.write" },
    });
    expect((await gateway.ask("GET", "/api/v1/tokens")).status).toBe(403);
  });

  test.each([
    ["whose login is not listed", { login: "mallory@example.com" }],
    ["that is a tagged machine", { login: "tagged-devices", tags: ["tag:ci"] }],
  ])("%s is nobody, and comes in with a credential", async (_what, machine) => {
    await using gateway = await startTailnetGateway({ machine });
    const refused = await gateway.ask("GET", "/api/v1/sessions");
    expect([refused.status, refused.json.error.message]).toEqual([
      401,
      expect.stringContaining("auth.tailscale.users"),
    ]);
    expect(refused.text).not.toContain(machine.login);
    expect((await gateway.ask("GET", "/api/v1/sessions/s/events")).status).toBe(401);
    await using nobody = await openSocket(gateway.ws_url);
    expect(await refusal(nobody.request("connect", {}))).toMatchObject({ code: "UNAUTHORIZED" });
    expect((await nobody.closed).code).toBe(4001);
    await using socket = await openSocket(gateway.ws_url);
    const { auth_info } = await socket.request("connect", { auth_token: gateway.token });
    expect(auth_info.user).toBe("owner");
  });

  test("comes in beside another mode; where that is not asked for, nobody does and tailscaled is not asked", async () => {
    await using beside = await startTailnetGateway({ auth: { mode: "token", allow_tailscale: true } });
    expect((await beside.ask("GET", "/api/v1/sessions")).status).toBe(200);
    await using multi = await startTailnetGateway({ auth: { mode: "multi", modes: ["token", "tailscale"] } });
    expect((await multi.ask("GET", "/api/v1/sessions")).status).toBe(200);
    await using off = await startTailnetGateway({ auth: { mode: "token" } });
    expect((await off.ask("GET", "/api/v1/sessions")).status).toBe(401);
    await using socket = await openSocket(off.ws_url);
    expect(await refusal(socket.request("connect", {}))).toMatchObject({ code: "UNAUTHORIZED" });
    expect(off.tailscaled.asked).toEqual([]);
  });

  test("is not counted among those who have not said who they are", async () => {
    await using gateway = await startTailnetGateway();
    const sockets: TestSocket[] = [];
    for (let i = 0; i < 12; i++) sockets.push(await openSocket(gateway.ws_url));
    expect((await gateway.ask("GET", "/api/v1/clients")).json.clients).toHaveLength(12);
    gateway.become(null);
    for (let i = 0; i < 8; i++) sockets.push(await openSocket(gateway.ws_url));
    await expect(openSocket(gateway.ws_url)).rejects.toThrow("refused");
    for (const socket of sockets) await socket[Symbol.asyncDispose]();
  });
});
