import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadOptions, LoadedConfig } from "../../src/config.ts";
import { loadConfig } from "../../src/config.ts";
import { isLoopback, parseAddress } from "../../src/config/address.ts";
import { closest } from "../../src/config/closest.ts";
import { variableOf } from "../../src/config/environment.ts";
import { ConfigError } from "../../src/config/error.ts";
import type { Option } from "../../src/config/options.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { configTable, showConfig } from "../../src/config/print.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";

const root = mkdtempSync(join(tmpdir(), "agentbus-config-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const HOME = join(root, "home");

type Given = Partial<LoadOptions> & { toml?: string; files?: Record<string, string> };

/** Loads what is given in a directory of its own. */
function load({ toml, files = {}, env = {}, ...options }: Given = {}): LoadedConfig & { cwd: string } {
  const cwd = mkdtempSync(join(root, "cwd-"));
  if (toml !== undefined) writeFileSync(join(cwd, "agentbus.toml"), toml);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(cwd, name, ".."), { recursive: true });
    writeFileSync(join(cwd, name), text);
  }
  return { ...loadConfig({ cwd, platform: "linux", env: { HOME, ...env }, ...options }), cwd };
}

/** The one line that a refused configuration is answered with. */
function refusal(given: Given): string {
  try {
    load(given);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    const { message } = error as ConfigError;
    expect(message).not.toContain("\n");
    return message.replaceAll(/\S*\/cwd-\w+/g, "<cwd>");
  }
  throw new Error("the configuration was accepted");
}

describe("defaults", () => {
  test("nothing said: a gateway for this machine", () => {
    const { config, sources, warnings, file } = load();
    expect(config.server).toEqual({
      host: "127.0.0.1",
      port: 18_789,
      data_dir: join(HOME, ".local/share/agentbus"),
      trusted_proxies: [],
      allowed_origins: [],
      public_url: "",
      shutdown_grace_secs: 20,
    });
    expect(config.auth).toEqual({ mode: "token", token: "", session_ttl_secs: 86_400 });
    expect(config.agent.on_busy).toBe("queue");
    expect(config.storage.durability).toBe("full");
    expect(config.limits).toEqual(DEFAULT_LIMITS);
    expect(Object.keys(config.llm.providers)).toEqual(["openai"]);
    expect(config.llm.providers["openai"]).toMatchObject({
      base_url: "https://api.openai.com/v1",
      api_key: "",
    });
    expect(new Set(sources.values())).toEqual(new Set(["default"]));
    expect([warnings, file]).toEqual([[], null]);
  });

  test.each([
    ["linux", { XDG_DATA_HOME: "/data" }, "/data/agentbus"],
    ["linux", { XDG_DATA_HOME: "relative" }, join(HOME, ".local/share/agentbus")],
    ["darwin", {}, join(HOME, "Library/Application Support/agentbus")],
    ["win32", { LOCALAPPDATA: "/local" }, "/local/agentbus"],
  ] as const)("data goes where %s keeps it: %j", (platform, env, expected) => {
    expect(load({ platform, env }).config.server.data_dir).toBe(expected);
  });

  test("is frozen all the way down", () => {
    const { config } = load();
    expect(() => ((config.server as { port: number }).port = 1)).toThrow(TypeError);
    expect(() => (config.server.allowed_origins as string[]).push("x")).toThrow(TypeError);
    expect(() => ((config.llm.providers["openai"] as { api_key: string }).api_key = "x")).toThrow(TypeError);
  });
});

