import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { answers, call, HAS_CHROMIUM, LONG_MS, say, startChromium, visit, visitIn } from "./visitor.ts";

const PICTURE = await Bun.file(`${import.meta.dir}/../../src/console/icon-192.png`).bytes();

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  const auth = { mode: "multi", modes: ["token", "device"] };
  const limits = { attachment_bytes: 100_000 };
  [gateway, browser] = await Promise.all([startGateway({ config: { auth, limits } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
});

/** A picture and a text, chosen as from a dialog. */
async function attach(page: Page): Promise<void> {
  await page.getByLabel("Files", { exact: true }).setInputFiles([
    { name: "dot.png", mimeType: "image/png", buffer: Buffer.from(PICTURE) },
    { name: "notes.md", mimeType: "text/markdown", buffer: Buffer.from("# Notes\n\nwalrus") },
  ]);
  await page.locator(".uploads .uploading").first().waitFor({ state: "detached" });
}

describe.skipIf(!HAS_CHROMIUM)("files", () => {
  test(
    "go along with a message, are shown again after a reload, and are saved",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await attach(page);
      await say(page, "look at these");
      await answers(page, 1);
      for (const again of [false, true]) {
        if (again) await page.reload();
        const picture = page.getByRole("img", { name: "dot.png" });
        await picture.waitFor();
        await page.waitForFunction(() => document.querySelector("img")?.naturalWidth === 192);
        expect(await picture.getAttribute("src")).toStartWith("blob:");
      }
      const saving = page.waitForEvent("download");
      await page.getByRole("button", { name: "notes.md" }).click();
      const download = await saving;
      expect(download.suggestedFilename()).toBe("notes.md");
      expect(await Bun.file((await download.path()) ?? "").text()).toContain("walrus");
      expect([...visitor.hosts]).toEqual([gateway.address]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "that are refused say why, and can be taken off",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      const buffer = Buffer.from("x".repeat(200_000));
      await page
        .getByLabel("Files", { exact: true })
        .setInputFiles({ name: "big.txt", mimeType: "text/plain", buffer });
      await page.locator(".uploads .failed").getByRole("alert").waitFor();
      await page.getByRole("button", { name: "Remove big.txt" }).click();
      await say(page, "without it");
      await answers(page, 1);
    },
    LONG_MS,
  );

  test(
    "that were not taken stay with the message until they are tried again or taken off",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      let refusing = true;
      await page.route("**/api/v1/attachments*", (route) => (refusing ? route.abort() : route.continue()));
      const buffer = Buffer.from("walrus");
      await page
        .getByLabel("Files", { exact: true })
        .setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer });
      await page.locator(".uploads .failed").waitFor();
      await say(page, "with the notes");
      await page.getByText("Not sent: a file was not taken.").waitFor();
      expect(await page.locator("#message").inputValue()).toBe("with the notes");
      refusing = false;
      await page.getByRole("button", { name: "Try notes.txt again" }).click();
      await page.locator(".uploads .ready").waitFor();
      await page.locator("#message").press("Enter");
      await answers(page, 1);
      await page.locator(".message.user").getByRole("button", { name: "notes.txt" }).waitFor();
    },
    LONG_MS,
  );

  test(
    "come from a device, too, which has nothing but its key",
    async () => {
      await using visitor = await visit(browser);
      const { page } = visitor;
      await visitor.open(gateway.url);
      await page.getByText("This browser", { exact: true }).click();
      await page.getByRole("button", { name: "Pair this browser" }).click();
      const shown = await page.locator(".pairing-code").innerText();
      const [code = ""] = /[A-Z0-9]{4}-[A-Z0-9]{4}/.exec(shown) ?? [];
      await call(gateway, "device.approve", { code, role: "user" });
      await page.getByLabel("Message", { exact: true }).waitFor();
      await attach(page);
      await say(page, "look");
      await page.waitForFunction(() => document.querySelector("img")?.naturalWidth === 192);
      expect(await page.evaluate(() => Object.values({ ...localStorage }).sort())).toEqual([
        "device",
        "owner",
      ]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});
