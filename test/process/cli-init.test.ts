import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, statSync } from "node:fs";
import { join } from "node:path";
import { agentbus, inTerminal, workplace } from "../support/executable.ts";

describe("init", () => {
  const calls: string[] = [];
  function model(): ReturnType<typeof Bun.serve> {
    calls.length = 0;
    return Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      async fetch(request) {
        const { pathname } = new URL(request.url);
        calls.push(`${pathname} ${request.headers.get("authorization")}`);
        if (request.headers.get("authorization") === "Bearer sk-wrong") {
          return Response.json({ error: { message: "no such key" } }, { status: 401 });
        }
        if (pathname === "/v1/models") return Response.json({ data: [{ id: "tiny" }] });
        return Response.json({ choices: [{ message: { content: "ready" } }] });
      },
    });
  }

  test("tries the key, writes a private file that works, and leaves one that is there", async () => {
    using place = workplace();
    await using server = model();
    const argv = [
      "init",
      "--yes",
      "--base-url",
      `http://127.0.0.1:${server.port}/v1`,
      "--api-key",
      "sk-right",
    ];
    const made = await agentbus(argv, { cwd: place.path });
    expect([made.code, made.err]).toEqual([0, ""]);
    expect(calls).toEqual(["/v1/models Bearer sk-right", "/v1/chat/completions Bearer sk-right"]);
    expect((await Bun.file(join(place.path, "agentbus.toml")).stat()).mode & 0o777).toBe(0o600);
    const shown = await agentbus(["config", "show", "--json"], { cwd: place.path });
    expect(JSON.parse(shown.out)).toMatchObject({
      values: {
        llm: { default_provider: "local", default_model: "tiny", providers: { local: { api_key: "***" } } },
      },
    });
    const again = await agentbus(argv, { cwd: place.path });
    expect(again.code).toBe(1);
    expect(again.err).toContain("--force");
    expect((await agentbus([...argv, "--force"], { cwd: place.path })).code).toBe(0);
  });

  test("leaves whoever reads a file that it replaces able to; one without options is nothing to lose", async () => {
    using place = workplace();
    const file = place.file("agentbus.toml", "# nothing yet\n\n");
    const init = (...argv: string[]) => agentbus(["init", "--yes", ...argv], { cwd: place.path });
    const gid = process.getuid?.() === 0 ? 65_534 : statSync(file).gid;
    chownSync(file, -1, gid);
    chmodSync(file, 0o640);
    const demo = ["--provider", "demo"];
    expect((await init(...demo)).code).toBe(0);
    expect([(await init(...demo)).code, (await init(...demo, "--force")).code]).toEqual([1, 0]);
    const { mode, gid: now } = statSync(file);
    expect([mode & 0o777, now]).toEqual([0o640, gid]);
    expect(await Bun.file(file).text()).toContain("demo");
    chmodSync(file, 0o644);
    await using server = model();
    const url = `http://127.0.0.1:${server.port}/v1`;
    const open = await init("--force", "--base-url", url, "--api-key", "sk-right");
    expect([open.code, open.err]).toEqual([0, expect.stringContaining("others can read")]);
  });

  test("knows how Azure wants its key, and that everybody has an address of their own there", async () => {
    using place = workplace();
    const keys: (string | null)[] = [];
    await using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ headers }) => {
        keys.push(headers.get("api-key"), headers.get("authorization"));
        return Response.json({ choices: [{ message: { content: "ready" } }] });
      },
    });
    const argv = ["init", "--yes", "--provider", "azure", "--model", "my-gpt", "--api-key", "of-azure"];
    const lost = await agentbus(argv, { cwd: place.path });
    expect([lost.code, lost.err]).toEqual([2, expect.stringContaining("azure needs --base-url")]);
    const at = ["--base-url", `http://127.0.0.1:${server.port}/openai/v1`];
    expect((await agentbus([...argv, ...at], { cwd: place.path })).code).toBe(0);
    expect(keys).toEqual(["of-azure", null]);
    const text = await Bun.file(join(place.path, "agentbus.toml")).text();
    expect(text).toContain('api_key_header = "api-key"');
  });

  test("writes nothing where the key is refused", async () => {
    using place = workplace();
    await using server = model();
    const argv = [
      "init",
      "--yes",
      "--base-url",
      `http://127.0.0.1:${server.port}/v1`,
      "--api-key",
      "sk-wrong",
    ];
    const { code, err } = await agentbus([...argv, "--model", "tiny"], { cwd: place.path });
    expect([code, err]).toEqual([
      1,
      `agentbus: http://127.0.0.1:${server.port}/v1 refuses the API key (HTTP 401): no such key\n`,
    ]);
    expect(await Bun.file(join(place.path, "agentbus.toml")).exists()).toBe(false);
  });

  test("leaves a key of the environment where it is", async () => {
    using place = workplace();
    await using server = model();
    const argv = ["init", "--yes", "--provider", "mine", "--base-url", `http://127.0.0.1:${server.port}/v1`];
    const { code } = await agentbus(argv, { cwd: place.path, env: { MINE_API_KEY: "sk-right" } });
    expect(code).toBe(0);
    const text = await Bun.file(join(place.path, "agentbus.toml")).text();
    expect(text).toContain('api_key = "${MINE_API_KEY:-}"');
    expect(text).not.toContain("sk-right");
  });

  test("asks in a terminal, and does not show the key", async () => {
    using place = workplace();
    await using server = model();
    await using typed = inTerminal(["init"], { cwd: place.path });
    await typed.until("the provider", (shown) => shown.includes("Provider"));
    typed.type("mine\r");
    await typed.until("the address", (shown) => shown.includes("Base URL"));
    typed.type(`http://127.0.0.1:${server.port}/v1\r`);
    await typed.until("the key", (shown) => shown.includes("API key"));
    typed.type("sk-hidden\r");
    expect(await typed.exited).toBe(0);
    expect(typed.shown).not.toContain("sk-hidden");
    expect(await Bun.file(join(place.path, "agentbus.toml")).text()).toContain('api_key = "sk-hidden"');
  });
});