describe("the file", () => {
  test("the smallest useful one works as it stands", () => {
    const { config, warnings, file, cwd } = load({
      toml: `
        [server]
        host = "0.0.0.0"
        port = 9000
        [gateway]
        enabled = true
        bind = "127.0.0.1:18790"
        auth_token = "a-token-of-good-length"
        max_connections = 50
        heartbeat_interval_secs = 15
        [llm]
        default_provider = "openai"
      `,
    });
    expect(config.server).toMatchObject({ host: "0.0.0.0", port: 9_000 });
    expect(config.gateway).toMatchObject({ bind: "127.0.0.1:18790", heartbeat_interval_secs: 15 });
    expect(config.limits.max_connections).toBe(50);
    expect(config.auth.token).toBe("a-token-of-good-length");
    expect(config.llm.default_provider).toBe("openai");
    expect([warnings, file]).toEqual([[], join(cwd, "agentbus.toml")]);
  });

  test("is the one named, by an argument, else by AGENTBUS_CONFIG", () => {
    const files = { "conf/a.toml": "[server]\nport = 1", "b.toml": "[server]\nport = 2" };
    const env = { AGENTBUS_CONFIG: "b.toml" };
    expect(load({ files, toml: "[server]\nport = 3", file: "conf/a.toml", env }).config.server.port).toBe(1);
    expect(load({ files, toml: "[server]\nport = 3", env }).config.server.port).toBe(2);
    expect(refusal({ file: "none.toml" })).toBe(
      "cannot read the configuration <cwd>/none.toml: there is no such file",
    );
  });

  test("variables go into strings, and may stand for numbers and switches", () => {
    const toml = `
      [server]
      port = "\${PORT:-7000}"
      public_url = "https://\${NAME}.example.com"
      allowed_origins = ["https://\${NAME}.app"]
      [gateway]
      enabled = "\${WS:-no}"
      [agent]
      system_prompt = "say $\${NAME} \${EMPTY:-nothing}"
      [llm.providers.local]
      base_url = "http://localhost:1/v1"
      headers = { x-name = "\${NAME}" }
    `;
    const { config } = load({ toml, env: { NAME: "bus", EMPTY: "" } });
    expect(config.server).toMatchObject({
      port: 7_000,
      public_url: "https://bus.example.com",
      allowed_origins: ["https://bus.app"],
    });
    expect(config.gateway.enabled).toBe(false);
    expect(config.agent.system_prompt).toBe("say ${NAME} nothing");
    expect(config.llm.providers["local"]?.headers).toEqual({ "x-name": "bus" });
    expect(load({ toml, env: { NAME: "bus", PORT: "1", WS: "on" } }).config.gateway.enabled).toBe(true);
  });

  test("secrets come from files beside it, without white space around them", () => {
    const { config, sources } = load({
      files: { "secrets/token": "  agb_a-token-in-a-file\n", "secrets/key": "sk-1\n" },
      toml: `
        [auth]
        token = ""
        token_file = "secrets/token"
        [llm.providers.openai]
        api_key_file = "secrets/key"
      `,
    });
    expect(config.auth.token).toBe("agb_a-token-in-a-file");
    expect(config.llm.providers["openai"]?.api_key).toBe("sk-1");
    expect(sources.get("auth.token")).toBe("file");
  });

  test("names are read whatever their case where there is a choice", () => {
    const { config } = load({ toml: '[agent]\non_busy = "Reject"\n[storage]\ndurability = "NORMAL"' });
    expect([config.agent.on_busy, config.storage.durability]).toEqual(["reject", "normal"]);
  });

  test("relative and home directories", () => {
    const toml = '[server]\ndata_dir = "state"';
    const { config, cwd } = load({ files: { "conf/a.toml": toml }, file: "conf/a.toml" });
    expect(config.server.data_dir).toBe(join(cwd, "conf/state"));
    expect(load({ toml: '[server]\ndata_dir = "~/bus"' }).config.server.data_dir).toBe(join(HOME, "bus"));
  });

  test("a provider somebody named comes before the one that is always there", () => {
    const toml = '[llm.providers.local]\nbase_url = "http://localhost:1/v1"';
    const { config } = load({ toml, env: { OPENAI_API_KEY: "sk-1" } });
    expect(Object.keys(config.llm.providers)).toEqual(["local", "openai"]);
    expect(config.llm.providers["local"]?.api_key).toBe("");
    expect(config.llm.providers["openai"]?.api_key).toBe("sk-1");
    const keys = load({ toml: '[llm.providers.openai]\napi_keys = ["a"]', env: { OPENAI_API_KEY: "sk-1" } });
    expect(keys.config.llm.providers["openai"]).toMatchObject({ api_key: "", api_keys: ["a"] });
  });
});

