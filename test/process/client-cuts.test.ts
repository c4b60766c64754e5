import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "../support/browser.ts";
import { startBrowser } from "../support/browser.ts";
import type { Drive, Driven } from "../support/client-driver.ts";
import type { Runtime } from "../support/client-runtimes.ts";
import { bundleDriver, driveIn } from "../support/client-runtimes.ts";
import type { Cut, CutProxy } from "../support/cut-proxy.ts";
import { randomCut, startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import { seeded } from "../support/random.ts";

/** Cuts in each of Bun, Node and Chromium; without it a few. */
const CUTS = Bun.env["AGENTBUS_TEST_CLIENT_CUTS"];
const SEED = Number(Bun.env["AGENTBUS_TEST_SEED"] ?? Math.floor(Math.random() * 1_000_000_000));
const SESSIONS = 6;
const WITHIN = { up: 1_500, down: 15_000 };
const HAS_CHROMIUM = needs("chromium", "chromium");
const HAS_NODE = needs("npx", "npm");

/** Of lines that fall silent it takes seconds to be sure, so there are few unless cuts were asked for. */
const STALLS = CUTS === undefined ? 1 : Number.POSITIVE_INFINITY;

const random = seeded(SEED);
let stalls = 0;
let gateway: RunningGateway;
let browser: Browser;
let budget = 0;
const proxies: CutProxy[] = Array.from({ length: SESSIONS }, () =>
  startCutProxy({
    target: () => gateway.address,
    plan: () => (budget-- > 0 ? nextCut() : null),
  }),
);
/** Tells the driver whether there is something left to cut, and is the page. */
const control = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  routes: {
    "/more": () => new Response(String(budget > 0), { headers: { "access-control-allow-origin": "*" } }),
    "/": new Response('<!doctype html><script type="module" src="/drive.js"></script>', {
      headers: { "content-type": "text/html" },
    }),
    "/drive.js": async () =>
      new Response(await bundleDriver("window.drive = drive;"), {
        headers: { "content-type": "text/javascript" },
      }),
  },
});
const ORIGIN = `http://127.0.0.1:${control.port}`;

beforeAll(async () => {
  const allowed_origins = [ORIGIN, ...proxies.map(({ address }) => `http://${address}`)];
  gateway = await startGateway({ config: { server: { allowed_origins } } });
  if (HAS_CHROMIUM) browser = await startBrowser();
}, 60_000);
afterAll(async () => {
  for (const proxy of proxies) proxy.stop();
  await control.stop(true);
  await gateway[Symbol.asyncDispose]();
  if (HAS_CHROMIUM) await browser[Symbol.asyncDispose]();
});

function nextCut(): Cut {
  const cut = randomCut(random, WITHIN);
  return cut.kind === "stall" && stalls++ >= STALLS ? { ...cut, kind: "reset" } : cut;
}

function plan(prefix: string, cuts: number, transport: Drive["transport"] = "auto"): Drive {
  budget = cuts;
  stalls = 0;
  const urls = proxies.map(({ address }) => `http://${address}`);
  return { urls, token: gateway.token, more: `${ORIGIN}/more`, prefix, words: 120, transport };
}

function check(where: string, driven: Driven): void {
  const waits = driven.caught_up_ms.toSorted((a, b) => a - b).map(Math.round);
  const told = `${driven.answers} answers, ${waits.length} times caught up, median ${waits[waits.length >> 1]} ms, longest ${waits.at(-1)} ms`;
  console.log(`${where}, seed ${SEED}: ${told}`);
  expect(driven.wrong).toEqual([]);
  expect(budget).toBeLessThanOrEqual(0);
  expect(driven.connections).toHaveLength(SESSIONS);
}

describe("a client whose connections are cut anywhere loses nothing and says nothing twice", () => {
  const cases: [string, Runtime, number, Drive["transport"]][] = [
    ["in Bun", "bun", Number(CUTS ?? 40), "websocket"],
    ["in Bun without a socket", "bun", Number(CUTS ?? 20), "sse"],
    ["in Node 22", "node 22", Number(CUTS ?? 10), "auto"],
    ["in Node 20", "node 20", Number(CUTS ?? 10), "auto"],
    ["in Deno", "deno", Number(CUTS ?? 10), "auto"],
  ];
  for (const [where, runtime, cuts, transport] of cases) {
    test.skipIf(runtime !== "bun" && !HAS_NODE)(
      where,
      async () => {
        const driven = await driveIn(runtime, plan(where.replaceAll(" ", "-"), cuts, transport));
        check(where, driven);
      },
      120_000 + cuts * 2_000,
    );
  }

  test.skipIf(!HAS_CHROMIUM)(
    "in Chromium",
    async () => {
      const options = plan("page", Number(CUTS ?? 10));
      const page = await browser.newPage();
      await page.open(`${ORIGIN}/`);
      await page.until("typeof window.drive === 'function'");
      await page.until(
        `(window.drive(${JSON.stringify(options)}).then((driven) => (window.driven = driven), (error) => (window.driven = { wrong: [String(error)] })), true)`,
      );
      check("in Chromium", await page.until("window.driven", 100_000 + Number(CUTS ?? 10) * 2_000));
    },
    120_000 + Number(CUTS ?? 10) * 2_000,
  );
});
