import { describe, expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createHttp } from "../../src/transport/http.ts";
import { createSockets } from "../../src/transport/ws.ts";
import { bearer, startHttp } from "./http.fixture.ts";

const JSON_CSP = "default-src 'none'; frame-ancestors 'none'";

describe("open routes", () => {
  test("health and status need nobody", async () => {
    await using at = await startHttp();
    const health = await at.ask("GET", "/health", { token: null });
    expect([health.status, health.body]).toEqual([200, { status: "healthy", timestamp: expect.any(Number) }]);
    const status = await at.ask("GET", "/status", { token: null });
    expect(status.body).toEqual({
      name: "agentbus",
      version: "1.2.3",
      status: "healthy",
      uptime: 1.5,
      timestamp: expect.any(Number),
    });
  });

  test("ready is 503 for what takes no work; a provider alone does not count", async () => {
    await using at = await startHttp();
    const ready = await at.ask("GET", "/ready", { token: null });
    expect([ready.status, ready.body.checks.provider]).toEqual([200, { ok: false, reason: "no API key" }]);
    at.store = { ok: false, reason: "disk full" };
    const unready = await at.ask("GET", "/ready", { token: null });
    expect([unready.status, unready.body.checks.store]).toEqual([503, { ok: false, reason: "disk full" }]);
    at.store = { ok: true };
    at.status = "draining";
    expect((await at.ask("GET", "/ready", { token: null })).status).toBe(503);
  });

  test("HEAD answers as GET does, without the body", async () => {
    await using at = await startHttp();
    const response = await fetch(`${at.url}/health`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });
});

describe("errors", () => {
  test("an unknown path has the shape of every error, and the headers of every answer", async () => {
    await using at = await startHttp();
    for (const [verb, path] of [
      ["GET", "/nowhere"],
      ["PUT", "/api/v1/sessions"],
      ["GET", "/api/v1/rpc/system.info"],
    ] as const) {
      const { status, body, headers } = await at.ask(verb, path);
      expect([status, body]).toEqual([
        404,
        {
          error: {
            code: "NOT_FOUND",
            status: 4004,
            message: expect.any(String),
            details: { kind: "path" },
            retryable: false,
          },
        },
      ]);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("content-security-policy")).toBe(JSON_CSP);
    }
    expect(at.counted.errors).toEqual(["NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]);
  });

  test("a bug shows an id, and nothing else", async () => {
    await using at = await startHttp();
    const { directory } = at.context;
    directory.find = () => Promise.reject(new Error("the secret is swordfish"));
    const { status, body } = await at.ask("GET", "/api/v1/sessions/s1/events");
    expect([status, body.error.code]).toEqual([500, "INTERNAL_ERROR"]);
    expect(JSON.stringify(body)).not.toContain("swordfish");
    expect(at.logged).toHaveLength(1);
    expect(at.logged[0]?.["error_id"]).toBe(body.error.details.id);
  });

  test("retry_after_ms is a header too", async () => {
    await using at = await startHttp();
    at.status = "draining";
    const { status, headers, body } = await at.ask("GET", "/api/v1/sessions/s1/events");
    expect([status, headers.get("retry-after"), body.error.retry_after_ms]).toEqual([503, "2", 2_000]);
  });
});

describe("doors", () => {
  test("another Host is 421, whatever is asked for", async () => {
    await using at = await startHttp();
    for (const path of ["/health", "/nowhere", "/api/v1/sessions", "/"]) {
      const { status, body } = await at.ask("GET", path, { headers: { host: "evil.example" } });
      expect([path, status, body.error.details]).toEqual([path, 421, { kind: "host" }]);
      expect(body.error.message).toContain("server.public_url");
    }
  });

  test("another Origin is refused where something changes, and for streams", async () => {
    await using at = await startHttp({ allowed_origins: ["https://app.example"] });
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const status = async (verb: string, path: string, headers: Record<string, string>): Promise<number> =>
      (await at.ask(verb, path, { headers, ...(verb === "POST" && { body: {} }) })).status;
    const evil = { origin: "https://evil.example" };
    expect(await status("POST", "/api/v1/sessions", evil)).toBe(403);
    expect(await status("DELETE", "/api/v1/sessions/s1", evil)).toBe(403);
    expect(await status("GET", "/api/v1/sessions/s1/events", evil)).toBe(403);
    expect(await status("GET", "/api/v1/stream/s1", evil)).toBe(403);
    expect(await status("POST", "/api/v1/sessions", { origin: "null" })).toBe(403);
    expect(await status("POST", "/api/v1/sessions", { cookie: "a=b" })).toBe(403);
    expect(await status("POST", "/api/v1/sessions", { "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await status("GET", "/ws", { ...evil, upgrade: "websocket", connection: "upgrade" })).toBe(403);
    expect(await status("GET", "/api/v1/sessions", evil)).toBe(200);
    expect(await status("POST", "/api/v1/sessions", { origin: at.url })).toBe(201);
    expect(await status("POST", "/api/v1/sessions", { origin: "https://app.example" })).toBe(201);
  });

  test("CORS is for the allowed origins, and nobody else", async () => {
    await using at = await startHttp({ allowed_origins: ["https://app.example"] });
    const preflight = (origin: string): Promise<{ status: number; headers: Headers }> =>
      at.ask("OPTIONS", "/api/v1/sessions", {
        token: null,
        headers: { origin, "access-control-request-method": "POST" },
      });
    const allowed = await preflight("https://app.example");
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(allowed.headers.get("access-control-allow-methods")).toContain("PATCH");
    expect(allowed.headers.get("access-control-allow-headers")).toContain("Last-Event-ID");
    expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
    expect(allowed.headers.get("vary")).toBe("Origin");
    for (const origin of ["https://evil.example", "null", "https://app.example.evil"]) {
      expect((await preflight(origin)).headers.get("access-control-allow-origin")).toBeNull();
    }
    // What went wrong has to be readable, too.
    const refused = await at.ask("GET", "/api/v1/sessions", {
      token: null,
      headers: { origin: "https://app.example" },
    });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([
      401,
      "https://app.example",
    ]);
  });

  test("no secret in a URL, a ticket for streams alone", async () => {
    await using at = await startHttp();
    for (const name of [
      "token",
      "auth_token",
      "access_token",
      "password",
      "session_token",
      "api_key",
      "Token",
    ]) {
      for (const path of ["/api/v1/sessions", "/api/v1/sessions/s1/events", "/nowhere"]) {
        const { status, body } = await at.ask("GET", `${path}?${name}=s3cret`);
        expect([name, status, body.error.details]).toEqual([name, 400, { kind: "secret_in_url" }]);
        expect(JSON.stringify(body)).not.toContain("s3cret");
      }
    }
    at.tickets.add("t1");
    for (const path of ["/api/v1/sessions?ticket=t1", "/api/v1/chat?ticket=t1"]) {
      const verb = path.includes("chat") ? "POST" : "GET";
      const { status, body } = await at.ask(verb, path, { token: null });
      expect([status, body.error.details]).toEqual([400, { kind: "secret_in_url" }]);
    }
    expect(at.tickets.has("t1")).toBe(true);
  });

  test("with auth.mode none nobody has to say who they are, and a wrong word is still wrong", async () => {
    await using at = await startHttp({ open: true });
    expect((await at.ask("GET", "/api/v1/sessions", { token: null })).status).toBe(200);
    expect((await at.ask("GET", "/api/v1/sessions", { token: "wrong" })).status).toBe(401);
    expect(at.asked[0]).toEqual({ credential: { kind: "none" }, transport: "rest" });
  });
});

describe("the socket's paths", () => {
  test("/ws, /ws/ and / with Upgrade are handed on; without, /ws says what it is", async () => {
    await using at = await startHttp();
    const headers = { upgrade: "websocket", connection: "upgrade" };
    for (const path of ["/ws", "/ws/", "/"])
      expect((await at.ask("GET", path, { headers })).status).toBe(418);
    expect((await at.ask("GET", "/ws")).status).toBe(426);
    expect((await at.ask("GET", "/")).status).toBe(200);
  });

  test("with gateway.enabled = false an upgrade is 404", async () => {
    await using at = await startHttp({ sockets: false });
    const headers = { upgrade: "websocket", connection: "upgrade" };
    const { status, body } = await at.ask("GET", "/ws", { headers });
    expect([status, body.error.message]).toEqual([404, expect.stringContaining("gateway.enabled")]);
  });

  test("a real socket connects through the same listener", async () => {
    await using at = await startHttp();
    const sockets = createSockets(at.context);
    const http = createHttp(at.context, sockets);
    const { url } = await http.listen("127.0.0.1", 0);
    at.context.doors.checkHost = () => null;
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws`, { headers: bearer("owner") } as never);
    const read = Promise.withResolvers<string>();
    socket.addEventListener("message", ({ data }) => read.resolve(String(data)));
    socket.addEventListener("open", () => socket.send('{"type":"req","id":"1","method":"system.info"}'));
    expect(JSON.parse(await read.promise)).toMatchObject({
      id: "1",
      ok: true,
      payload: { name: "agentbus" },
    });
    socket.close();
    await http.stop();
  });
});

describe("listeners", () => {
  test("a second one has the same surface", async () => {
    await using at = await startHttp();
    const second = await at.http.listen("127.0.0.1", 0, "gateway.bind");
    at.context.doors.checkHost = () => null;
    await at.ask("POST", "/api/v1/sessions", { body: { session_id: "s1" } });
    const response = await fetch(`${second.url}/api/v1/sessions/s1`, { headers: bearer("owner") });
    expect([response.status, (await response.json()).session_id]).toEqual([200, "s1"]);
  });

  test("a port in use, and a foreign address, say what to change", async () => {
    await using at = await startHttp();
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
    const refusal = async (listening: Promise<unknown>): Promise<string> => {
      const error = await listening.then(
        () => new Error("it listens"),
        (reason: unknown) => reason as Error,
      );
      expect(error).toBeInstanceOf(GatewayError);
      return error.message;
    };
    const port = Number(new URL(at.url).port);
    expect(await refusal(at.http.listen("127.0.0.1", taken.port, "gateway.bind"))).toContain("gateway.bind");
    expect(await refusal(at.http.listen("127.0.0.1", port))).toBe(
      `127.0.0.1:${port} is in use: stop what listens there, or set server.port to a free port`,
    );
    expect(await refusal(at.http.listen("192.0.2.1", 0))).toContain(
      "192.0.2.1 is no address of this machine",
    );
    taken.stop();
  });

  test("an address of IPv6 is written as a URL has it", async () => {
    await using at = await startHttp();
    const { url, port } = await at.http.listen("::1", 0);
    expect(url).toBe(`http://[::1]:${port}`);
  });
});
