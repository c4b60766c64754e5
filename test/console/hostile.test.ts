import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { call, HAS_CHROMIUM, LONG_MS, say, startChromium, visitIn } from "./visitor.ts";

/** Whatever a model writes is text: nothing of it runs, and nobody else learns that it is read. */

const EVIL = "https://evil.example.com";
const HOSTILE = `
<script>window.pwned = 1</script>

<img src=x onerror="window.pwned = 2"> <img src="${EVIL}/pixel.png">

![](${EVIL}/picture.png) ![x](data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=) ![x][ref]

[a](javascript:window.pwned=3) [b](JaVaScRiPt:window.pwned=4) [c](data:text/html,<script>pwned=5</script>)

[d](vbscript:x) [e](//evil.example.com) [f](/api/v1/sessions) [g](${EVIL}/ok "title") <javascript:window.pwned=6>

[h](java&#x73;cript:window.pwned=7) [i](https://user:secret@evil.example.com/)

<iframe src="${EVIL}"></iframe><object data="${EVIL}"></object><link rel=stylesheet href="${EVIL}/x.css">

<style>body { background: url(${EVIL}/style.png) }</style><base href="${EVIL}"><meta http-equiv=refresh content="0;url=${EVIL}">

<svg onload="window.pwned=8"><a xlink:href="javascript:window.pwned=9"><text>x</text></a></svg>

<form action="${EVIL}"><input autofocus onfocus="window.pwned=10"></form><math><mi xlink:href="${EVIL}">x</mi></math>

<details open ontoggle="window.pwned=11">x</details><video src="${EVIL}/v" onerror="window.pwned=12"></video>

[ref]: ${EVIL}/reference.png

| <img src=x onerror=pwned=13> | [x](javascript:pwned=14) |
| --- | --- |
| <script>pwned=15</script> | \`<img src=x onerror=pwned=16>\` |

\`\`\`html" onload="window.pwned=17
<script>window.pwned = 18</script>
\`\`\`

> - <b onclick="window.pwned=19">quoted</b>

# <img src=x onerror="window.pwned=20">

the end`;

/** Written to make a reader stall or fall over. */
const HEAVY = [
  ">".repeat(20_000),
  `${"- ".repeat(3_000)}x`,
  "[".repeat(20_000),
  `${"*a ".repeat(10_000)}`,
  "![".repeat(10_000),
  `${"`".repeat(9_999)} ${"`".repeat(9_998)}`,
  `${"a".repeat(100_000)}`,
  `|${"a|".repeat(2_000)}\n|${"-|".repeat(2_000)}`,
  `${"<a ".repeat(10_000)}`,
  "\u202E\u0000\uFEFF\u2028 rtl and nothing",
];

let gateway: RunningGateway;
let browser: Browser;
let model: ModelServer;
beforeAll(async () => {
  if (!HAS_CHROMIUM) return;
  model = await startModelServer();
  const llm = {
    default_provider: "fake",
    default_model: "m",
    providers: { fake: { base_url: model.url(), api_key: "k" } },
  };
  [gateway, browser] = await Promise.all([startGateway({ config: { llm } }), startChromium()]);
}, LONG_MS);
afterAll(async () => {
  if (!HAS_CHROMIUM) return;
  await browser.close();
  await gateway[Symbol.asyncDispose]();
  model.stop();
});

/** What is in an answer that does not belong there. */
function foreign(page: Page): Promise<{ elements: string[]; links: (string | null)[]; handlers: string[] }> {
  return page.evaluate(() => {
    const inside = [...document.querySelectorAll(".message *, .chat-header *, .sidebar nav *")];
    const allowed =
      /^(DIV|P|SPAN|A|STRONG|EM|DEL|CODE|PRE|UL|OL|LI|H[1-6]|BLOCKQUOTE|TABLE|THEAD|TBODY|TR|TH|TD|BR|HR|FIGURE|FIGCAPTION|BUTTON|TIME|svg|path|SECTION|INPUT|DETAILS|SUMMARY)$/;
    return {
      elements: inside.map(({ tagName }) => tagName).filter((name) => !allowed.test(name)),
      links: inside.filter(({ tagName }) => tagName === "A").map((each) => each.getAttribute("href")),
      handlers: inside.flatMap((each) =>
        each.getAttributeNames().filter((name) => name.startsWith("on") || name === "style"),
      ),
    };
  });
}

describe.skipIf(!HAS_CHROMIUM)("what a model writes", () => {
  test(
    "is text, in pieces and as a whole: nothing runs, nothing is loaded, links lead where they say or nowhere",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      let dialogs = 0;
      page.on("dialog", (dialog) => {
        dialogs++;
        void dialog.dismiss();
      });
      model.reply().text(HOSTILE, { chunks: 200, everyMs: 2 });
      await say(page, `<img src=x onerror="window.pwned=30"> **hi** ${EVIL}/typed.png`);
      await page.locator(".message", { hasText: "the end" }).waitFor();
      await page.locator(".message.assistant.complete").waitFor();
      const { elements, links, handlers } = await foreign(page);
      expect([elements, handlers]).toEqual([[], []]);
      const elsewhere = links.filter((link) => link !== null && !link.startsWith("#/"));
      expect(elsewhere).toEqual(["picture.png", "reference.png", "ok"].map((path) => `${EVIL}/${path}`));
      expect(await page.evaluate(() => "pwned" in window)).toBe(false);
      expect(await page.locator(".message img").count()).toBe(0);

      // The same again from the history, and as the session's own title.
      await page.reload();
      await page.locator(".message", { hasText: "the end" }).waitFor();
      expect(await page.evaluate(() => "pwned" in window)).toBe(false);
      expect(dialogs).toBe(0);
      expect([...visitor.hosts]).toEqual([gateway.address]);
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "does not stall the page, however it is nested or repeated",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      for (const [at, text] of HEAVY.entries()) {
        model.reply().text(`${text}\n\nend of ${at}`, { chunks: 20 });
        await say(page, `try ${at}`);
        await page
          .locator(".message", { hasText: `end of ${at}` })
          .last()
          .waitFor();
      }
      await page.getByLabel("Message", { exact: true }).fill("still here");
      expect(await page.getByLabel("Message", { exact: true }).inputValue()).toBe("still here");
      expect(visitor.complaints).toEqual([]);
    },
    LONG_MS,
  );

  test(
    "calls tools by any name with any arguments, and they are shown as text",
    async () => {
      await using visitor = await visitIn(browser, gateway);
      const { page } = visitor;
      model.reply().tool("<img src=x onerror=pwned=1>", { x: `<script>pwned=2</script>${EVIL}` });
      model.reply().text("done");
      await say(page, "go");
      await page.getByText("done", { exact: true }).last().waitFor();
      expect((await foreign(page)).elements).toEqual([]);
      expect(await page.evaluate(() => "pwned" in window)).toBe(false);
      expect([...visitor.hosts]).toEqual([gateway.address]);
    },
    LONG_MS,
  );
});

test.skipIf(!HAS_CHROMIUM)(
  "titles and names that others chose are text, too",
  async () => {
    await call(gateway, "session.create", { session_id: "t", title: `<img src=x onerror="pwned=1">` });
    await using visitor = await visitIn(browser, gateway, { at: `${gateway.url}/#/session/t` });
    const { page } = visitor;
    await page.getByRole("heading", { name: "<img src=x" }).waitFor();
    expect((await foreign(page)).elements).toEqual([]);
    expect(await page.evaluate(() => "pwned" in window)).toBe(false);
    expect(visitor.complaints).toEqual([]);
  },
  LONG_MS,
);
