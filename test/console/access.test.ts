import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { script } from "../support/model-script.ts";
import { findings } from "./axe.ts";
import { HAS_CHROMIUM, LONG_MS, say, startChromium, visit, visitIn } from "./visitor.ts";

/** The console without a mouse, and for those who do not see it. */

const ANSWER = `# Heading

Some **text** with \`code\` and [a link](https://example.com).

\`\`\`ts
const answer: number = 42; // said
\`\`\`

| a | b |
| --- | ---: |
| 1 | 2 |

- [x] done
- [ ] open

> quoted`;

const TABS = ["overview", "connections", "devices", "tokens", "tools", "skills", "plugins", "usage", "audit"];

let gateway: RunningGateway;
let browser: Browser;
let model: ModelServer;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  model = await startModelServer();
  model.otherwise(({ body }) => {
    const { role, content } = body.messages.at(-1);
    const answer = script();
    if (role === "user" && content === "time") return answer.tool("time", {});
    return content === "slow" ? answer.text(ANSWER).hang() : answer.text(ANSWER);
  });
  const config = {
    auth: { mode: "multi", modes: ["token", "device"] },
    llm: {
      default_provider: "fake",
      default_model: "m",
      providers: { fake: { base_url: model.url(), api_key: "k" } },
    },
    tools: { builtin: ["time"], policy: { "*": "ask" } },
  };
  [gateway, browser] = await Promise.all([startGateway({ config }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
  model.stop();
}, LONG_MS);

/** Presses Tab (or Shift Tab) until what has the keyboard is called that. */
async function tabTo(page: Page, name: string, key = "Tab"): Promise<void> {
  const seen: string[] = [];
  for (let presses = 0; presses < 60; presses++) {
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const copy = element?.cloneNode(true) as HTMLElement | undefined;
      for (const unsaid of copy?.querySelectorAll("[aria-hidden]") ?? []) unsaid.remove();
      return (element?.getAttribute("aria-label") ?? copy?.textContent ?? "").trim();
    });
    if (at === name) return;
    seen.push(at.slice(0, 30));
    await page.keyboard.press(key);
  }
  throw new Error(`${key} does not lead to ${name}: ${seen.join(", ")}`);
}

describe.skipIf(!HAS_CHROMIUM)("by keyboard alone", () => {
  test(
    "one signs in, talks, allows a tool, stops, renames, searches and signs out",
    async () => {
      await using visitor = await visit(browser);
      const { page } = visitor;
      const { keyboard } = page;
      await visitor.open(gateway.url);
      await page.getByLabel("Access token").waitFor();
      await keyboard.type(gateway.token);
      await keyboard.press("Enter");
      await page.locator("#message:focus").waitFor();

      await keyboard.type("time");
      await keyboard.press("Enter");
      await page.getByRole("button", { name: "Allow", exact: true }).waitFor();
      await tabTo(page, "Allow", "Shift+Tab");
      await keyboard.press("Enter");
      await page.locator(".tool-call.done").waitFor();
      await page.getByRole("heading", { name: "Heading" }).waitFor();

      await page.locator(".busy").waitFor({ state: "detached" });
      await tabTo(page, "Conversation");
      await keyboard.press("Home");
      await page.evaluate(() => document.querySelector<HTMLElement>(".skip")?.focus());
      await keyboard.press("Enter");
      await page.locator("#message:focus").waitFor();
      await keyboard.type("slow");
      await keyboard.press("Enter");
      await page.getByRole("button", { name: "Stop" }).waitFor();
      await tabTo(page, "Stop", "Shift+Tab");
      await keyboard.press("Enter");
      await page.locator(".ending", { hasText: "Stopped." }).waitFor();

      await tabTo(page, "Session", "Shift+Tab");
      await keyboard.press("Enter");
      await page.getByRole("menuitem", { name: "Rename…" }).waitFor();
      await keyboard.press("Enter");
      await page.locator("dialog input:focus").waitFor();
      await keyboard.type("Renamed");
      await keyboard.press("Enter");
      await page.getByRole("heading", { name: "Renamed" }).waitFor();

      await keyboard.press("Control+k");
      await keyboard.type("renam");
      await page.waitForFunction(() => document.querySelectorAll("nav a").length === 1);
      await tabTo(page, "owner");
      await keyboard.press("Enter");
      await page.getByRole("menuitem", { name: "Sign out" }).waitFor();
      await keyboard.press("End");
      await keyboard.press("Enter");
      await page.getByLabel("Access token").waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});

describe.skipIf(!HAS_CHROMIUM)("axe finds nothing serious", () => {
  test.each(["light", "dark"] as const)(
    "in the %s page",
    async (colorScheme) => {
      await using outside = await visit(browser, { colorScheme });
      await outside.open(gateway.url);
      await outside.page.getByRole("heading", { name: "Sign in" }).waitFor();
      expect(await findings(outside.page)).toEqual([]);

      await using visitor = await visitIn(browser, gateway, { colorScheme });
      const { page } = visitor;
      expect(await findings(page)).toEqual([]);
      await say(page, "hello");
      await page.locator(".message.assistant.complete .hljs-keyword").waitFor();
      expect(await findings(page)).toEqual([]);
      await say(page, "time");
      await page.getByRole("button", { name: "Allow", exact: true }).waitFor();
      expect(await findings(page)).toEqual([]);
      await page.getByRole("button", { name: "Session", exact: true }).click();
      expect(await findings(page)).toEqual([]);
      await page.getByRole("menuitem", { name: "Delete…" }).click();
      expect(await findings(page)).toEqual([]);
      await page.keyboard.press("Escape");
      for (const tab of TABS) {
        await page.goto(`${gateway.url}/#/gateway/${tab}`);
        await page.locator(`.tabs a[aria-current=page][href$=${tab}]`).waitFor();
        await page.locator(".panel > :not(.problem)").first().waitFor();
        expect([tab, await findings(page)]).toEqual([tab, []]);
      }
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "on a phone, and nothing is wider than it",
    async () => {
      await using visitor = await visitIn(browser, gateway, {
        viewport: { width: 360, height: 700 },
        hasTouch: true,
        isMobile: true,
      });
      const { page } = visitor;
      await say(page, "hello");
      await page.locator(".message.assistant.complete").waitFor();
      expect(await findings(page)).toEqual([]);
      await page.getByRole("button", { name: "Sessions" }).click();
      await page.getByRole("link", { name: "New session" }).waitFor();
      expect(await findings(page)).toEqual([]);
      await page.getByRole("link", { name: "Gateway" }).click();
      await page.locator(".charts").waitFor();
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    },
    LONG_MS,
  );
});
