import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { chromium } from "playwright-core";
import { needs } from "../support/needs.ts";
import type { RunningGateway } from "../support/gateway-process.ts";

/** Whether the browser that these tests look through is here; with CI=true it has to be. */
export const HAS_CHROMIUM = needs("chromium", "chromium");
/** Longest test in this folder: a browser on a machine that has much else to do. */
export const LONG_MS = 60_000;
const PATIENCE_MS = 20_000;

export async function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: Bun.which("chromium") ?? "chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}

/** Somebody before the console, in a browser profile of their own. */
export interface Visitor extends AsyncDisposable {
  readonly page: Page;
  /** What the browser complained of: errors of scripts, and everything its policy forbade. */
  readonly complaints: string[];
  /** Hosts that were asked for anything. */
  readonly hosts: ReadonlySet<string>;
  /** Another tab of the same browser. */
  newTab(): Promise<Page>;
  open(url: string): Promise<void>;
}

export async function visit(browser: Browser, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext({
    viewport: { width: 1_200, height: 800 },
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const complaints: string[] = [];
  const hosts = new Set<string>();
  context.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  context.on("weberror", (error) => complaints.push(String(error.error())));
  context.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "blob:" && protocol !== "data:") hosts.add(host);
  });
  const page = await context.newPage();
  return {
    page,
    complaints,
    hosts,
    newTab: () => context.newPage(),
    open: async (url) => void (await page.goto(url)),
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** Signed in already, as a browser is that was here before. */
export async function visitIn(
  browser: Browser,
  gateway: Pick<RunningGateway, "url" | "token">,
  options: BrowserContextOptions & { readonly at?: string } = {},
): Promise<Visitor> {
  const { at = gateway.url, ...more } = options;
  const answer = await fetch(`${gateway.url}/api/v1/auth_sessions`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: "{}",
  });
  const { session_token } = (await answer.json()) as { session_token: string };
  const localStorage = [{ name: "agentbus.login", value: session_token }];
  const storageState = { cookies: [], origins: [{ origin: new URL(at).origin, localStorage }] };
  const visitor = await visit(browser, { ...more, storageState });
  await visitor.open(at);
  return visitor;
}

/** Writes into the field that has the keyboard and sends it. */
export async function say(page: Page, text: string): Promise<void> {
  await page.locator("#message").fill(text);
  await page.keyboard.press("Enter");
}

/** The finished answer that has this text in it: only what can be seen is in the page. */
export async function answerWith(page: Page, text: string): Promise<string> {
  const answer = page.locator(".message.assistant:not(.streaming)", { hasText: text }).last();
  return answer.locator(".markdown").innerText();
}

/** The texts of the answers, once there are so many and all are finished. */
export async function answers(page: Page, count: number): Promise<string[]> {
  const finished = page.locator(".message.assistant:not(.streaming)");
  await finished.nth(count - 1).waitFor();
  return finished.locator(".markdown").allInnerTexts();
}

export async function call(
  gateway: Pick<RunningGateway, "url" | "token">,
  method: string,
  params: object,
  // oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
): Promise<any> {
  const answer = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}`, "content-type": "application/json" },
    body: JSON.stringify(params),
  });
  return answer.json();
}
