import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { answers, answerWith, call, HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  const tools = { builtin: ["time"], policy: { "*": "ask" } };
  [gateway, browser] = await Promise.all([startGateway({ config: { tools } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
}, LONG_MS);

/** What the demo model says to `/long N`. */
function counted(upto: number): string {
  return Array.from({ length: upto }, (_, index) => index + 1).join(" ");
}

describe.skipIf(!HAS_CHROMIUM)("talking", () => {
  test(
    "a first message makes a session, its answer is streamed, announced and listed; nothing is asked elsewhere",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "/long 300");
      await page.locator(".message.assistant.streaming").waitFor();
      expect(await answers(page, 1)).toEqual([counted(300)]);
      await page.locator("[data-said]", { hasText: "Answer finished. 1 2 3" }).waitFor({ state: "attached" });
      await page.getByRole("navigation", { name: "Sessions" }).getByText("/long 300").waitFor();
      expect(page.url()).toContain("#/session/");
      expect([...visitor.hosts]).toEqual([gateway.address]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "an answer that ended while one was elsewhere is not announced as if it had just been finished",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "/long 400");
      await page.locator(".message.assistant.streaming").waitFor();
      const { hash } = new URL(page.url());
      await page.getByRole("link", { name: "New session" }).click();
      await page.locator(".chat.new").waitFor();
      const session_id = decodeURIComponent(hash.split("/").at(-1) ?? "");
      for (;;) {
        const { runs } = await call(gateway, "run.list", { session_id });
        if (runs[0]?.status === "completed") break;
      }
      await page.goto(`${gateway.url}/${hash}`);
      expect(await answers(page, 1)).toEqual([counted(400)]);
      expect(await page.locator("[data-said]").textContent()).toBe("");
      await say(page, "/long 5");
      await page
        .locator("[data-said]", { hasText: "Answer finished. 1 2 3 4 5" })
        .waitFor({ state: "attached" });
    },
    LONG_MS,
  );

  test(
    "two tabs are in step, and a reload in mid-answer misses nothing",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "hello");
      await answers(page, 1);
      const other = await visitor.newTab();
      await other.goto(page.url());
      await answers(other, 1);
      await say(page, "/long 600");
      await other.locator(".message.assistant.streaming", { hasText: "30 31" }).waitFor();
      await page.reload();
      const both = await Promise.all([page, other].map((each) => answerWith(each, "599 600")));
      expect(both).toEqual([counted(600), counted(600)]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "an answer is stopped, and a message meanwhile waits for its turn",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "/long 9000");
      await page.locator(".message.assistant.streaming").waitFor();
      await say(page, "and this?");
      await page.getByText("1 waiting").waitFor();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.getByText("Stopped.").first().waitFor();
      await page.getByRole("button", { name: "Stop" }).waitFor({ state: "detached" });
    },
    LONG_MS,
  );

  test(
    "a message steers the answer that is written: it has no turn of its own",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "/time");
      await page.getByRole("button", { name: "Allow", exact: true }).waitFor();
      await page.getByRole("radiogroup", { name: "A message meanwhile" }).getByText("Steer").click();
      await say(page, "and in Tokyo?");
      await page.locator(".message.user:not(.pending)", { hasText: "and in Tokyo?" }).waitFor();
      await page.getByRole("button", { name: "Allow", exact: true }).click();
      // The next step of the same answer was told of it.
      await answerWith(page, "You said: “and in Tokyo?”");
      await page.locator(".busy").waitFor({ state: "detached" });
      const session_id = page.url().split("/").at(-1) ?? "";
      const { runs } = await call(gateway, "run.list", { session_id });
      expect(runs.map(({ status }: { status: string }) => status)).toEqual(["completed"]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "a tool asks, is allowed, and its result is shown",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "/time");
      await page.getByRole("button", { name: "Allow", exact: true }).click();
      await page.locator(".tool-call.done").waitFor();
      await page.getByText("time answered:").waitFor();
      expect(await page.getByRole("button", { name: "Allow", exact: true }).count()).toBe(0);
    },
    LONG_MS,
  );

  test(
    "a session is renamed, forked, found by its title, saved and deleted",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await say(page, "first words");
      await answers(page, 1);
      const choose = async (item: string): Promise<void> => {
        await page.getByRole("button", { name: "Session", exact: true }).click();
        await page.getByRole("menuitem", { name: item }).click();
      };
      await choose("Rename…");
      await page.getByLabel("Title", { exact: true }).fill("Walrus");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Walrus" }).waitFor();

      for (const [item, ending] of [
        ["Export as Markdown", "md"],
        ["Export as JSON", "json"],
      ] as const) {
        const saving = page.waitForEvent("download");
        await choose(item);
        const download = await saving;
        expect(download.suggestedFilename()).toBe(`Walrus.${ending}`);
        expect(await Bun.file((await download.path()) ?? "").text()).toContain("first words");
      }

      const original = page.url();
      await choose("Fork");
      await page.waitForFunction((url) => location.href !== url, original);
      await answers(page, 1);
      await page.getByLabel("Search titles and messages").fill("walrus");
      const found = page.getByRole("navigation", { name: "Sessions" }).getByRole("link");
      await page.waitForFunction(() => document.querySelectorAll("nav a").length === 2);
      expect(await found.count()).toBe(2);

      await choose("Delete…");
      await page.getByRole("button", { name: "Delete", exact: true }).click();
      await page.waitForFunction(() => document.querySelectorAll("nav a").length === 1);
      const { sessions } = await call(gateway, "session.list", { query: "walrus" });
      expect(sessions).toHaveLength(1);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});
