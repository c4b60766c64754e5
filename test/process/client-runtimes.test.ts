import { afterAll, beforeAll, expect, test } from "bun:test";
import { startBrowser } from "../support/browser.ts";
import type { Drive, Driven } from "../support/client-driver.ts";
import type { Runtime } from "../support/client-runtimes.ts";
import { bundleDriver, driveIn } from "../support/client-runtimes.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";

const HAS_CHROMIUM = needs("chromium", "chromium");
const HAS_NODE = needs("npx", "npm");
const LONG_MS = 120_000;

let gateway: RunningGateway;
/** As some networks are: plain requests pass, sockets do not. */
const blocked = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  fetch(request) {
    if (request.headers.has("upgrade")) return new Response("no sockets here", { status: 403 });
    const { pathname, search } = new URL(request.url);
    return fetch(gateway.url + pathname + search, {
      method: request.method,
      headers: request.headers,
      body: request.body,
      signal: request.signal,
      decompress: false,
    });
  },
});
/** The page, and the answer that there is no more to do. */
const pages = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  routes: {
    "/more": () => new Response("false", { headers: { "access-control-allow-origin": "*" } }),
    "/": new Response('<!doctype html><script type="module" src="/drive.js"></script>', {
      headers: { "content-type": "text/html" },
    }),
    "/drive.js": async () =>
      new Response(await bundleDriver("window.drive = drive;"), {
        headers: { "content-type": "text/javascript" },
      }),
  },
});
const ORIGIN = `http://127.0.0.1:${pages.port}`;
const BLOCKED = `http://127.0.0.1:${blocked.port}`;

beforeAll(async () => {
  gateway = await startGateway({ config: { server: { allowed_origins: [ORIGIN, BLOCKED] } } });
}, LONG_MS);
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await Promise.all([blocked.stop(true), pages.stop(true)]);
});

let prefixes = 0;
function plan(url = gateway.url): Drive {
  const prefix = `r${++prefixes}`;
  return { urls: [url], token: gateway.token, more: `${ORIGIN}/more`, prefix, words: 30, files: true };
}

function check(driven: Driven, over: "a socket" | "HTTP"): void {
  expect({ ...driven, connections: [] }).toEqual({
    answers: 1,
    wrong: [],
    caught_up_ms: [],
    connections: [],
  });
  expect(driven.connections[0]).toMatch(over === "HTTP" ? /^$/ : /^con_/);
}

test.each([
  ["bun", "a socket"],
  ["node 20", "HTTP"],
  ["node 22", "a socket"],
  ["deno", "a socket"],
] as [Runtime, "a socket" | "HTTP"][])(
  "%s is served over %s",
  async (runtime, over) => {
    if (runtime !== "bun" && !HAS_NODE) return;
    check(await driveIn(runtime, plan()), over);
  },
  LONG_MS,
);

test.skipIf(!HAS_NODE)(
  "node 20 is served over the socket of a package that it passes",
  async () => check(await driveIn("node 20", plan(), true), "a socket"),
  LONG_MS,
);

test.each(["bun", "node 22", "deno"] as Runtime[])(
  "%s is served over HTTP where sockets are blocked",
  async (runtime) => {
    if (runtime !== "bun" && !HAS_NODE) return;
    check(await driveIn(runtime, plan(BLOCKED)), "HTTP");
  },
  LONG_MS,
);

test.skipIf(!HAS_CHROMIUM)(
  "a page is served over a socket, and over HTTP where sockets are blocked",
  async () => {
    await using browser = await startBrowser();
    for (const [url, over] of [
      [gateway.url, "a socket"],
      [BLOCKED, "HTTP"],
    ] as const) {
      const page = await browser.newPage();
      await page.open(`${ORIGIN}/`);
      await page.until("typeof window.drive === 'function'");
      await page.until(
        `(window.drive(${JSON.stringify(plan(url))}).then((told) => (window.told = told)), true)`,
      );
      check((await page.until("window.told", LONG_MS / 2)) as Driven, over);
    }
  },
  LONG_MS,
);
