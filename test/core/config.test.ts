import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { isLoopback, parseAddress } from "../../src/config/address.ts";
import { closest } from "../../src/config/closest.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { configTable, showConfig } from "../../src/config/print.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { HOME, load, refusal } from "./config.fixture.ts";

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
      tls: { mode: "", cert: "", key: "", client_ca: "" },
      shutdown_delay_secs: 0,
      shutdown_grace_secs: 20,
    });
    expect(config.auth).toMatchObject({ mode: "token", modes: [], token: "", password: "" });
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
    // It is open to the network, and that is said.
    expect([warnings, file]).toEqual([[expect.stringContaining("without TLS")], join(cwd, "agentbus.toml")]);
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
    AGENTBUS_AUTH_PASSWORD: "S7-long-enough-to-be-one",
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
    expect(rows.slice(0, 2)).toEqual([
      "| option | default | reloads | meaning |",
      "| --- | --- | --- | --- |",
    ]);
    expect(rows.slice(2).map((row) => row.split("`")[1])).toEqual(OPTIONS.map(({ path }) => path));
    for (const row of rows) expect(row.split(/(?<!\\)\|/)).toHaveLength(6);
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
