import { describe, expect, test } from "bun:test";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { agentbus, inTerminal, serve, workplace } from "../support/executable.ts";
import { startTailscaled } from "../support/tailscaled.ts";

const LINE = /^agentbus: [^\n]+\n$/;

describe("without a gateway", () => {
  test("version", async () => {
    using place = workplace();
    expect(await agentbus(["version"], { cwd: place.path })).toEqual({
      code: 0,
      out: `agentbus ${manifest.version}\n`,
      err: "",
    });
    const { out } = await agentbus(["--version", "--json"], { cwd: place.path });
    expect(JSON.parse(out)).toMatchObject({ version: manifest.version });
  });

  test("an unknown flag and an unknown command: one line, exit 2", async () => {
    using place = workplace();
    const flag = await agentbus(["serve", "--prot", "1"], { cwd: place.path });
    expect(flag).toEqual({
      code: 2,
      out: "",
      err: "agentbus: serve has no flag --prot; did you mean --port? (agentbus serve --help lists them)\n",
    });
    const command = await agentbus(["staus"], { cwd: place.path });
    expect([command.code, command.out]).toEqual([2, ""]);
    expect(command.err).toContain("did you mean status?");
  });

  test("config check: valid, and a key that does not exist", async () => {
    using place = workplace();
    place.file("agentbus.toml", "[server]\nport = 0\n");
    const good = await agentbus(["config", "check"], { cwd: place.path });
    expect([good.code, good.err]).toEqual([0, ""]);
    place.file("agentbus.toml", "[server]\nprot = 1\n");
    const bad = await agentbus(["config", "check"], { cwd: place.path });
    expect(bad).toMatchObject({ code: 2, out: "" });
    expect(bad.err).toMatch(LINE);
    expect(bad.err).toContain("server.prot");
    expect(bad.err).toContain("did you mean server.port?");
  });

  test("config show masks secrets and says where values come from", async () => {
    using place = workplace();
    place.file("agentbus.toml", '[auth]\ntoken = "agb_not_to_be_shown"\n');
    const shown = await agentbus(["config", "show", "--port", "1234"], { cwd: place.path });
    expect(shown.code).toBe(0);
    expect(shown.out).toMatch(/port = 1234 +# flag/);
    expect(shown.out).not.toContain("not_to_be_shown");
    const { out } = await agentbus(["config", "show", "--json"], { cwd: place.path });
    expect(JSON.parse(out)).toMatchObject({
      values: { auth: { token: "***" } },
      sources: { "auth.token": "file" },
    });
  });

  test("nothing to reach: exit 3; --url says where it was looked for", async () => {
    using place = workplace();
    const local = await agentbus(["status", "--data-dir", "data", "--port", "1"], { cwd: place.path });
    expect([local.code, local.out]).toEqual([3, ""]);
    expect(local.err).toMatch(LINE);
    expect(local.err).toContain("agentbus serve");
    const env = { AGENTBUS_URL: "http://127.0.0.1:2", AGENTBUS_TOKEN: "agb_x" };
    const named = await agentbus(["call", "system.info"], { cwd: place.path, env });
    expect(named.code).toBe(3);
    expect(named.err).toContain("127.0.0.1:2");
  });

  test("doctor: everything in order, in words and as JSON", async () => {
    using place = workplace();
    place.file("agentbus.toml", '[server]\nport = 0\ndata_dir = "data"\n[llm]\ndefault_provider = "demo"\n');
    const { code, out } = await agentbus(["doctor", "--json"], { cwd: place.path });
    const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: { check: string; state: string }[] };
    expect([code, ok]).toEqual([0, true]);
    const machine = [
      "data directory",
      "token",
      "disk",
      "database",
      "backup",
      "open files",
      "port",
      "gateway",
    ];
    const expected = ["version", "configuration", ...machine, "skills", "plug-ins", "provider", "clock"];
    expect(findings.map(({ check }) => check)).toEqual(expected);
    const words = await agentbus(["doctor"], { cwd: place.path });
    for (const check of expected) expect(words.out).toContain(check);
  });

  test("doctor: skills that can be used, and what is wrong with the others", async () => {
    using place = workplace();
    place.file("agentbus.toml", '[server]\nport = 0\ndata_dir = "data"\n');
    place.file(".agents/skills/pdf/SKILL.md", "---\nname: pdf\ndescription: d\n---\n");
    place.file("data/skills/pdf/SKILL.md", "---\nname: pdf\ndescription: d\n---\n");
    place.file("data/skills/bad/SKILL.md", "---\nname: bad\n---\n");
    const { code, out } = await agentbus(["doctor", "--json"], { cwd: place.path });
    const { findings } = JSON.parse(out) as { findings: Record<string, string>[] };
    expect(code).toBe(0);
    expect(findings.filter(({ check }) => check === "skills")).toEqual([
      { check: "skills", state: "ok", finding: "1 can be used: pdf" },
      {
        check: "skills",
        state: "warning",
        finding: "bad in <data_dir>/skills is broken: description: it is missing",
        advice: "mend its SKILL.md; a gateway that runs reads it by itself",
      },
    ]);
  });

  test("doctor: whether tailscaled says who a peer is, where that is asked for", async () => {
    using place = workplace();
    await using tailscaled = await startTailscaled();
    const lines = (socket: string): string =>
      `[server]\nport = 0\ndata_dir = "data"\n[auth]\nallow_tailscale = true\n[auth.tailscale]\nsocket = "${socket}"\nusers = { "ada@example.com" = { user = "ada", role = "user" } }\n`;
    const tell = async (socket: string): Promise<Record<string, string> | undefined> => {
      place.file("agentbus.toml", lines(socket));
      const { out } = await agentbus(["doctor", "--json"], { cwd: place.path });
      const { findings } = JSON.parse(out) as { findings: Record<string, string>[] };
      return findings.find(({ check }) => check === "tailscale");
    };
    expect(await tell(tailscaled.socket)).toMatchObject({
      state: "ok",
      finding: expect.stringContaining(": 1"),
    });
    await tailscaled.misbehave({ body: "whois access denied\n", status: 403 });
    expect(await tell(tailscaled.socket)).toMatchObject({
      state: "failed",
      advice: expect.stringContaining("user"),
    });
    await tailscaled.misbehave("silent");
    expect(await tell(tailscaled.socket)).toMatchObject({
      state: "failed",
      finding: expect.stringContaining("no answer within"),
    });
    expect(await tell(`${tailscaled.socket}.none`)).toMatchObject({
      state: "failed",
      finding: expect.stringContaining("ENOENT"),
      advice: expect.stringContaining("start tailscaled"),
    });
  });

  test("doctor: what is wrong has a way out", async () => {
    using place = workplace();
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
    const silent = `http://127.0.0.1:${taken.port}`;
    taken.stop(true);
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("no", { status: 401 }),
    });
    place.file(
      "agentbus.toml",
      [
        `[server]\nport = ${server.port}\ndata_dir = "agentbus.toml/data"`,
        `[llm.providers.silent]\nbase_url = "${silent}"`,
        `[llm.providers.strict]\nbase_url = "http://127.0.0.1:${server.port}"\napi_key = "sk-wrong"`,
      ].join("\n"),
    );
    try {
      const { code, out } = await agentbus(["doctor", "--json"], { cwd: place.path });
      const { findings } = JSON.parse(out) as { findings: Record<string, string>[] };
      const failed = findings.filter(({ state }) => state === "failed");
      expect(code).toBe(1);
      expect(failed.map(({ check }) => check).toSorted()).toEqual([
        "data directory",
        "port",
        "provider",
        "provider",
      ]);
      for (const { advice } of failed) expect(advice).toBeTruthy();
      expect(out).not.toContain("sk-wrong");
    } finally {
      await server.stop(true);
    }
  });
});