describe("environment and flags", () => {
  test("every option has a variable", () => {
    const toml = '[llm.providers.my-one]\nbase_url = "http://localhost:1"';
    for (const option of OPTIONS.filter(({ path }) => path !== "storage.url")) {
      const path = option.path.replace("NAME", "my-one");
      const { sources } = load({ toml, env: { [variableOf(path)]: sample(option) } });
      expect([path, sources.get(path)]).toEqual([path, "env"]);
    }
  });

  function sample({ path, schema }: Option): string {
    if (schema.values !== undefined) return (schema.values[0] ?? "").toUpperCase();
    if (path === "gateway.bind") return "127.0.0.1:1";
    if (schema.type === "integer") return String(schema.default);
    if (schema.type === "boolean") return "false";
    return schema.type === "object" ? "a=b, c = d=e" : "value";
  }

  test("lists, tables, switches and numbers are read from text", () => {
    const { config } = load({
      env: {
        AGENTBUS_SERVER_ALLOWED_ORIGINS: "https://a.example, https://b.example",
        AGENTBUS_LLM_PROVIDERS_OPENAI_HEADERS: "x-a=1, x-b=2=3",
        AGENTBUS_LOG_CONTENT: "YES",
        AGENTBUS_SERVER_PORT: " 0 ",
        AGENTBUS_GATEWAY_BIND: "",
      },
    });
    expect(config.server).toMatchObject({
      port: 0,
      allowed_origins: ["https://a.example", "https://b.example"],
    });
    expect(config.llm.providers["openai"]?.headers).toEqual({ "x-a": "1", "x-b": "2=3" });
    expect(config.log.content).toBe(true);
  });

  test("file < environment < flags, and each value knows where it came from", () => {
    const { config, sources } = load({
      toml: '[server]\nhost = "localhost"\nport = 1\nshutdown_grace_secs = 1',
      env: { AGENTBUS_SERVER_PORT: "2", AGENTBUS_SERVER_HOST: "::1" },
      flags: { "server.port": "3", "server.data_dir": undefined },
    });
    expect(config.server).toMatchObject({ host: "::1", port: 3, shutdown_grace_secs: 1 });
    const where = ["server.port", "server.host", "server.shutdown_grace_secs", "server.data_dir"];
    expect(where.map((path) => sources.get(path))).toEqual(["flag", "env", "file", "default"]);
  });

  test("a provider can be made by variables alone", () => {
    const { config } = load({ env: { AGENTBUS_LLM_PROVIDERS_MY_BOX_BASE_URL: "http://box/v1" } });
    expect(config.llm.providers["my_box"]).toMatchObject({ base_url: "http://box/v1", max_retries: 2 });
  });

  test("a variable that only looks like ours is a warning", () => {
    const env = {
      AGENTBUS_SERVER_SERVICE_HOST: "10.0.0.1",
      AGENTBUS_URL: "http://x",
      AGENTBUS_PORT: "tcp://x",
    };
    expect(load({ env }).warnings).toEqual(["AGENTBUS_SERVER_SERVICE_HOST is no option and is not used"]);
  });
});

const NONE = '"none" lets everybody in, and';

