import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { call, HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  const tools = { builtin: ["time"] };
  [gateway, browser] = await Promise.all([startGateway({ config: { tools } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
});

async function openTab(page: Page, name: string): Promise<void> {
  await page.getByRole("navigation", { name: "Gateway" }).getByRole("link", { name, exact: true }).click();
}

describe.skipIf(!HAS_CHROMIUM)("what an operator sees", () => {
  test(
    "charts that move with what happens, and what models were used for",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      const watching = await visitor.newTab();
      await watching.goto(`${gateway.url}/#/gateway/overview`);
      await watching.locator(".chart canvas").first().waitFor();
      await say(page, "/long 1200");
      await watching.waitForFunction(() => {
        const told = [...document.querySelectorAll(".chart")].map((chart) => chart.textContent ?? "");
        const value = (title: string): number =>
          Number(/([\d.,]+)\D*$/.exec(told.find((text) => text.startsWith(title)) ?? "")?.[1] ?? 0);
        const connections = value("Connections");
        return connections >= 2 && value("Tokens") + value("Events") > 0;
      });
      await watching.getByText("healthy").waitFor();
      await watching.getByRole("region", { name: "Providers" }).getByText("demo").waitFor();
      await page.locator(".message.assistant.complete").waitFor();
      await openTab(watching, "Usage");
      await watching.getByRole("region", { name: "Usage by model" }).getByText("demo/demo").waitFor();
      await openTab(watching, "Tools");
      await watching.getByRole("region", { name: "Tools" }).getByText("time", { exact: true }).waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "the log as it is written, of the levels that are asked for",
    async () => {
      await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/gateway/log` });
      const { page } = visitor;
      const log = page.getByRole("region", { name: "Log" });
      await log.getByText("listening").waitFor();
      await call(gateway, "chat.send", { session_id: "x", message: "y".repeat(200_000) });
      await log.getByText("a limit was reached").waitFor();
      await page.getByLabel("At least").selectOption("warn");
      await log.getByText("listening").waitFor({ state: "detached" });
      await log.getByText("message_bytes").waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "tokens: made, shown once, revoked; and the trail of it",
    async () => {
      await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/gateway/tokens` });
      const { page } = visitor;
      await page.getByRole("button", { name: "New token" }).click();
      await page.getByLabel("Name").fill("phone");
      await page.getByLabel("User", { exact: true }).fill("ada");
      await page.getByRole("button", { name: "Make it" }).click();
      const secret = await page.locator(".secret code").innerText();
      expect((await call({ url: gateway.url, token: secret }, "session.list", {})).sessions).toEqual([]);
      await page.getByRole("button", { name: "Done" }).click();
      expect(await page.content()).not.toContain(secret);
      const row = page.getByRole("row", { name: /phone/ });
      await row.getByRole("button", { name: "Revoke…" }).click();
      await page.getByRole("button", { name: "Revoke", exact: true }).click();
      await row.waitFor({ state: "detached" });
      expect((await call({ url: gateway.url, token: secret }, "session.list", {})).error.code).toBe(
        "UNAUTHORIZED",
      );
      await openTab(page, "Audit");
      await page.getByRole("searchbox", { name: "Action" }).fill("token.revoke");
      await page.getByRole("region", { name: "Audit" }).getByText("token.revoke").waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "connections, and ends those of others",
    async () => {
      await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/gateway/connections` });
      await using other = await visitIn(browser, gateway);
      const { page } = visitor;
      await other.page.getByLabel("Message", { exact: true }).waitFor();
      await page
        .getByRole("row")
        .filter({ hasNotText: "this page" })
        .getByRole("button", { name: "Close…" })
        .first()
        .click();
      await page.getByRole("button", { name: "Close it" }).click();
      await other.page.getByRole("heading", { name: "Sign in to agentbus" }).waitFor();
    },
    LONG_MS,
  );

  test(
    "no more than their scopes allow",
    async () => {
      const { token } = await call(gateway, "token.create", { name: "v", user: "vera", role: "viewer" });
      await using visitor = await visitIn(browser, { url: gateway.url, token });
      const { page } = visitor;
      await page.getByRole("link", { name: "Gateway" }).click();
      const tabs = page.getByRole("navigation", { name: "Gateway" }).getByRole("link");
      await tabs.first().waitFor();
      expect(await tabs.allInnerTexts()).toEqual(["Tools", "Skills", "Usage"]);
      await page.getByRole("link", { name: "agentbus" }).click();
      await page.getByText("You may read here, not write.").waitFor();
      expect(await page.getByLabel("Message", { exact: true }).count()).toBe(0);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});

test.skipIf(!HAS_CHROMIUM)("the page can be installed: what its manifest names is there", async () => {
  await using visitor = await visitIn(browser, gateway);
  const link = await visitor.page.locator("link[rel=manifest]").getAttribute("href");
  const at = new URL(link ?? "", gateway.url);
  const manifest = (await (await fetch(at)).json()) as {
    start_url: string;
    icons: { src: string; type: string }[];
  };
  expect(manifest.start_url).toBe("/");
  for (const { src, type } of manifest.icons) {
    const answer = await fetch(new URL(src, at));
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, type]);
  }
});