describe("serve says in one line why it cannot start", () => {
  test("the port is in use", async () => {
    using place = workplace();
    const taken = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      exclusive: true,
      socket: { data: () => undefined },
    });
    try {
      const argv = ["serve", "--port", String(taken.port), "--data-dir", "data"];
      const { code, out, err } = await agentbus(argv, { cwd: place.path });
      expect([code, out]).toEqual([1, ""]);
      expect(err).toMatch(LINE);
      expect(err).toContain(String(taken.port));
    } finally {
      taken.stop(true);
    }
  });

  test("the data directory cannot be made", async () => {
    using place = workplace();
    place.file("file", "");
    const { code, err } = await agentbus(["serve", "--port", "0", "--data-dir", "file/data"], {
      cwd: place.path,
    });
    expect(code).toBe(1);
    expect(err).toMatch(LINE);
    expect(err).toContain(join(place.path, "file"));
  });

  test("the data directory is another gateway's, which goes on; so it is for the commands that open it", async () => {
    using place = workplace();
    await using running = await serve(place.path, ["--port", "0", "--data-dir", "data"]);
    const { code, err } = await agentbus(["serve", "--port", "0", "--data-dir", "data"], { cwd: place.path });
    expect(code).toBe(1);
    expect(err).toMatch(LINE);
    expect(err).toContain(join(place.path, "data"));
    expect((await fetch(`${running.url}/health`)).status).toBe(200);
    expect((await agentbus(["status", "--data-dir", "data"], { cwd: place.path })).code).toBe(0);
  });
});

