import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Answer, Person, Stack } from "./stack.ts";
import { ask, ended, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const { version } = JSON.parse(readFileSync(join(import.meta.dir, "../../package.json"), "utf8")) as {
  version: string;
};

describe("open to everybody", () => {
  test("GET /health, /status and /ready", async () => {
    const get = async (path: string): Promise<[number, unknown]> => {
      const { status, json } = await ask(`${stack.gateway.url}${path}`, "GET");
      return [status, json];
    };
    expect(await get("/health")).toEqual([200, { status: "healthy", timestamp: expect.any(Number) }]);
    expect(await get("/status")).toEqual([
      200,
      {
        name: "agentbus",
        version,
        status: "healthy",
        uptime: expect.any(Number),
        timestamp: expect.any(Number),
      },
    ]);
    const ok = { ok: true };
    expect(await get("/ready")).toEqual([
      200,
      { status: "ready", checks: { store: ok, disk: ok, draining: ok, provider: ok } },
    ]);
  });

  test("a provider that is not ready is told and does not make the gateway so", async () => {
    await using own = await startStack({ config: { llm: { default_provider: "openai" } } });
    const { status, json } = await ask(`${own.gateway.url}/ready`, "GET");
    expect([status, json.status]).toEqual([200, "ready"]);
    expect(json.checks.provider).toEqual({ ok: false, reason: expect.stringContaining("OPENAI_API_KEY") });
    expect(await own.owner.call("system.status")).toMatchObject({ status: "degraded" });
    const { run_id } = await own.owner.call("chat.send", { message: "hi" });
    const run = await ended(own.owner, run_id);
    expect([run.status, run.error.code]).toEqual(["failed", "UPSTREAM_ERROR"]);
    expect(run.error.message).toBe("no API key: set OPENAI_API_KEY or llm.providers.openai.api_key");
  });
});

test("the routes are methods by another name: status and answer of each", async () => {
  stack.model.reply().text("hello").usage({ prompt_tokens: 1, completion_tokens: 1 });
  const made = await owner.ask("POST", "/api/v1/sessions", { body: { session_id: "r", title: "one" } });
  expect([made.status, made.json]).toEqual([201, await owner.call("session.get", { session_id: "r" })]);
  const sent = await owner.ask("POST", "/api/v1/sessions/r/messages", {
    body: { message: "hi" },
    headers: { "x-client-id": "curl" },
  });
  expect(sent).toMatchObject({
    status: 202,
    json: { session_id: "r", status: "started", seq: 2, from: 1, subscribed: false },
  });
  await ended(owner, sent.json.run_id);
  const same: [string, string, string, Record<string, unknown>][] = [
    ["GET", "/api/v1/sessions", "session.list", {}],
    [
      "GET",
      "/api/v1/sessions?limit=1&query=one&archived=false&updated_after=5",
      "session.list",
      { limit: 1, query: "one", archived: false, updated_after: 5 },
    ],
    ["GET", "/api/v1/sessions/r", "session.get", { session_id: "r" }],
    ["GET", "/api/v1/sessions/r/messages?limit=1", "chat.history", { session_id: "r", limit: 1 }],
    ["GET", "/api/v1/history/r", "chat.history", { session_id: "r" }],
    ["GET", `/api/v1/runs/${sent.json.run_id}`, "run.get", { run_id: sent.json.run_id }],
    ["GET", "/api/v1/clients", "client.list", {}],
    ["GET", "/api/v1/models", "model.list", {}],
    ["GET", "/api/v1/tokens", "token.list", {}],
    ["POST", "/api/v1/sessions/r/abort", "chat.abort", { session_id: "r" }],
    ["POST", "/api/v1/stop/r", "chat.abort", { session_id: "r" }],
  ];
  for (const [verb, path, method, params] of same) {
    const answer = await owner.ask(verb, path);
    const direct = await owner.call(method, params);
    for (const { tokens = [] } of [answer.json, direct])
      for (const token of tokens) delete token.last_used_at;
    expect([path, answer.status, answer.json]).toEqual([path, 200, direct]);
  }
  expect((await owner.call("run.get", { run_id: sent.json.run_id })).origin).toEqual({
    transport: "rest",
    client_id: "curl",
  });
  expect(await owner.ask("PATCH", "/api/v1/sessions/r", { body: { title: "two" } })).toMatchObject({
    status: 200,
    json: { title: "two" },
  });
  expect(await owner.ask("POST", "/api/v1/tickets")).toMatchObject({
    status: 201,
    json: { ticket: expect.stringMatching(/^agt_/) },
  });
  const stats = await owner.ask("GET", "/api/v1/stats");
  expect(stats).toMatchObject({
    status: 200,
    json: { active_runs: 0, queued_runs: 0, tokens: { input: 1, output: 1 }, slow_consumers: 0 },
  });
  const { total_sessions, messages_total } = stats.json;
  expect([total_sessions > 0, messages_total > 1]).toEqual([true, true]);
  expect(await owner.ask("DELETE", "/api/v1/sessions/r")).toMatchObject({ status: 200, json: {} });
});

test("every refusal is {error}, with the status of its code", async () => {
  await owner.call("session.create", { session_id: "e" });
  await owner.call("session.create", { session_id: "gone" });
  await owner.call("session.delete", { session_id: "gone" });
  await owner.call("session.create", { title: "a", idempotency_key: "e-1" });
  stack.model.reply().text("x").hang();
  await owner.call("chat.send", { session_id: "busy", message: "x" });
  const viewer = await stack.guest({ user: "owner", role: "viewer" });
  const post = (path: string, body: unknown, person = owner): Promise<Answer> =>
    person.ask("POST", path, { body });
  const cases: [Promise<Answer>, number, string, number][] = [
    [post("/api/v1/sessions", "{"), 400, "INVALID_REQUEST", 4000],
    [post("/api/v1/sessions", { titel: "x" }), 422, "INVALID_REQUEST", 4000],
    [stack.person("wrong").ask("GET", "/api/v1/sessions"), 401, "UNAUTHORIZED", 4001],
    [post("/api/v1/sessions", {}, viewer), 403, "FORBIDDEN", 4003],
    [owner.ask("GET", "/api/v1/sessions", { headers: { host: "evil.example" } }), 421, "FORBIDDEN", 4003],
    [owner.ask("GET", "/api/v1/sessions/nowhere"), 404, "NOT_FOUND", 4004],
    [owner.ask("GET", "/nowhere"), 404, "NOT_FOUND", 4004],
    [owner.ask("DELETE", "/api/v1/sessions"), 404, "NOT_FOUND", 4004],
    [post("/api/v1/sessions", { session_id: "e" }), 409, "CONFLICT", 4009],
    [post("/api/v1/sessions/busy/messages", { message: "x", on_busy: "reject" }), 409, "CONFLICT", 4009],
    [owner.ask("GET", "/api/v1/sessions/gone"), 410, "GONE", 4010],
    [post("/api/v1/sessions/e/messages", { message: "x".repeat(200_000) }), 413, "TOO_LARGE", 4013],
    [
      owner.ask("POST", "/api/v1/sessions", { body: "{}", headers: { "content-type": "text/plain" } }),
      415,
      "INVALID_REQUEST",
      4000,
    ],
    [post("/api/v1/sessions", { title: "b", idempotency_key: "e-1" }), 422, "IDEMPOTENCY_MISMATCH", 4022],
  ];
  for (const [asked, status, code, number] of cases) {
    const answer = await asked;
    expect([
      answer.status,
      Object.keys(answer.json),
      answer.json.error.code,
      answer.json.error.status,
    ]).toEqual([status, ["error"], code, number]);
    const { message, retryable } = answer.json.error;
    expect(message).toMatch(/^[^\n]+$/);
    expect(retryable).toBeBoolean();
  }
  await owner.call("chat.abort", { session_id: "busy" });
});

test("every answer says what a browser may not do with it", async () => {
  for (const path of ["/health", "/api/v1/sessions", "/nowhere", "/", "/docs", "/docs/json"]) {
    const { headers } = await owner.ask("GET", path);
    expect([path, headers.get("x-content-type-options"), headers.get("referrer-policy")]).toEqual([
      path,
      "nosniff",
      "no-referrer",
    ]);
    const csp = headers.get("content-security-policy") ?? "";
    expect([path, csp]).toEqual([path, expect.stringContaining("frame-ancestors 'none'")]);
    // The pages of the API docs set styles of their own.
    if (path !== "/docs") expect(csp).not.toContain("unsafe-");
    expect(csp).not.toMatch(/script-src[^;]*unsafe/);
    expect(headers.get("set-cookie")).toBeNull();
  }
});
