import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blocksOf } from "./docs.blocks.ts";
import { eventually, startStack } from "./stack.ts";

test("the receiver of docs/automation.md takes what is signed with its secret, and nothing else", async () => {
  const [block] = blocksOf("docs/automation.md").filter(({ words }) => words[0] === "js");
  await using stack = await startStack({ config: { webhooks: { allow: ["127.0.0.1"] } } });
  const { owner } = stack;
  const home = mkdtempSync(join(tmpdir(), "receiver-"));
  const port = await freePort();
  const params = { url: `http://127.0.0.1:${port}/`, types: ["message.created"] };
  const [right, wrong] = [
    await owner.call("webhook.create", params),
    await owner.call("webhook.create", params),
  ];
  writeFileSync(join(home, "receiver.mjs"), block?.text ?? "");
  const child = Bun.spawn([process.execPath, "receiver.mjs"], {
    cwd: home,
    env: { PORT: String(port), WEBHOOK_SECRET: right.secret },
    stdout: "pipe",
    stderr: "inherit",
  });
  try {
    const test = (webhook_id: string) => owner.call("webhook.test", { webhook_id });
    await eventually(
      () => test(right.webhook_id),
      ({ ok }) => ok,
    );
    expect(await test(wrong.webhook_id)).toMatchObject({ ok: false, status: 401 });
    await owner.call("session.create", { session_id: "example" });
    await owner.call("chat.inject", { session_id: "example", role: "user", content: "hello" });
    let text = "";
    for await (const chunk of child.stdout) {
      text += new TextDecoder().decode(chunk);
      if (text.includes("message.created")) break;
    }
    expect(text).toContain("message.created example\n");
  } finally {
    child.kill();
    rmSync(home, { recursive: true });
  }
}, 60_000);

async function freePort(): Promise<number> {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = server;
  server.stop(true);
  return port;
}