describe("serve", () => {
  test("prints one line, keeps its token private, ends well when asked to", async () => {
    using place = workplace();
    await using running = await serve(place.path, ["--port", "0", "--data-dir", "data"]);
    const said = running.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(said.filter(({ msg }) => msg === "listening")).toEqual([
      expect.objectContaining({ url: running.url, pid: running.pid, version: manifest.version }),
    ]);
    expect(statSync(join(place.path, "data")).mode & 0o777).toBe(0o700);
    expect(statSync(join(place.path, "data", "token")).mode & 0o777).toBe(0o600);
    const token = readFileSync(join(place.path, "data", "token"), "utf8").trim();
    expect(token).toStartWith("agb_");
    expect(running.lines.join("\n")).not.toContain(token);
    running.signal("SIGTERM");
    expect(await running.exited).toBe(0);
  });

  test("in a terminal shows where it listens, and a token that was just made once", async () => {
    using place = workplace();
    const argv = ["--port", "0", "--data-dir", "data"];
    await using first = inTerminal(argv, { cwd: place.path });
    await first.until("where it listens", (shown) => shown.includes("Ctrl-C stops it"));
    const token = readFileSync(join(place.path, "data", "token"), "utf8").trim();
    expect(first.shown).toMatch(/listening {2}http:\/\/127\.0\.0\.1:\d+/);
    expect(first.shown).toContain(token);
    first.type("\u0003");
    expect(await first.exited).toBe(0);
    await using second = inTerminal(argv, { cwd: place.path });
    await second.until("where it listens", (shown) => shown.includes("Ctrl-C stops it"));
    expect(second.shown).not.toContain(token);
  });

  test.if(process.platform === "linux")(
    "raises the bound of fetch for many runs, in the same process",
    async () => {
      using place = workplace();
      place.file(
        "agentbus.toml",
        '[server]\nport = 0\ndata_dir = "data"\n[agent]\nmax_concurrent_runs = 500\n',
      );
      await using running = await serve(place.path, []);
      const said = JSON.parse(running.lines[0] ?? "{}") as { pid: number };
      expect(said.pid).toBe(running.pid);
      const environment = readFileSync(`/proc/${running.pid}/environ`, "utf8").split("\0");
      expect(environment).toContain("BUN_CONFIG_MAX_HTTP_REQUESTS=564");
    },
  );

  test("what is told in the environment is left alone", async () => {
    using place = workplace();
    const env = { AGENTBUS_AGENT_MAX_CONCURRENT_RUNS: "500", BUN_CONFIG_MAX_HTTP_REQUESTS: "300" };
    await using running = await serve(place.path, ["--port", "0", "--data-dir", "data"], env);
    expect((await agentbus(["status", "--data-dir", "data"], { cwd: place.path })).code).toBe(0);
    expect(running.lines.length).toBe(1);
  });
});

test("demo: everything holds", async () => {
  using place = workplace();
  const { code, out, err } = await agentbus(["demo"], {
    cwd: place.path,
    env: { AGENTBUS_SERVER_PORT: "1" },
  });
  expect(err).toBe("");
  expect(out).toEndWith("Everything held.\n");
  expect(out.match(/^ {2}✓ /gm)?.length).toBe(7);
  expect(out).toContain('curl -N -H "Authorization: Bearer $TOKEN"');
  expect(out).not.toContain("agb_");
  expect(code).toBe(0);
}, 30_000);
