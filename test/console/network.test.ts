import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import type { Cut, CutKind, CutProxy } from "../support/cut-proxy.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { answerWith, HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

/** Numbers in the answer: some seconds of it. */
const UPTO = 900;
/** Bytes of the socket that still pass: some of the answer is there, and most of it is not. */
const SOME_BYTES = 30_000;

let gateway: RunningGateway;
let browser: Browser;
let proxy: CutProxy;
/** What happens to connections that are made from now on. */
let next: Cut | null = null;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  proxy = startCutProxy({ target: () => gateway.address, plan: () => next });
  const server = { allowed_origins: [`http://${proxy.address}`] };
  [gateway, browser] = await Promise.all([startGateway({ config: { server } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  proxy.stop();
  await gateway[Symbol.asyncDispose]();
});

function counted(): string {
  return Array.from({ length: UPTO }, (_, index) => index + 1).join(" ");
}

describe.skipIf(!HAS_CHROMIUM)("a network that fails in mid-answer", () => {
  test.each<CutKind>(["close", "reset", "stall"])(
    "%s: the answer goes on, no word is missing or there twice",
    async (kind) => {
      const at = `http://${proxy.address}`;
      next = null;
      await using visitor = await visitIn(browser, gateway, { at });
      const { page } = visitor;
      await page.getByLabel("Message", { exact: true }).waitFor();
      // The files are kept; a socket made from now on is cut.
      next = { kind, side: "down", after_bytes: SOME_BYTES };
      const cuts = proxy.cuts;
      await page.reload();
      await page.getByLabel("Message", { exact: true }).waitFor();
      await say(page, `/long ${UPTO}`);
      await page.locator(".message.assistant.streaming").waitFor();
      await waitFor(() => proxy.cuts > cuts);
      next = null;
      const [cut_at, made] = [performance.now(), proxy.connections];
      if (kind === "stall") {
        // Nobody is told: the page finds out by itself within ten seconds, as long as an answer is expected.
        await waitFor(() => proxy.connections > made, 50_000);
        expect(performance.now() - cut_at).toBeLessThan(50_000);
      }
      expect(await answerWith(page, `${UPTO - 1} ${UPTO}`)).toBe(counted());
      await page.getByText("No connection.").waitFor({ state: "detached" });
      // That a socket was lost is told by the browser itself, too.
      expect(visitor.complaints.filter((text) => !text.includes("WebSocket"))).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "what is written meanwhile is sent once, when there is a connection again; the gateway may restart between",
    async () => {
      next = null;
      await using visitor = await visitIn(browser, gateway, { at: `http://${proxy.address}` });
      const { page } = visitor;
      await say(page, "before");
      await page.locator(".message.assistant.complete").waitFor();
      gateway.kill("SIGKILL");
      await gateway.exited;
      await page.getByText("No connection.").waitFor();
      await say(page, "meanwhile");
      await page.getByText("Sending…").waitFor();
      await gateway.restart();
      await page.locator(".message.assistant.complete").nth(1).waitFor();
      const said = page.locator(".message.user .bubble");
      expect(await said.allInnerTexts()).toEqual(["before", "meanwhile"]);
      await page.getByText("Sending…").waitFor({ state: "detached" });
    },
    LONG_MS,
  );

  test(
    "what is written meanwhile outlives the page: after a reload it is sent once, and forgotten when one signs out",
    async () => {
      next = null;
      await using visitor = await visitIn(browser, gateway, { at: `http://${proxy.address}` });
      const { page } = visitor;
      const field = page.getByLabel("Message", { exact: true });
      await field.waitFor();
      const waiting = () =>
        page.evaluate(
          () => Object.keys(localStorage).filter((key) => key.startsWith("agentbus.outbox")).length,
        );
      gateway.kill("SIGKILL");
      await gateway.exited;
      await page.getByText("No connection.").waitFor();
      // The first one makes the session.
      await say(page, "one");
      await page.getByText("Sending…").waitFor();
      await say(page, "two");
      await page.getByText("Sending…").nth(1).waitFor();
      expect(await waiting()).toBe(2);
      const { hash } = new URL(page.url());
      await page.reload().catch(() => undefined);
      await gateway.restart();
      await page.goto(`http://${proxy.address}/${hash}`);
      await page.locator(".message.assistant.complete").nth(1).waitFor();
      await page.getByText("Sending…").waitFor({ state: "detached" });
      const said = page.locator(".message.user .bubble");
      expect(await said.allInnerTexts()).toEqual(["one", "two"]);
      expect(await waiting()).toBe(0);

      gateway.kill("SIGKILL");
      await gateway.exited;
      await page.getByText("No connection.").waitFor();
      await say(page, "never");
      await page.getByText("Sending…").waitFor();
      await page.getByRole("button", { name: "owner" }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await page.getByLabel("Access token").waitFor();
      expect(await page.evaluate(() => localStorage.length)).toBe(0);
      await gateway.restart();
    },
    LONG_MS,
  );
});

async function waitFor(holds: () => boolean, patience_ms = 20_000): Promise<void> {
  const until = performance.now() + patience_ms;
  while (!holds()) {
    if (performance.now() > until) throw new Error("it did not come about");
    await Bun.sleep(10);
  }
}
