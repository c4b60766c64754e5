import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { AGENTBUS, plainEnvironment } from "../support/executable.ts";
import { startCutProxy } from "../support/cut-proxy.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import { needs } from "../support/needs.ts";
import type { ReceivedFrame } from "../support/ws-client.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Block } from "./docs.blocks.ts";
import { blocksOf, ROOT, showsAs } from "./docs.blocks.ts";

const TIMEOUT_MS = 60_000;
const hasCurl = needs("curl", "curl");
const SHOWN = [
  "README.md",
  "SECURITY.md",
  "docs/deploy.md",
  "docs/automation.md",
  "docs/observability.md",
].flatMap(blocksOf);

let home: string;
let guarded: RunningGateway;
let open: RunningGateway;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentbus-docs-"));
  const words = AGENTBUS.map((word) => `'${word}'`).join(" ");
  mkdirSync(join(home, "bin"));
  writeFileSync(join(home, "bin/agentbus"), `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(join(home, "bin/agentbus"), 0o755);
  // Where a gateway of this user keeps its data, so that the commands find it as they do on anybody's machine.
  guarded = await startGateway({ data_dir: join(home, ".local/share/agentbus") });
  open = await startGateway({ env: { AGENTBUS_AUTH_MODE: "none" } });
}, TIMEOUT_MS);
afterAll(async () => {
  await guarded[Symbol.asyncDispose]();
  await open[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

async function shell(script: string, gateway: RunningGateway, env: Record<string, string> = {}) {
  const child = Bun.spawn(
    ["bash", "-euo", "pipefail", "-c", script.replaceAll("http://127.0.0.1:18789", gateway.url)],
    {
      cwd: home,
      env: plainEnvironment({
        HOME: home,
        XDG_DATA_HOME: "",
        PATH: `${join(home, "bin")}:${process.env["PATH"]}`,
        NO_COLOR: "1",
        ...env,
      }),
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

for (const [index, block] of SHOWN.entries()) {
  const [language, mark, where] = block.words;
  if (language === "sh" && mark === "test") {
    test.skipIf(!hasCurl)(
      `${block.at}: the commands work`,
      async () => {
        const { out, err, code } = await shell(block.text, where === "none" ? open : guarded);
        // What is said beside the output is of interest only when it fails.
        expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
        const next = SHOWN[index + 1];
        if (next?.words[1] === "output")
          expect({ out, shown: showsAs(next.text, out) }).toEqual({ out, shown: true });
      },
      TIMEOUT_MS,
    );
  }
  if (language === "toml") {
    test(
      `${block.at}: the configuration is one`,
      async () => {
        writeFileSync(join(home, "shown.toml"), block.text);
        const keys = { OPENAI_API_KEY: "key-1", OPENROUTER_API_KEY: "key-2" };
        const { err, code } = await shell("agentbus config check --config shown.toml", guarded, keys);
        expect({ code, err: code === 0 ? "" : err }).toEqual({ code: 0, err: "" });
      },
      TIMEOUT_MS,
    );
  }
  if (mark === "frames") test(`${block.at}: the frames are these`, () => talk(block), TIMEOUT_MS);
}

/** Sends what the block sends, and reads until the frames it shows have come, in its order. */
async function talk(block: Block): Promise<void> {
  await using socket = await openSocket(guarded.ws_url);
  const lines = block.text.split("\n").filter((line) => line !== "…");
  for (const line of lines) {
    const frame = line.slice(2);
    if (line.startsWith("→")) socket.send(frame.replace("TOKEN", guarded.token));
    else await socket.next(({ raw }: ReceivedFrame) => showsAs(frame, raw), 10_000);
  }
}

test("nothing that can be run is left out", () => {
  const runnable = SHOWN.filter(({ words: [language = ""] }) => !["text", "yaml"].includes(language));
  const unmarked = runnable.filter(({ words: [, mark] }) => mark !== "test");
  // Those two begin with a clean clone: they run what this test is a part of.
  expect(unmarked.map(({ text }) => text)).toEqual(["npx -y bun@1.4.5 start", "npx -y bun@1.4.5 run test"]);
  expect(manifest.devDependencies.bun).toBe("1.4.5");
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(["start", "test"]));
});

test.skipIf(!hasCurl)(
  "examples/curl/resume.sh prints every event once, through lost connections",
  async () => {
    const cut = { kind: "reset", side: "down", after_bytes: 5_000 } as const;
    await using proxy = startCutProxy({
      target: () => gateway.address,
      plan: (n) => (n > 0 && n < 3 ? cut : null),
    });
    await using gateway = await startGateway({
      config: { server: { public_url: `http://${proxy.address}` } },
    });
    const env = { AGENTBUS_URL: `http://${proxy.address}`, AGENTBUS_TOKEN: gateway.token };
    const { out, code } = await shell(
      `'${ROOT}/examples/curl/resume.sh' tea 'Say "hi" and count: /long 200'`,
      gateway,
      env,
    );
    expect(code).toBe(0);
    const events = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const seqs = events.filter(({ seq }) => seq !== undefined).map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.map((_, index) => index + 2));
    expect(events.at(-1)).toMatchObject({ event: "end" });
    const texts = events.filter(({ event }) => event === "message.delta").map(({ payload }) => payload.text);
    expect(texts.join("")).toBe(Array.from({ length: 200 }, (_, i) => String(i + 1)).join(" "));
    expect(proxy.cuts).toBe(2);
  },
  TIMEOUT_MS,
);
