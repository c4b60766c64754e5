import { afterAll, beforeAll, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import type { Browser } from "../support/browser.ts";
import { startBrowser } from "../support/browser.ts";
import { workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";

const HAS_CHROMIUM = needs("chromium", "chromium");
const SOURCES = resolve(import.meta.dir, "../../src");
const LONG_MS = 60_000;

/** A page as somebody would write it: its key never leaves the browser, which keeps it. */
const SCRIPT = `
import { createClient } from "${join(SOURCES, "client/client.ts")}";
import { deviceOf } from "${join(SOURCES, "client/device.ts")}";

function inStore(mode, ask) {
  return new Promise((done, failed) => {
    const opening = indexedDB.open("agentbus", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onerror = () => failed(opening.error);
    opening.onsuccess = () => {
      const asked = ask(opening.result.transaction("keys", mode).objectStore("keys"));
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => failed(asked.error);
    };
  });
}

window.talk = async (url) => {
  let keys = await inStore("readonly", (store) => store.get(url));
  if (keys === undefined) {
    keys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    await inStore("readwrite", (store) => store.put(keys, url));
  }
  const device = await deviceOf(keys, { onPairing: ({ code }) => (window.code = code) });
  const client = createClient({ url, device, client_name: "a page" });
  client.on("state", ({ state }) => (window.states = [...(window.states ?? []), state]));
  const { auth_info } = await client.connect();
  const { run_id } = await client.request("chat.send", { session_id: "s", message: "/long 3" });
  const { status } = await client.request("run.wait", { run_id });
  window.told = { auth_info, status, device_id: device.device_id };
};
`;

const place = workplace();
let browser: Browser;
let gateway: RunningGateway;
let pages: ReturnType<typeof Bun.serve>;

beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  const built = await Bun.build({ entrypoints: [place.file("page.ts", SCRIPT)], target: "browser" });
  const script = (await built.outputs[0]?.text()) ?? "";
  pages = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/": new Response('<!doctype html><script type="module" src="/page.js"></script>', {
        headers: { "content-type": "text/html" },
      }),
      "/page.js": new Response(script, { headers: { "content-type": "text/javascript" } }),
    },
  });
  const origin = `http://127.0.0.1:${pages.port}`;
  const config = { server: { allowed_origins: [origin] }, auth: { mode: "device" } };
  [gateway, browser] = await Promise.all([startGateway({ config }), startBrowser()]);
}, LONG_MS);
afterAll(async () => {
  place[Symbol.dispose]();
  if (!HAS_CHROMIUM) return;
  await browser[Symbol.asyncDispose]();
  await gateway[Symbol.asyncDispose]();
  await pages.stop(true);
});

async function call(method: string, params: object): Promise<Response> {
  return fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify(params),
  });
}

test.skipIf(!HAS_CHROMIUM)(
  "a page is paired once, talks, and is the same device after a reload; revoked, it stops",
  async () => {
    const page = await browser.newPage();
    const talk = async (): Promise<void> => {
      await page.open(`http://127.0.0.1:${pages.port}/`);
      await page.until("typeof window.talk === 'function'");
      await page.until(`(window.talk(${JSON.stringify(gateway.url)}), true)`);
    };
    await talk();
    const code = await page.until("window.code");
    const approved = await call("device.approve", { code, role: "user" });
    const { device_id, name, scopes } = (await approved.json()) as Record<string, unknown>;
    expect([approved.status, name]).toEqual([200, "a page"]);
    const told = await page.until("window.told");
    expect(told).toEqual({
      auth_info: expect.objectContaining({ user: "owner", method: "device", scopes }) as object,
      status: "completed",
      device_id,
    });

    await talk();
    expect((await page.until("window.told")).device_id).toBe(device_id);
    expect(await page.until("window.code === undefined")).toBe(true);

    await call("device.revoke", { device_id });
    await page.until("window.states.at(-1) === 'closed'");
  },
  LONG_MS,
);
