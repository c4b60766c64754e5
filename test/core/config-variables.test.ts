import { describe, expect, test } from "bun:test";
import { variableOf } from "../../src/config/environment.ts";
import type { Option } from "../../src/config/options.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { showConfig } from "../../src/config/print.ts";
import { load, refusal } from "./config.fixture.ts";

test("every option has a variable", () => {
  const provider = '[llm.providers.my-one]\nbase_url = "http://localhost:1"';
  for (const option of OPTIONS) {
    const path = option.path.replace("NAME", "my-one");
    const toml = path.startsWith("mcp.") ? "[mcp.servers.my-one]\nargs = []" : provider;
    const { sources } = load({ toml, env: { ...companions(path), [variableOf(path)]: sample(option) } });
    expect([path, sources.get(path)]).toEqual([path, "env"]);
  }
});

/** What an option cannot be without. */
function companions(path: string): Record<string, string> {
  if (/^mcp\..*\.(?:url|headers)$/.test(path)) {
    return { AGENTBUS_MCP_SERVERS_MY_ONE_URL: "http://localhost:1" };
  }
  if (path.startsWith("mcp.")) return { AGENTBUS_MCP_SERVERS_MY_ONE_COMMAND: "true" };
  if (!/^server\.tls\.(?!mode)/.test(path)) return {};
  return { AGENTBUS_SERVER_TLS_CERT: "cert.pem", AGENTBUS_SERVER_TLS_KEY: "key.pem" };
}

function sample({ path, schema }: Option): string {
  if (schema.values !== undefined) return (schema.values.find((each) => each !== "") ?? "").toUpperCase();
  if (path === "storage.url") return "postgres://root@db/agentbus";
  if (path === "mcp.servers.NAME.url") return "http://localhost:1";
  if (path === "gateway.bind") return "127.0.0.1:1";
  if (schema.entries !== undefined) return "ada@example.com=ada:user";
  if (path.endsWith(".prices")) return "gpt-4o*=2.5:10:1.25,qwen3:8b=0:0";
  if (path === "budgets.users") return "ada=1000::0.5";
  if (path === "llm.currency") return "EUR";
  if (path === "log.levels") return "store=debug";
  if (schema.type === "number") return "1.5";
  if (path === "auth.modes") return "token, password";
  if (path === "auth.password_hash")
    return `$argon2id$v=19$m=19456,t=2,p=1$${"A".repeat(22)}$${"A".repeat(43)}`;
  if (schema.type === "integer") return String(schema.default);
  if (schema.type === "boolean") return "false";
  return schema.type === "object" ? "a=b, c = d=e" : "value";
}

describe("tool servers", () => {
  const file = '[mcp.servers.files]\ncommand = "npx"\nargs = ["-y", "server"]\nenv = { KEY = "${SECRET}" }\n';

  test("a command or an address, with what it needs; secrets are not shown", () => {
    const url =
      '[mcp.servers.far]\nurl = "https://x.example/mcp"\nheaders = { Authorization = "Bearer ${SECRET}" }\n';
    const loaded = load({ toml: file + url, env: { SECRET: "open sesame" } });
    expect(loaded.config.mcp.servers).toEqual({
      files: { command: "npx", args: ["-y", "server"], env: { KEY: "open sesame" }, url: "", headers: {} },
      far: {
        command: "",
        args: [],
        env: {},
        url: "https://x.example/mcp",
        headers: { Authorization: "Bearer open sesame" },
      },
    });
    const shown = showConfig(loaded.config, loaded.sources);
    expect(shown).not.toContain("sesame");
    expect(shown).toMatch(/\[mcp\.servers\.files\]\ncommand = "npx"/);
    expect(load({ toml: shown.replaceAll(/ +# \w+$/gm, "") }).config.mcp.servers["files"]?.args).toEqual([
      "-y",
      "server",
    ]);
    expect(load().config.mcp).toEqual({ servers: {} });
  });

  const wrong: [string, string][] = [
    [
      'args = ["x"]',
      "mcp.servers.a.command: it is missing: say what to start, or where the server is with url",
    ],
    ['command = "x"\nurl = "http://x"', "mcp.servers.a.url: there is a command as well: keep one of them"],
    [
      'url = "x.example"',
      "mcp.servers.a.url: it is no address: write one like https://tools.example.com/mcp, what is secret belongs into headers",
    ],
    [
      'url = "https://me:secret@x"',
      "mcp.servers.a.url: it is no address: write one like https://tools.example.com/mcp, what is secret belongs into headers",
    ],
    ['url = "http://x"\nargs = ["x"]', "mcp.servers.a.args: only a server with a command has arguments"],
    ['url = "http://x"\nenv = { A = "b" }', "mcp.servers.a.env: only a server with a command has env"],
    ['command = "x"\nheaders = { A = "b" }', "mcp.servers.a.headers: only a server with a url has headers"],
    ['command = "x"\nenv = { "A=B" = "b" }', 'mcp.servers.a.env: "A=B" is no name of a variable'],
    ['url = "http://x"\nheaders = { "a b" = "c" }', 'mcp.servers.a.headers: "a b" is no name of a header'],
    [
      'url = "http://x"\nheaders = { a = "b\\nc" }',
      "mcp.servers.a.headers: the value of a has a line break in it",
    ],
    ['comand = "x"', "mcp.servers.a.comand: there is no such option; did you mean mcp.servers.a.command?"],
  ];
  test.each(wrong)("%j is refused", (lines, message) => {
    expect(refusal({ toml: `[mcp.servers.a]\n${lines}` }).replace(/^agentbus\.toml: /, "")).toBe(message);
  });

  test("names that could not be those of tools, and too many, are refused", () => {
    expect(refusal({ toml: '[mcp.servers."a.b"]\ncommand = "x"' })).toContain("is no name for a tool server");
    expect(refusal({ toml: "[mcp]\nserver = 1" })).toContain("mcp.server: there is no such");
    const many = Array.from({ length: 33 }, (_, n) => `[mcp.servers.s${n}]\ncommand = "x"\n`).join("");
    expect(refusal({ toml: many })).toBe("mcp.servers: there are 33; 32 are possible");
  });
});
