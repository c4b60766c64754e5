import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page, WebSocketRoute } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { findings } from "./axe.ts";
import { fillSession, FILLING } from "./long.fixture.ts";
import { call, HAS_CHROMIUM, LONG_MS, startChromium, visitIn } from "./visitor.ts";

/** More than come with a session at first, and than one page of older ones has. */
const MESSAGES = 700;
const HOSTILE = 'The <b>walrus</b> eats <img src=x onerror="document.title=1"> a clam.';

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  [gateway, browser] = await Promise.all([startGateway({ config: FILLING }), startChromium()]);
  await fillSession(gateway, "long", MESSAGES);
  await call(gateway, "session.create", { session_id: "sea", title: "Walrus and penguin" });
  for (const content of [HOSTILE, "A penguin swims.", "They are animals of the sea."])
    await call(gateway, "chat.inject", { session_id: "sea", role: "user", content });
  // What was said last is found last.
  for (;;) {
    const { results } = await call(gateway, "session.search", { query: "animals" });
    if (results.length > 0) break;
  }
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
}, LONG_MS);

const search = (page: Page) => page.getByLabel("Search titles and messages");
const found = (page: Page) => page.getByRole("region", { name: "In messages" });

/** The message that is marked, and whether all of it can be seen. */
async function marked(page: Page): Promise<{ text: string; in_view: boolean }> {
  return page.locator(".message.marked").evaluate((message) => {
    const place = message.closest("[role=log]")?.getBoundingClientRect();
    const { top, bottom } = message.getBoundingClientRect();
    const in_view = place !== undefined && top >= place.top && bottom <= place.bottom;
    return { text: message.textContent ?? "", in_view };
  });
}

describe.skipIf(!HAS_CHROMIUM)("what was said", () => {
  test(
    "is found below the titles, as text with its words marked, and forgotten with the query",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await search(page).fill("WALRUS");
      const link = found(page).getByRole("link");
      await link.waitFor();
      expect(await link.locator(".snippet").textContent()).toBe(HOSTILE);
      expect(await link.locator("mark").allTextContents()).toEqual(["walrus"]);
      expect(await link.locator("b, img").count()).toBe(0);
      const links = page.getByRole("navigation", { name: "Sessions" }).getByRole("link");
      expect(await links.evaluateAll((all) => all.map((each) => each.className))).toEqual([
        "row session",
        "row found",
      ]);
      await search(page).fill("walrus giraffe");
      await found(page).getByText("No message has all these words.").waitFor();
      await search(page).fill("?!");
      await found(page).getByText("No message has all these words.").waitFor();
      await search(page).fill("");
      await found(page).waitFor({ state: "detached" });
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "is reached by keyboard however far back it is, marked for a moment, and again when it is chosen again",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      const { keyboard } = page;
      await page.locator("#message:focus").waitFor();
      await keyboard.press("Control+k");
      await keyboard.type('"number 41"');
      const link = found(page).getByRole("link");
      await link.waitFor();
      // Past the session in the list, if it is there still.
      while (!(await link.evaluate((element) => element === document.activeElement)))
        await keyboard.press("Tab");
      await keyboard.press("Enter");
      await page.locator(".message.marked").waitFor();
      expect(await marked(page)).toEqual({
        text: expect.stringContaining("Message number 41."),
        in_view: true,
      });
      expect(await page.locator("[role=log]:focus").count()).toBe(1);
      await page.locator(".message.marked").waitFor({ state: "detached" });

      await page.getByRole("button", { name: "To the newest message" }).click();
      await page.getByText(`Message number ${MESSAGES - 1}.`).waitFor();
      await link.click();
      await page.locator(".message.marked", { hasText: "Message number 41." }).waitFor();

      // The address leads there, too, and says so where there is no such message.
      await page.reload();
      await page.locator(".message.marked", { hasText: "Message number 41." }).waitFor();
      await page.goto(`${gateway.url}/#/session/sea/nothing`);
      await page.getByText("The message is not here any more").waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "since is told of, and found when it is looked for again",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await search(page).fill("ostrich");
      await found(page).getByText("No message has all these words.").waitFor();
      await call(gateway, "session.create", { session_id: "land", title: "Dry" });
      await call(gateway, "chat.inject", { session_id: "land", role: "user", content: "An ostrich runs." });
      for (;;) {
        const { results } = await call(gateway, "session.search", { query: "ostrich" });
        if (results.length > 0) break;
      }
      await found(page).getByRole("button", { name: "search again" }).click();
      await found(page).getByRole("link").waitFor();
      // The list may hear of the message after it was found: then there is more once more, and once only.
      const again = found(page).getByRole("button", { name: "search again" });
      while ((await again.count()) > 0) await again.click();
      await call(gateway, "session.delete", { session_id: "land" });
      await found(page).getByRole("link").waitFor({ state: "detached" });
    },
    LONG_MS,
  );

  test(
    "is asked for anew when the query changes, and a failure can be tried again",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      const held: string[] = [];
      let fails = false;
      let socket: WebSocketRoute | undefined;
      await page.routeWebSocket(/./, (route) => {
        socket = route;
        const server = route.connectToServer();
        const withheld = new Set<string>();
        route.onMessage((text) => {
          const { id, method, params } = JSON.parse(String(text));
          if (method === "session.search" && fails) {
            const error = { code: "INTERNAL", message: "no", retryable: false };
            route.send(JSON.stringify({ type: "res", id, ok: false, error }));
            return;
          }
          if (method === "session.search" && params.query === "walrus") withheld.add(id);
          server.send(text);
        });
        server.onMessage((text) => {
          const isHeld = withheld.has(JSON.parse(String(text)).id);
          if (isHeld) held.push(String(text));
          else route.send(text);
        });
      });
      await page.reload();
      await search(page).fill("walrus");
      await found(page).getByText("Searching…").waitFor();
      while (held.length === 0) await page.evaluate(() => new Promise(requestAnimationFrame));
      await search(page).fill("penguin");
      await found(page).locator("mark", { hasText: "penguin" }).waitFor();
      for (const text of held) socket?.send(text);
      await search(page).press("End");
      await page.evaluate(() => new Promise(requestAnimationFrame));
      expect(await found(page).locator("mark").allTextContents()).toEqual(["penguin"]);

      fails = true;
      await search(page).fill("clam");
      await found(page).getByText("The messages could not be searched.").waitFor();
      fails = false;
      await found(page).getByRole("button", { name: "Try again" }).click();
      await found(page).locator("mark", { hasText: "clam" }).waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test.each([
    ["light", { viewport: { width: 1_100, height: 720 } }],
    ["dark", { viewport: { width: 360, height: 700 }, hasTouch: true, isMobile: true }],
  ] as const)(
    "is shown so that axe finds nothing serious: %s",
    async (colorScheme, options) => {
      await using visitor = await visitIn(browser, gateway, { colorScheme, ...options });
      const { page } = visitor;
      const phone = "isMobile" in options;
      if (phone) await page.getByRole("button", { name: "Sessions" }).click();
      await search(page).fill("penguin");
      const link = found(page).getByRole("link");
      await link.waitFor();
      expect(await findings(page)).toEqual([]);
      await link.click();
      await page.locator(".message.marked").waitFor();
      // On a phone the list is out of the way once something was chosen.
      if (phone) await page.locator(".drawer-open").waitFor({ state: "detached" });
      expect(await findings(page)).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(options.viewport.width);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});
