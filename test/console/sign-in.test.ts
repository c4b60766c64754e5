import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { answers, call, HAS_CHROMIUM, LONG_MS, say, startChromium, visit, visitIn } from "./visitor.ts";

const PASSWORD = "correct horse battery";

let gateway: RunningGateway;
let browser: Browser;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  const auth = { mode: "multi", modes: ["token", "password", "device"], password: PASSWORD };
  [gateway, browser] = await Promise.all([startGateway({ config: { auth } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
});

describe.skipIf(!HAS_CHROMIUM)("signing in", () => {
  test(
    "with a token: what is kept is a login of the gateway's, and signing out ends it",
    async () => {
      await using visitor = await visit(browser);
      const { page } = visitor;
      await visitor.open(gateway.url);
      await page.getByLabel("Access token").fill(gateway.token);
      await page.keyboard.press("Enter");
      await page.getByLabel("Message", { exact: true }).waitFor();
      const kept = await page.evaluate(() => ({ ...localStorage, ...sessionStorage }));
      expect(JSON.stringify(kept)).not.toContain(gateway.token);
      expect(page.url()).not.toContain("agb_");

      await page.reload();
      await page.getByLabel("Message", { exact: true }).waitFor();
      await page.getByRole("button", { name: "owner" }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await page.getByLabel("Access token").waitFor();
      const after = await call(gateway, "auth_session.validate", {
        session_token: kept["agentbus.login"],
      });
      expect(after.valid).toBe(false);
      expect(await page.evaluate(() => localStorage.length)).toBe(0);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "as somebody else in another tab: this one says so, sends nothing as them, and goes on as them when told",
    async () => {
      const { token } = await call(gateway, "token.create", { user: "ada", role: "user", name: "of ada" });
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      await page.getByLabel("Message", { exact: true }).waitFor();
      const other = await visitor.newTab();
      await other.goto(gateway.url);
      await other.getByRole("button", { name: "owner" }).click();
      await other.getByRole("menuitem", { name: "Sign out" }).click();
      await page.getByLabel("Access token").waitFor();
      await other.getByLabel("Access token").fill(token);
      await other.keyboard.press("Enter");
      await other.getByRole("button", { name: "ada" }).waitFor();
      await page.getByRole("alert").getByText("nothing is sent from here").waitFor();
      expect(await page.locator("#message").count()).toBe(0);
      await page.getByRole("button", { name: "Go on as ada" }).click();
      await page.getByRole("button", { name: "ada", exact: true }).waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "with a wrong token says so, and with the password comes in",
    async () => {
      await using visitor = await visit(browser);
      const { page } = visitor;
      await visitor.open(gateway.url);
      await page.getByLabel("Access token").fill("agb_wrong");
      await page.keyboard.press("Enter");
      await page.getByText("token is wrong").waitFor();
      await page.getByText("Password", { exact: true }).click();
      await page.getByLabel("Password").last().fill(PASSWORD);
      await page.keyboard.press("Enter");
      await page.getByLabel("Message", { exact: true }).waitFor();
    },
    LONG_MS,
  );

  test(
    "as a device: a code that another console approves, then the key alone, which cannot be taken out",
    async () => {
      await using visitor = await visit(browser);
      const { page } = visitor;
      await visitor.open(gateway.url);
      await page.getByText("This browser", { exact: true }).click();
      await page.getByRole("button", { name: "Pair this browser" }).click();
      const shown = await page.locator(".pairing-code").innerText();
      const [code = ""] = /[A-Z0-9]{4}-[A-Z0-9]{4}/.exec(shown) ?? [];
      await using operator = await visitIn(browser, gateway, { at: `${gateway.url}/#pair=${code}` });
      const request = operator.page.getByRole("region", { name: `Request ${code}` });
      await request.getByLabel("Name").fill("tablet");
      await request.getByRole("button", { name: "Approve" }).click();
      await page.getByLabel("Message", { exact: true }).waitFor();
      await page.reload();
      await page.getByLabel("Message", { exact: true }).waitFor();
      const extractable = await page.evaluate(
        () =>
          new Promise((resolve) => {
            const opening = indexedDB.open("agentbus", 1);
            opening.addEventListener("success", () => {
              const asked = opening.result.transaction("keys").objectStore("keys").get("device");
              asked.addEventListener("success", () => resolve(asked.result.privateKey.extractable));
            });
          }),
      );
      expect(extractable).toBe(false);

      const { devices } = await call(gateway, "device.list", {});
      const { device_id } = devices.find((each: { name: string }) => each.name === "tablet");
      await call(gateway, "device.revoke", { device_id });
      await page.getByRole("heading", { name: "Sign in to agentbus" }).waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "in one tab and out in the other ends both",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      const other = await visitor.newTab();
      await other.goto(gateway.url);
      await other.getByLabel("Message", { exact: true }).waitFor();
      await page.getByRole("button", { name: "owner" }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await other.getByLabel("Access token").waitFor();
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});

describe.skipIf(!HAS_CHROMIUM)("where no credential is asked for", () => {
  test(
    "one is in at once, and has nothing to sign out of",
    async () => {
      await using open = await startGateway({ config: { auth: { mode: "none" } } });
      await using visitor = await visit(browser);
      const { page } = visitor;
      await visitor.open(open.url);
      await say(page, "hello");
      await answers(page, 1);
      await page.getByRole("button", { name: "owner" }).click();
      await page.getByRole("menuitem", { name: "API documentation" }).waitFor();
      expect(await page.getByRole("menuitem", { name: "Sign out" }).count()).toBe(0);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );
});

describe.skipIf(!HAS_CHROMIUM)("where there are no sockets", () => {
  test(
    "the page talks all the same",
    async () => {
      await using plain = await startGateway({ config: { gateway: { enabled: false } } });
      await using visitor = await visitIn(browser, plain);
      const { page } = visitor;
      await say(page, "/long 100");
      expect(await answers(page, 1)).toEqual([Array.from({ length: 100 }, (_, at) => at + 1).join(" ")]);
      await page.reload();
      await answers(page, 1);
      expect([...visitor.hosts]).toEqual([plain.address]);
    },
    LONG_MS,
  );
});