describe("refusals say where, what and what to do", () => {
  test.each<[string, string]>([
    ["[server]\nprot = 1", "agentbus.toml: server.prot: there is no such option; did you mean server.port?"],
    ["port = 1", "agentbus.toml: port: there is no such option; did you mean server.port?"],
    ["[sever]\nport = 1", "agentbus.toml: sever: there is no such section; did you mean [server]?"],
    [
      "[limits]\nmax_connections = 1",
      "agentbus.toml: limits.max_connections: there is no such option; did you mean gateway.max_connections?",
    ],
    [
      "[auth]\nzzzzzz = 1",
      "agentbus.toml: auth.zzzzzz: there is no such option; [auth] has mode, token, token_file, session_ttl_secs",
    ],
    [
      "[llm.providers.openai]\napi_kye = 1",
      "agentbus.toml: llm.providers.openai.api_kye: there is no such option; did you mean llm.providers.openai.api_key?",
    ],
    ["server = 1", "agentbus.toml: server: this must be a table: write [server]"],
    [
      '[server]\nport = "x"',
      'agentbus.toml: server.port: it must be a whole number from 0 to 65535, not "x"',
    ],
    [
      "[server]\nport = 65536",
      "agentbus.toml: server.port: it must be a whole number from 0 to 65535, not 65536",
    ],
    [
      "[server]\nport = 1.5",
      "agentbus.toml: server.port: it must be a whole number from 0 to 65535, not 1.5",
    ],
    [
      "[server]\nport = 2026-01-01",
      "agentbus.toml: server.port: it must be a whole number from 0 to 65535, not a date or time",
    ],
    [
      "[server]\nport = [1]",
      "agentbus.toml: server.port: it must be a whole number from 0 to 65535, not a list",
    ],
    ['[server]\nhost = ""', 'agentbus.toml: server.host: it must be a string that is not empty, not ""'],
    [
      '[server]\nhost = "127.0.0.1:80"',
      'agentbus.toml: server.host: "127.0.0.1:80" is no host: write a name or an address alone, the port is server.port',
    ],
    [
      "[server]\nallowed_origins = [1]",
      "agentbus.toml: server.allowed_origins: it must be a list of strings, not a list with something else in it",
    ],
    ['[gateway]\nenabled = "yes"', 'agentbus.toml: gateway.enabled: it must be true or false, not "yes"'],
    [
      '[gateway]\nbind = "0.0.0.0"',
      'agentbus.toml: gateway.bind: "0.0.0.0" is no address: write host:port, like 127.0.0.1:18790',
    ],
    ["[auth]\ntoken = 12345", "agentbus.toml: auth.token: it must be a string, not a number"],
    [
      '[auth]\ntoken = "a b"',
      "agentbus.toml: auth.token: a token is visible ASCII characters without spaces: choose another",
    ],
    [
      '[auth]\nmode = "Password"',
      'agentbus.toml: auth.mode: "password" is not available in this version: use token or none',
    ],
    ['[auth]\nmode = "nome"', 'agentbus.toml: auth.mode: it must be token or none, not "nome"'],
    [
      '[auth]\nmode = "none"\n[server]\nhost = "0.0.0.0"',
      `agentbus.toml: auth.mode: ${NONE} server.host "0.0.0.0" is not only this machine: set auth.mode to "token", or server.host to an address like 127.0.0.1`,
    ],
    [
      '[auth]\nmode = "none"\n[gateway]\nbind = "10.0.0.1:1"',
      `agentbus.toml: auth.mode: ${NONE} gateway.bind "10.0.0.1" is not only this machine: set auth.mode to "token", or gateway.bind to an address like 127.0.0.1`,
    ],
    [
      '[auth]\ntoken = "a"\n[gateway]\nauth_token = "b"',
      "agentbus.toml: gateway.auth_token: it differs from agentbus.toml: auth.token: both name the same token, keep one",
    ],
    [
      '[auth]\ntoken_file = "none"',
      "agentbus.toml: auth.token_file: cannot read <cwd>/none (there is no such file): it must hold auth.token",
    ],
    [
      '[auth]\ntoken_file = "."',
      "agentbus.toml: auth.token_file: cannot read <cwd> (it is a directory): it must hold auth.token",
    ],
    [
      '[auth]\ntoken_file = "empty"',
      "agentbus.toml: auth.token_file: <cwd>/empty is empty: it must hold auth.token",
    ],
    [
      '[auth]\ntoken = "a"\ntoken_file = "full"',
      "agentbus.toml: auth.token_file: agentbus.toml: auth.token says it already; keep one of them",
    ],
    [
      '[auth]\ntoken = "${NOT_SET}"',
      "agentbus.toml: auth.token: the variable NOT_SET is not set: set it, or write ${NOT_SET:-} where it may be missing",
    ],
    [
      '[auth]\ntoken = "${not a name}"',
      "agentbus.toml: auth.token: ${not a name} is no variable: write ${NAME} or ${NAME:-default}, and $${ for the characters themselves",
    ],
    [
      '[agent]\non_busy = "steer"',
      'agentbus.toml: agent.on_busy: "steer" is not available in this version: use queue, interrupt or reject',
    ],
    [
      '[storage]\nurl = "postgres://x"',
      "agentbus.toml: storage.url: other storage than SQLite in server.data_dir is not available in this version: leave it empty",
    ],
    [
      "[llm.providers.local]\nmodels = []",
      "llm.providers.local.base_url: it is missing: say where the API is, like http://127.0.0.1:11434/v1",
    ],
    [
      '[llm.providers."a/b"]\nmodels = []',
      'agentbus.toml: llm.providers.a/b: "a/b" is no name for a provider: use letters, digits, _ and -',
    ],
    [
      "[limits]\nsnapshot_bytes = 10_000_000",
      "limits: snapshot_bytes + page_bytes <= slow_soft_bytes does not hold; raise the right side or lower the left",
    ],
    [
      "[limits]\nin_flight = 0",
      "agentbus.toml: limits.in_flight: it must be a whole number, 1 or more, not 0",
    ],
    [
      '[limits]\nsystem_prompt_bytes = 3\n[agent]\nsystem_prompt = "four"',
      "agentbus.toml: agent.system_prompt: it has 4 bytes, limits.system_prompt_bytes allows 3: shorten it or raise the limit",
    ],
    [
      "[server]\nport = 1\n\n[log]\nlevel = \n",
      "agentbus.toml:5: Missing value after '='; values must be on the same line",
    ],
  ])("%j", (toml, expected) => {
    expect(refusal({ toml, files: { empty: " \n", full: "b" } })).toBe(expected);
  });

  test.each<[Record<string, string>, string]>([
    [
      { AGENTBUS_SERVER_PORT: "x" },
      'AGENTBUS_SERVER_PORT: it must be a whole number from 0 to 65535, not "x"',
    ],
    [
      { AGENTBUS_SERVER_PROT: "1" },
      "AGENTBUS_SERVER_PROT: there is no such option; did you mean AGENTBUS_SERVER_PORT?",
    ],
    [
      { AGENTBUS_AUTH_MODE: "none", AGENTBUS_SERVER_HOST: "::" },
      `AGENTBUS_AUTH_MODE: ${NONE} server.host "::" is not only this machine: set auth.mode to "token", or server.host to an address like 127.0.0.1`,
    ],
    [
      { AGENTBUS_LLM_PROVIDERS_OPENAI_API_KY: "x" },
      "AGENTBUS_LLM_PROVIDERS_OPENAI_API_KY: there is no such option; did you mean AGENTBUS_LLM_PROVIDERS_OPENAI_API_KEY?",
    ],
    [
      { AGENTBUS_AUTH_TOKEN_FILE: "none" },
      "AGENTBUS_AUTH_TOKEN_FILE: cannot read <cwd>/none (there is no such file): it must hold auth.token",
    ],
  ])("%j", (env, expected) => {
    expect(refusal({ env })).toBe(expected);
  });

  test("a flag is named as it was typed", () => {
    expect(refusal({ flags: { "server.port": "99999" } })).toBe(
      "--port: it must be a whole number from 0 to 65535, not 99999",
    );
  });

  test("names that objects have anyway are nothing special", () => {
    expect(
      load({ toml: '[llm.providers.constructor]\nbase_url = "http://x"' }).config.llm.providers[
        "constructor"
      ],
    ).toMatchObject({ base_url: "http://x" });
    expect(refusal({ toml: "[__proto__]\nx = 1" })).toContain("there is no such section");
    expect(refusal({ toml: "[llm.providers.__proto__]\nmodels = []" })).toContain(
      "is no name for a provider",
    );
    expect(refusal({ toml: "[server]\nconstructor = 1" })).toContain("there is no such option");
  });
});

