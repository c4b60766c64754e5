import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "../support/browser.ts";
import { startBrowser } from "../support/browser.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";

const HAS_CHROMIUM = needs("chromium", "chromium");

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (HAS_CHROMIUM) [gateway, browser] = await Promise.all([startGateway(), startBrowser()]);
}, 60_000);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser[Symbol.asyncDispose]();
  await gateway[Symbol.asyncDispose]();
});

describe.skipIf(!HAS_CHROMIUM)("in a browser, under their Content-Security-Policy", () => {
  test("the first page asks who is there", async () => {
    const page = await browser.newPage();
    await page.open(gateway.url);
    expect(await page.until("document.querySelector('h1')?.textContent")).toBe("Sign in to agentbus");
    expect(page.complaints).toEqual([]);
  });

  test("the API documentation can be opened, unfolded and tried, without a complaint", async () => {
    const page = await browser.newPage();
    await page.open(`${gateway.url}/docs`);
    const click = async (selector: string): Promise<void> => {
      await page.until(`document.querySelector('${selector}') !== null`);
      await page.until(`document.querySelector('${selector}').click() ?? true`);
    };
    await click("#operations-tag-system .expand-operation");
    const health = '.opblock:has([data-path="/health"])';
    await click(`${health} .opblock-summary-control`);
    await click(`${health} .try-out__btn`);
    await click(`${health} .execute`);
    const status = `${health} .live-responses-table .response-col_status`;
    const answer = await page.until(`document.querySelectorAll('${status}')[1]?.textContent`);
    expect(answer).toContain("200");
    expect(page.complaints).toEqual([]);
  });
});
