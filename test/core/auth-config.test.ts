import { describe, expect, test } from "bun:test";
import { load, refusal } from "./config.fixture.ts";

/** As `agentbus password` makes it. */
const HASH = `$argon2id$v=19$m=19456,t=2,p=1$${"c2Fs".repeat(10)}AAA$${"aGFz".repeat(10)}AAA`;

describe("passwords", () => {
  test.each([
    ['mode = "password"\npassword = "correct horse battery"', "password", []],
    [`mode = "password"\npassword_hash = "${HASH}"`, "password", []],
    ['mode = "password"\npassword_file = "secret"', "password", []],
    ['mode = "password"\npassword_hash_file = "hash"', "password", []],
    [
      'mode = "multi"\nmodes = ["token", "password"]\npassword_file = "secret"',
      "multi",
      ["token", "password"],
    ],
    ['mode = "multi"\nmodes = ["token"]', "multi", ["token"]],
    ['mode = "multi"\nmodes = ["device", "token"]', "multi", ["device", "token"]],
    ['mode = "device"', "device", []],
  ])("%s", (toml, mode, modes) => {
    const files = { secret: "correct horse battery\n", hash: `${HASH}\n` };
    const { config, warnings } = load({ toml: `[auth]\n${toml}`, files });
    expect(config.auth).toMatchObject({ mode, modes });
    expect(config.auth.password).toBeOneOf(["", "correct horse battery"]);
    expect(config.auth.password_hash).toBeOneOf(["", HASH]);
    expect(warnings).toEqual([]);
  });

  test("a variable does as well", () => {
    const env = { AGENTBUS_AUTH_MODE: "PASSWORD", AGENTBUS_AUTH_PASSWORD: "correct horse battery" };
    expect(load({ env }).config.auth).toMatchObject({ mode: "password", password: "correct horse battery" });
  });

  test.each([
    [
      'mode = "password"\npassword = "short"',
      "auth.password: a password of 5 characters can be guessed: use 12 or more",
    ],
    [
      'password = "correct horse battery"',
      'auth.password: not used, because auth.mode is "token": set that to "password"',
    ],
    ['modes = ["token"]', 'auth.modes: not used, because auth.mode is "token": set that to "multi"'],
  ])("%s is a warning", (toml, warning) => {
    expect(load({ toml: `[auth]\n${toml}` }).warnings).toEqual([`agentbus.toml: ${warning}`]);
  });

  const ONE = 'run "agentbus password" and set auth.password_hash, or set auth.password';
  const MADE = '"agentbus password" makes one';
  test.each([
    ['mode = "password"', `auth.mode: "password" needs one: ${ONE}`],
    ['mode = "password"\npassword = ""', `auth.mode: "password" needs one: ${ONE}`],
    ['mode = "multi"\nmodes = ["token", "password"]', `auth.modes: "password" needs one: ${ONE}`],
    ['mode = "multi"', 'auth.mode: "multi" needs a list: set auth.modes to ["token", "password"]'],
    [
      'mode = "multi"\nmodes = ["none"]',
      'auth.modes: "none" is no mode that can be one of several: use token, password, device, tailscale',
    ],
    [
      `mode = "password"\npassword = "a"\npassword_hash = "${HASH}"`,
      "auth.password_hash: agentbus.toml: auth.password says it already; keep one of them",
    ],
    [
      'mode = "password"\npassword_hash = "hunter2"',
      `auth.password_hash: it must be an argon2id hash, like $argon2id$v=19$m=19456,t=2,p=1$…: ${MADE}`,
    ],
    [
      `mode = "password"\npassword_hash = "${HASH.replace("19456", "4096")}"`,
      `auth.password_hash: m=4096 is not between 19456 and 262144: ${MADE}`,
    ],
    [
      `mode = "password"\npassword_hash = "${HASH.replace("t=2", "t=1")}"`,
      `auth.password_hash: t=1 is not between 2 and 16: ${MADE}`,
    ],
    [
      `mode = "password"\npassword_hash = "${HASH.replace("19456", "4194304")}"`,
      `auth.password_hash: m=4194304 is not between 19456 and 262144: ${MADE}`,
    ],
  ])("%s is refused", (toml, error) => {
    expect(refusal({ toml: `[auth]\n${toml}` })).toBe(`agentbus.toml: ${error}`);
  });
});

test("a password that connect would not take is refused", () => {
  const env = { AGENTBUS_AUTH_MODE: "password", AGENTBUS_AUTH_PASSWORD: "x".repeat(1_025) };
  expect(refusal({ env })).toBe("AGENTBUS_AUTH_PASSWORD: a password has 1024 characters at most");
});