test("what is allowed but unwise is a warning", () => {
  expect(load({ toml: '[auth]\nmode = "none"' }).warnings).toEqual([
    'agentbus.toml: auth.mode: "none": everybody on this machine may do everything',
  ]);
  expect(load({ env: { AGENTBUS_GATEWAY_AUTH_TOKEN: "short" } }).warnings).toEqual([
    "AGENTBUS_GATEWAY_AUTH_TOKEN: a token of 5 characters can be guessed: use 16 or more",
  ]);
  expect(load({ toml: "[gateway]\nconnection_timeout_secs = 30" }).warnings).toEqual([
    "gateway.heartbeat_interval_secs: not shorter than gateway.connection_timeout_secs (30): quiet connections are closed before a heartbeat keeps them",
  ]);
});

describe("print", () => {
  const secrets = {
    AGENTBUS_AUTH_TOKEN: "S1-long-enough-to-be-one",
    OPENAI_API_KEY: "S2",
    AGENTBUS_LLM_PROVIDERS_OPENAI_API_KEYS: "S3,S4",
    AGENTBUS_LLM_PROVIDERS_LOCAL_BASE_URL: "http://me:S5@box/v1",
    AGENTBUS_LLM_PROVIDERS_LOCAL_HEADERS: "x-key=S6",
  };

  test("shows no secret, and where each value came from", () => {
    const { config, sources } = load({ env: secrets, flags: { "server.port": 1 } });
    const shown = showConfig(config, sources);
    expect(shown).not.toMatch(/S\d/);
    expect(shown).toMatch(/^port = 1 +# flag$/m);
    expect(shown).toMatch(/^token = "\*\*\*" +# env$/m);
    expect(shown).toMatch(/^auth_token = "" +# default$/m);
    expect(shown).toMatch(/^base_url = "http:\/\/\*\*\*@box\/v1" +# env$/m);
    expect(shown).toMatch(/^headers = \{ "x-key" = "\*\*\*" \} +# env$/m);
  });

  test("is a file that gives the same configuration", () => {
    const { config, sources } = load({
      toml: '[llm.providers.local]\nbase_url = "http://box/v1"\nmodels = ["a", "b"]',
    });
    expect(load({ toml: showConfig(config, sources) }).config).toEqual(config);
  });

  test("the table has every option", () => {
    const rows = configTable().split("\n");
    expect(rows.slice(0, 2)).toEqual(["| option | default | meaning |", "| --- | --- | --- |"]);
    expect(rows.slice(2).map((row) => row.split("`")[1])).toEqual(OPTIONS.map(({ path }) => path));
    for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(5);
  });
});

test.each<[string, ReturnType<typeof parseAddress>]>([
  ["127.0.0.1:18790", { host: "127.0.0.1", port: 18_790 }],
  ["localhost:0", { host: "localhost", port: 0 }],
  ["[::1]:80", { host: "::1", port: 80 }],
  ["::1:80", null],
  ["[x]:80", null],
  ["host", null],
  [":80", null],
  ["host:65536", null],
  ["http://host:1", null],
])("parseAddress(%j)", (text, expected) => {
  expect(parseAddress(text)).toEqual(expected);
});

test("only this machine reaches a loopback address", () => {
  const hosts = ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"];
  expect(hosts.filter((host) => !isLoopback(host))).toEqual([]);
  expect(
    ["0.0.0.0", "::", "", "10.0.0.1", "127.example.com", "localhost.example.com"].filter(isLoopback),
  ).toEqual([]);
});

test("closest knows a slip from another word", () => {
  const known = ["host", "port", "data_dir"];
  expect([closest("prot", known), closest("hots", known), closest("datadir", known)]).toEqual([
    "port",
    "host",
    "data_dir",
  ]);
  expect([closest("zzzz", known), closest("x", known)]).toEqual([null, null]);
});
