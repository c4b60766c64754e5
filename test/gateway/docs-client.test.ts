import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ClientFile } from "../../scripts/pack-client.ts";
import { buildClient } from "../../scripts/pack-client.ts";
import { startBrowser } from "../support/browser.ts";
import type { Runtime } from "../support/client-runtimes.ts";
import { commandOf } from "../support/client-runtimes.ts";
import { workplace } from "../support/executable.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import type { Block } from "./docs.blocks.ts";
import { blocksOf, ROOT } from "./docs.blocks.ts";

const HAS_CHROMIUM = needs("chromium", "chromium");
const HAS_NODE = needs("npx", "npm");
const LONG_MS = 120_000;
const URL_SHOWN = "http://127.0.0.1:18789";

const BLOCKS = [
  ...blocksOf("docs/client.md"),
  // The others there are about other things.
  ...blocksOf("README.md").filter(
    ({ text, words: [language] }) => language === "html" || text.includes('"agentbus/client"'),
  ),
];
const MODULES = BLOCKS.filter(({ words: [language = ""] }) => ["ts", "tsx", "js"].includes(language));
const PAGES = BLOCKS.filter(({ words: [language] }) => language === "html");

/** What the examples that do not connect by themselves go on from. */
const BEFORE = `import { createClient } from "agentbus/client";
const client = createClient({ url: "${URL_SHOWN}", auth_token: process.env["AGENTBUS_TOKEN"] });
await client.connect();
const session = client.session("documents");
await session.send("/long 2");
`;
const AFTER = "\nclient.disconnect();\n";

const place = workplace();
let gateway: RunningGateway;
let files: readonly ClientFile[] = [];
const pages = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request) {
    const { pathname } = new URL(request.url);
    const script = files.find(({ name }) => pathname === `/${name}`);
    const shown = (PAGES[0]?.text ?? "").replaceAll(URL_SHOWN, gateway.url);
    const page =
      pathname === "/blocked" ? shown.replace("auth_token }", 'auth_token, transport: "sse" }') : shown;
    const type = script === undefined ? "text/html" : "text/javascript";
    return new Response(script?.text ?? page, { headers: { "content-type": type } });
  },
});
const ORIGIN = `http://127.0.0.1:${pages.port}`;

beforeAll(async () => {
  gateway = await startGateway({ config: { server: { allowed_origins: [ORIGIN] } } });
  files = await buildClient(ROOT);
  // As npm installs it.
  mkdirSync(join(place.path, "node_modules"), { recursive: true });
  const manifest = {
    name: "agentbus",
    version: "0.0.0",
    type: "module",
    exports: { "./client": "./client.js" },
  };
  place.file("node_modules/agentbus/package.json", JSON.stringify(manifest));
  for (const { name, text } of files) place.file(`node_modules/agentbus/${name}`, text);
  place.file("package.json", JSON.stringify({ type: "module" }));
}, LONG_MS);
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await pages.stop(true);
  place[Symbol.dispose]();
});

/** The program of a block, in whole. */
function programOf({ text, words: [language] }: Block): string {
  const alone = text.includes("createClient(") || language === "tsx";
  return (alone ? text : BEFORE + text + AFTER).replaceAll(URL_SHOWN, gateway.url);
}

async function run(command: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn([...command], {
    cwd: place.path,
    env: { PATH: Bun.env["PATH"] ?? "", HOME: Bun.env["HOME"] ?? "", AGENTBUS_TOKEN: gateway.token },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

test(
  "every example of the client compiles",
  async () => {
    const files = MODULES.filter(({ words: [language] }) => language !== "js").map((block, index) =>
      place.file(`shown-${index}.${block.words[0]}`, `${programOf(block)}\nexport {};\n`),
    );
    expect(files.length).toBeGreaterThan(8);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: "ESNext",
      module: "Preserve",
      lib: ["ESNext", "DOM", "DOM.Iterable"],
      jsx: "react-jsx",
      allowImportingTsExtensions: true,
      skipLibCheck: true,
      typeRoots: [join(ROOT, "node_modules"), join(ROOT, "node_modules/@types")],
      types: ["bun-types"],
      paths: {
        "agentbus/client": [join(ROOT, "src/package/client.ts")],
        react: [join(ROOT, "node_modules/@types/react")],
        "react/jsx-runtime": [join(ROOT, "node_modules/@types/react/jsx-runtime.d.ts")],
      },
    };
    const project = place.file("compiled.json", JSON.stringify({ compilerOptions, files }));
    const { code, out } = await run([join(ROOT, "node_modules/.bin/tsc"), "--project", project]);
    expect({ code, out }).toEqual({ code: 0, out: "" });
  },
  LONG_MS,
);

for (const [index, block] of MODULES.entries()) {
  if (block.words[2] !== "run") continue;
  const runtimes: readonly Runtime[] = block.words[0] === "js" ? ["bun", "node 20", "node 22"] : ["bun"];
  for (const runtime of runtimes) {
    test.skipIf(runtime !== "bun" && !HAS_NODE)(
      `${block.at}: runs in ${runtime}`,
      async () => {
        const file = place.file(`run-${index}.${block.words[0] === "js" ? "mjs" : "ts"}`, programOf(block));
        const { code, out, err } = await run([...(await commandOf(runtime)), file]);
        expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
        if (block.text.includes("process.stdout")) expect(out.length).toBeGreaterThan(20);
      },
      LONG_MS,
    );
  }
}

test.skipIf(!HAS_CHROMIUM).each([
  ["over a socket", "/"],
  ["over HTTP, which it loads then", "/blocked"],
])(
  "the page talks %s",
  async (_, path) => {
    expect(PAGES.map(({ words }) => words)).toEqual([["html", "test"]]);
    await using browser = await startBrowser();
    const page = await browser.newPage();
    await page.open(ORIGIN + path);
    const say = (message: string): string =>
      `((form) => (form.token.value = ${JSON.stringify(gateway.token)}, form.message.value = ${JSON.stringify(message)}, form.requestSubmit(), true))(document.forms[0])`;
    await page.until("document.forms[0]?.onsubmit != null");
    await page.until(say("/long 12"));
    const counted = Array.from({ length: 12 }, (_, i) => i + 1).join(" ");
    await page.until(
      `document.querySelector("pre").textContent.includes(${JSON.stringify(`assistant: ${counted}`)})`,
    );
    expect(page.complaints.filter((each) => !each.includes("favicon"))).toEqual([]);
  },
  LONG_MS,
);
