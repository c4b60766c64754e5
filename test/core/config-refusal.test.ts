import { describe, expect, test } from "bun:test";
import { load, refusal } from "./config.fixture.ts";

const NONE = '"none" lets everybody in, and';

test("a secret without its quotes is not repeated", () => {
  const said = refusal({ toml: "[auth]\ntoken = sekritsekrit" });
  expect(said).toBe("agentbus.toml:2: Strings must be quoted");
});

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
      "agentbus.toml: auth.zzzzzz: there is no such option; [auth] has mode, modes, token, token_file, password, password_file, password_hash, password_hash_file, allow_tailscale, tailscale, session_ttl_secs",
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
      '[server]\nhost = "[::1]"',
      'agentbus.toml: server.host: "[::1]" is no host: write a name or an address alone, the port is server.port',
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
      '[auth]\nmode = "nome"',
      'agentbus.toml: auth.mode: it must be token, password, device, tailscale, multi or none, not "nome"',
    ],
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
      '[storage]\nurl = "mysql://root:secret@db/x"',
      "agentbus.toml: storage.url: it begins with mysql:: write postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite in server.data_dir",
    ],
    [
      '[storage]\nurl = "postgres://root:secret@db"',
      "agentbus.toml: storage.url: it names no database: write postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite in server.data_dir",
    ],
    [
      '[storage]\nurl = "agentbus.db"',
      "agentbus.toml: storage.url: it is no address: write postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite in server.data_dir",
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
