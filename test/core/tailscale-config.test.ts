import { describe, expect, test } from "bun:test";
import { showConfig } from "../../src/config/print.ts";
import { load, refusal } from "./config.fixture.ts";

const SOCKET = "/var/run/tailscale/tailscaled.sock";
const ADA = { user: "ada", role: "user" };
const USERS = '[auth.tailscale.users]\n"ada@example.com" = { user = "ada", role = "user" }\n';

describe("peers of the tailnet", () => {
  test("are off by default", () => {
    const { config, warnings } = load();
    expect(config.auth).toMatchObject({
      mode: "token",
      allow_tailscale: false,
      tailscale: { socket: SOCKET, users: {} },
    });
    expect(warnings).toEqual([]);
  });

  test.each([
    `[auth]\nmode = "tailscale"\n${USERS}`,
    `[auth]\nallow_tailscale = true\n${USERS}`,
    `[auth]\nmode = "multi"\nmodes = ["token", "tailscale"]\n${USERS}`,
    `[auth]\nallow_tailscale = true\ntailscale = { users = { "ada@example.com" = { user = "ada", role = "user" } } }`,
  ])("%s", (toml) => {
    const { config, warnings } = load({ toml });
    expect(config.auth.tailscale).toEqual({ socket: SOCKET, users: { "ada@example.com": ADA } } as never);
    expect(warnings).toEqual([]);
  });

  test("variables say the same, in the table and in the environment", () => {
    const env = {
      AGENTBUS_AUTH_MODE: "tailscale",
      AGENTBUS_AUTH_TAILSCALE_SOCKET: "/run/ts.sock",
      AGENTBUS_AUTH_TAILSCALE_USERS: "ada@example.com=ada:user, bob@github = bob : viewer",
    };
    const users = { "ada@example.com": ADA, "bob@github": { user: "bob", role: "viewer" } };
    expect(load({ env }).config.auth.tailscale).toEqual({ socket: "/run/ts.sock", users } as never);
    const toml = `[auth]\nmode = "tailscale"\n[auth.tailscale.users]\n"ada@example.com" = { user = "\${WHO}", role = "\${ROLE:-user}" }`;
    expect(load({ toml, env: { WHO: "ada" } }).config.auth.tailscale.users).toEqual({
      "ada@example.com": ADA,
    } as never);
  });

  test("are shown as a file would have them", () => {
    const { config, sources } = load({ toml: `[auth]\nmode = "tailscale"\n${USERS}` });
    const shown = Bun.TOML.parse(showConfig(config, sources)) as typeof config;
    expect(shown.auth).toMatchObject({ mode: "tailscale", tailscale: { users: { "ada@example.com": ADA } } });
  });

  test.each([
    [
      `[auth]\nmode = "tailscale"`,
      'auth.tailscale.users: it is empty, so no login of the tailnet comes in: add "ada@example.com" = { user = "ada", role = "user" }',
    ],
    [USERS, 'auth.tailscale.users: not used: set auth.allow_tailscale to true, or auth.mode to "tailscale"'],
    [
      `[auth]\nmode = "multi"\nmodes = ["token"]\n${USERS}`,
      'auth.tailscale.users: not used: set auth.allow_tailscale to true, or auth.mode to "tailscale"',
    ],
    [
      `[auth]\nmode = "none"\nallow_tailscale = true`,
      'auth.allow_tailscale: not used, because auth.mode "none" lets everybody in',
    ],
  ])("%s is a warning", (toml, warning) => {
    expect(load({ toml }).warnings.map((each) => each.replace("agentbus.toml: ", ""))).toContain(warning);
  });

  const EACH = "it must be a table of tables, each with user and role";
  test.each([
    [
      `"*@example.com" = ${grant("ada", "user")}`,
      '"*@example.com" is no login: write each one whole, like "ada@example.com"',
    ],
    [`"" = ${grant("ada", "user")}`, '"" is no login: write each one whole, like "ada@example.com"'],
    [
      `tagged-devices = ${grant("ada", "user")}`,
      '"tagged-devices" is what every tagged machine is called: list the logins of people',
    ],
    [`ada = ${grant("a b", "user")}`, '"ada": "a b" is no user: use letters, digits and ._@+-'],
    [`ada = ${grant("ada", "king")}`, '"ada": there is no such role: use viewer, user, operator or admin'],
    ['ada = { user = "ada" }', `${EACH}, not a table with something else in it`],
    [
      'ada = { user = "ada", role = "user", scopes = "admin" }',
      `${EACH}, not a table with something else in it`,
    ],
    ['ada = { user = 1, role = "user" }', `${EACH}, not a table with something else in it`],
    ['ada = "user"', `${EACH}, not a table with something else in it`],
  ])("%s is refused", (line, error) => {
    const said = refusal({ toml: `[auth]\nmode = "tailscale"\n[auth.tailscale.users]\n${line}` });
    expect(said).toBe(`agentbus.toml: auth.tailscale.users: ${error}`);
  });

  test.each([
    [
      '[auth]\ntailscale = "yes"',
      "agentbus.toml: auth.tailscale: this must be a table: write [auth.tailscale]",
    ],
    [
      '[auth.tailscale]\nsokcet = "/x"',
      "agentbus.toml: auth.tailscale.sokcet: there is no such option; did you mean auth.tailscale.socket?",
    ],
    [
      "[auth]\ntailscail = 1",
      "agentbus.toml: auth.tailscail: there is no such option; did you mean auth.tailscale?",
    ],
    [
      '[auth.tailscale]\nsocket = ""',
      'agentbus.toml: auth.tailscale.socket: it must be a string that is not empty, not ""',
    ],
  ])("%s is refused", (toml, error) => {
    expect(refusal({ toml })).toBe(error);
  });

  test.each(["ada@example.com=ada", "ada@example.com=ada:user:x", "ada@example.com"])(
    "%s in a variable is refused",
    (text) => {
      const env = { AGENTBUS_AUTH_TAILSCALE_USERS: text };
      expect(refusal({ env })).toStartWith(`AGENTBUS_AUTH_TAILSCALE_USERS: ${EACH}, not `);
    },
  );
});

function grant(user: string, role: string): string {
  return `{ user = "${user}", role = "${role}" }`;
}

describe("a range of proxies that is trusted", () => {
  const warned = (proxies: string): readonly string[] =>
    load({ toml: `[server]\ntrusted_proxies = ["${proxies}"]\n[auth]\nallow_tailscale = true\n${USERS}` })
      .warnings;

  test.each([
    "100.64.0.0/10",
    "100.64.0.0/16",
    "100.100.0.0/31",
    "0.0.0.0/0",
    "64.0.0.0/2",
    "fd7a:115c:a1e0::/48",
    "::/0",
    "fd00::/8",
  ])("%s would let its machines be anybody", (proxies) => {
    expect(warned(proxies)).toEqual([
      `agentbus.toml: server.trusted_proxies: "${proxies}" is more than one machine of the tailnet, and each of them may say that it is anybody: name the addresses of proxies alone`,
    ]);
  });

  test.each([
    "127.0.0.1",
    "127.0.0.0/8",
    "100.64.0.5",
    "100.64.0.5/32",
    "fd7a:115c:a1e0::5/128",
    "10.0.0.0/8",
    "fd00:1::/32",
    "100.128.0.0/9",
  ])("%s is fine", (proxies) => {
    expect(warned(proxies)).toEqual([]);
  });

  test("is nobody's matter where peers do not come in by it", () => {
    expect(load({ toml: '[server]\ntrusted_proxies = ["100.64.0.0/10"]' }).warnings).toEqual([]);
  });
});
