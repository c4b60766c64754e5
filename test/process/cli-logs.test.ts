import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { eventually } from "../gateway/stack.ts";
import { AGENTBUS, agentbus, plainEnvironment, serve, workplace } from "../support/executable.ts";

const HERE = ["--data-dir", "data"];
const LONG_MS = 30_000;

test(
  "logs shows the newest lines, those of a level, and what comes",
  async () => {
    using place = workplace();
    await using running = await serve(place.path, ["--port", "0", ...HERE]);
    const run = (...argv: string[]) => agentbus([...argv, ...HERE], { cwd: place.path });
    const { code, out } = await run("logs");
    expect(code).toBe(0);
    expect(out).toMatch(/ info .*listening \{.*"url":"http/);
    expect(out).not.toContain(running.lines.join("\n"));
    expect((await run("logs", "--level", "error")).out).toBe("");
    const wrong = await run("logs", "--level", "loud");
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--level: there are debug")]);

    const following = Bun.spawn([...AGENTBUS, "logs", "-f", "--json", "--level", "warn", ...HERE], {
      cwd: place.path,
      env: plainEnvironment(),
      stdout: "pipe",
      stderr: "inherit",
    });
    let said = "";
    const read = (async () => {
      for await (const bytes of following.stdout) said += new TextDecoder().decode(bytes);
    })();
    const much = { session_id: "s", message: "x", metadata: { more: "x".repeat(10_000) } };
    await run("call", "chat.send", JSON.stringify(much));
    await eventually(
      () => said,
      (text) => text.includes("a limit was reached"),
      20_000,
    );
    following.kill("SIGINT");
    expect(await following.exited).toBe(0);
    await read;
    const [line = ""] = said.split("\n");
    expect(JSON.parse(line)).toMatchObject({ level: "warn", fields: { limit: "metadata_bytes" } });
  },
  LONG_MS,
);

test(
  "logs shows in letters what would move a cursor",
  async () => {
    using place = workplace();
    const folder = join(place.path, ".agents/skills/a\u{e0001}b\u202ec");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "SKILL.md"), "no front matter");
    await using _running = await serve(place.path, ["--port", "0", ...HERE]);
    const { out } = await agentbus(["logs", "--level", "warn", ...HERE], { cwd: place.path });
    expect(out).toContain("b\\u202ec");
    expect(out).not.toMatch(/[\u0080-\u009f\u202e\u{e0001}]/u);
  },
  LONG_MS,
);
