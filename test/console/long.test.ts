import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { fillSession, FILLING } from "./long.fixture.ts";
import { answerWith, HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

const MESSAGES = 5_000;
/** More than fit on a screen and what is kept ready around it. */
const MOST_IN_PAGE = 120;

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  [gateway, browser] = await Promise.all([startGateway({ config: FILLING }), startChromium()]);
  await fillSession(gateway, "long", MESSAGES);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
}, LONG_MS);

describe.skipIf(!HAS_CHROMIUM)(`a session of ${MESSAGES} messages`, () => {
  test(
    "opens at its end, is scrolled to its beginning in order and back, and only what is seen is in the page",
    async () => {
      await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/session/long` });
      const { page } = visitor;
      await page.getByText(`Message number ${MESSAGES - 1}.`).waitFor();
      const transcript = page.getByRole("log");

      // What is in the page is always without a hole and in order, and never much.
      const numbers = (): Promise<number[]> =>
        transcript.evaluate((place) =>
          [...place.querySelectorAll(".message")].map((message) =>
            Number(/Message number (\d+)/.exec(message.textContent ?? "")?.[1]),
          ),
        );
      const seen = new Set<number>();
      for (let rounds = 0; !seen.has(0) && rounds < 2_000; rounds++) {
        const shown = await numbers();
        expect(shown.length).toBeLessThan(MOST_IN_PAGE);
        expect(shown).toEqual(shown.toSorted((one, other) => one - other));
        expect(new Set(shown).size).toBe(shown.length);
        for (const number of shown) seen.add(number);
        await transcript.evaluate((place) => {
          place.dispatchEvent(new WheelEvent("wheel", { deltaY: -1 }));
          place.scrollTop -= place.clientHeight * 4;
        });
        await page.evaluate(() => new Promise(requestAnimationFrame));
      }
      expect(seen.has(0)).toBe(true);

      await page.getByRole("button", { name: "To the newest message" }).click();
      await page.getByText(`Message number ${MESSAGES - 1}.`).waitFor();
      await say(page, "/long 50");
      expect(await answerWith(page, "49 50")).toEndWith("49 50");
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "stays where its reader is while an answer is written, and older messages come",
    async () => {
      await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/session/long` });
      const { page } = visitor;
      await page.getByRole("log").getByText("49 50").waitFor();
      await say(page, "/long 400");
      await page.locator(".message.assistant.streaming").waitFor();
      await page.getByRole("log").hover();
      await page.mouse.wheel(0, -3_000);
      await page.getByRole("button", { name: "To the newest message" }).waitFor();
      const top = (): Promise<number> =>
        page.getByRole("log").evaluate((place) => {
          const edge = place.getBoundingClientRect().top;
          const first = [...place.querySelectorAll(".message")].find(
            (each) => each.getBoundingClientRect().bottom > edge + 5,
          );
          return Number(/Message number (\d+)/.exec(first?.textContent ?? "")?.[1]);
        });
      await page.waitForFunction(() => document.querySelector(".message.streaming") === null);
      const before = await top();
      await page.getByRole("button", { name: "Stop" }).waitFor({ state: "detached" });
      expect(await top()).toBe(before);
    },
    LONG_MS,
  );
});
