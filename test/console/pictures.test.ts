import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

/** The pictures of the README. With AGENTBUS_SCREENSHOTS=write they are made anew. */

const ROOT = resolve(import.meta.dir, "../..");
const WRITES = Bun.env["AGENTBUS_SCREENSHOTS"] === "write";
const FOLDER = "docs/screenshots";

const ANSWER = `A **token bucket** does it: each user has one, it fills at the rate you allow, and every call takes a token.

\`\`\`ts
/** At most \`rate\` calls a second, and \`burst\` at once. */
export class Bucket {
  #tokens: number;
  #at = performance.now();

  constructor(readonly rate: number, readonly burst = rate) {
    this.#tokens = burst;
  }

  take(): boolean {
    const now = performance.now();
    const earned = ((now - this.#at) / 1_000) * this.rate;
    this.#tokens = Math.min(this.burst, this.#tokens + earned);
    this.#at = now;
    return this.#tokens >= 1 && this.#tokens-- > 0;
  }
}
\`\`\`

| | memory | bursts | exact |
| --- | ---: | :---: | :---: |
| Token bucket | O(1) | yes | nearly |
| Fixed window | O(1) | at its edges | no |
| Sliding log | O(n) | no | yes |`;

let gateway: RunningGateway;
let browser: Browser;
let model: ModelServer;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  model = await startModelServer();
  model.otherwise(({ body }) => {
    const { role, content } = body.messages.at(-1);
    if (role !== "user") return script().text("It is a quarter past nine.");
    if (String(content).includes("time")) return script().tool("time", { time_zone: "Europe/Berlin" });
    return script().text(String(content).includes("rate") ? ANSWER : "Done.");
  });
  const config = {
    llm: {
      default_provider: "local",
      default_model: "qwen3",
      providers: { local: { base_url: model.url(), api_key: "k" } },
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
});

async function picture(page: Page, name: string): Promise<void> {
  // What blinks or is pointed at would be another picture every time.
  const bytes = await page.screenshot({ animations: "disabled", caret: "hide", scale: "css" });
  expect(bytes.length).toBeGreaterThan(10_000);
  if (WRITES) await Bun.write(join(ROOT, FOLDER, name), bytes);
  expect([name, await Bun.file(join(ROOT, FOLDER, name)).exists()]).toEqual([name, true]);
}

const WIDE: BrowserContextOptions = { viewport: { width: 1_100, height: 720 }, locale: "en-GB" };

describe.skipIf(!HAS_CHROMIUM)("pictures", () => {
  test(
    "of a talk, of a tool that asks, and of the gateway",
    async () => {
      await using light = await visitIn(browser, gateway, WIDE);
      for (const title of ["Summary of the meeting", "Names for a ferry", "What changed in TLS 1.3?"]) {
        await light.page.getByRole("link", { name: "New session" }).click();
        await say(light.page, title);
        await light.page.getByRole("heading", { name: title }).waitFor();
        await light.page.locator(".message.assistant.complete").waitFor();
      }
      await light.page.getByRole("link", { name: "New session" }).click();
      await say(light.page, "How do I limit the rate of calls of each user?");
      await light.page.locator(".message.assistant.complete .hljs-keyword").first().waitFor();
      await light.page.getByRole("log").evaluate((place) => {
        place.dispatchEvent(new WheelEvent("wheel", { deltaY: -1 }));
        place.scrollTop = 0;
      });
      await light.page.locator(".message.user .bubble").waitFor();
      await light.page.locator(".pulse").first().waitFor({ state: "detached" });
      await light.page.mouse.move(600, 300);
      await picture(light.page, "talk.png");

      await using dark = await visitIn(browser, gateway, {
        viewport: { width: 390, height: 720 },
        colorScheme: "dark",
        hasTouch: true,
        isMobile: true,
        locale: "en-GB",
      });
      await say(dark.page, "What time is it in Berlin?");
      await dark.page.getByRole("button", { name: "Allow", exact: true }).waitFor();
      await picture(dark.page, "phone.png");
      await dark.page.getByRole("button", { name: "Allow", exact: true }).click();
      await dark.page.getByText("It is a quarter past nine.", { exact: true }).waitFor();

      await light.page.goto(`${gateway.url}/#/gateway/overview`);
      await light.page.locator(".chart canvas").first().waitFor();
      for (const tokens of [240, 60]) {
        model.reply().tokens(tokens, { everyMs: 50 });
        await say(dark.page, "go on");
      }
      await light.page.waitForFunction(() => /active (?:[1-9])/.test(document.body.textContent ?? ""));
      await light.page.locator('.chart[data-samples="6"]').first().waitFor();
      await picture(light.page, "gateway.png");
      expect([...light.complaints, ...dark.complaints]).toEqual([]);
    },
    LONG_MS,
  );

  test("that the README shows are there", async () => {
    const readme = await Bun.file(join(ROOT, "README.md")).text();
    const shown = [...readme.matchAll(/\]\((docs\/screenshots\/[^)]+)\)/g)].map(([, path = ""]) => path);
    expect(shown.length).toBeGreaterThan(0);
    for (const path of shown) expect([path, await Bun.file(join(ROOT, path)).exists()]).toEqual([path, true]);
  });
});
