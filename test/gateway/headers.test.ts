import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { requestUpgrade } from "../support/ws-client.ts";
import type { Stack } from "./stack.ts";
import { startStack } from "./stack.ts";

const APP = "https://app.example.com";

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ config: { server: { allowed_origins: [APP] } } });
  await stack.owner.call("session.create", { session_id: "s" });
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Asked {
  readonly verb?: string;
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  /** As nobody. */
  readonly open?: boolean;
}

const JSON_TYPE = { "content-type": "application/json" };

/** One of every kind of answer. */
const ANSWERS: [string, number, Asked][] = [
  ["the first page", 200, { path: "/", open: true }],
  ["the documentation", 200, { path: "/docs", open: true }],
  ["what it is made of", 200, { path: "/docs/swagger-ui.js", open: true }],
  ["the OpenAPI text", 200, { path: "/docs/json", open: true }],
  ["the health", 200, { path: "/health", open: true }],
  ["a HEAD", 200, { verb: "HEAD", path: "/health", open: true }],
  ["an answer", 200, { path: "/api/v1/sessions" }],
  ["a stream", 200, { path: "/api/v1/sessions/s/events" }],
  ["what was made", 201, { verb: "POST", path: "/api/v1/sessions", headers: JSON_TYPE, body: "{}" }],
  ["a preflight", 204, { verb: "OPTIONS", path: "/api/v1/sessions", headers: { origin: APP }, open: true }],
  ["what is not JSON", 400, { verb: "POST", path: "/api/v1/sessions", headers: JSON_TYPE, body: "{" }],
  ["a secret in the URL", 400, { path: "/health?token=x", open: true }],
  ["nobody", 401, { path: "/api/v1/sessions", open: true }],
  [
    "another origin",
    403,
    { verb: "POST", path: "/api/v1/sessions", headers: { origin: "https://evil.example" } },
  ],
  ["no such path", 404, { path: "/nowhere" }],
  ["no such session", 404, { path: "/api/v1/sessions/none" }],
  [
    "a type that is not taken",
    415,
    { verb: "POST", path: "/api/v1/sessions", body: "{}", headers: { "content-type": "text/plain" } },
  ],
  ["another host", 421, { path: "/", headers: { host: "evil.example" }, open: true }],
  ["the socket's path without an upgrade", 426, { path: "/ws" }],
];

function safe(headers: Headers): void {
  expect([headers.get("x-content-type-options"), headers.get("referrer-policy")]).toEqual([
    "nosniff",
    "no-referrer",
  ]);
  expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
  const policy = headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toMatch(/unsafe-|\*|https?:/);
  expect(headers.get("vary")).toContain("Origin");
  for (const name of [
    "access-control-allow-credentials",
    "set-cookie",
    "server",
    "strict-transport-security",
  ]) {
    expect([name, headers.get(name)]).toEqual([name, null]);
  }
}

describe("every answer", () => {
  test.each(ANSWERS)(
    "%s (%d): says that it is not to be framed, guessed at or told of",
    async (_what, status, asked) => {
      const { verb = "GET", path, headers = {}, body, open = false } = asked;
      const abort = new AbortController();
      const response = await fetch(`${stack.gateway.url}${path}`, {
        method: verb,
        headers: { ...(!open && stack.owner.bearer), ...headers },
        ...(body !== undefined && { body }),
        signal: abort.signal,
      });
      expect(response.status).toBe(status);
      safe(response.headers);
      // Nothing of a gateway is kept, but the parts of a page.
      expect(response.headers.get("cache-control")).toMatch(
        path.startsWith("/docs/swagger") ? /^public/ : /^no-/,
      );
      abort.abort();
    },
  );

  test("the refusal of an upgrade, too", async () => {
    for (const headers of [
      { origin: "https://evil.example" },
      { host: "evil.example" },
      { authorization: "Bearer agb_x" },
    ]) {
      const { status, headers: said } = await requestUpgrade(stack.gateway.ws_url, headers);
      expect(status).toBeWithin(400, 500);
      safe(said);
    }
  });

  test("is read by an allowed page alone, a refusal like any other", async () => {
    for (const path of [
      "/api/v1/sessions",
      "/api/v1/sessions/none",
      "/nowhere",
      "/api/v1/sessions/s/events",
    ]) {
      for (const [origin, echoed] of [
        [APP, APP],
        [stack.gateway.url, null],
        ["https://evil.example", null],
        ["null", null],
      ] as const) {
        const abort = new AbortController();
        const { headers } = await fetch(`${stack.gateway.url}${path}`, {
          headers: { origin, ...stack.owner.bearer },
          signal: abort.signal,
        });
        expect([path, origin, headers.get("access-control-allow-origin")]).toEqual([path, origin, echoed]);
        abort.abort();
      }
    }
  });
});
