import { describe, expect, test } from "bun:test";
import { agentbus, inTerminal, workplace } from "../support/executable.ts";

const PASSWORD = "correct hörse battery";
const HASH = /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{43}\$[A-Za-z0-9+/]{43}$/;

describe("agentbus password", () => {
  test("hashes what is piped in, and says what to do with it", async () => {
    using place = workplace();
    const { code, out, err } = await agentbus(["password"], { cwd: place.path, stdin: `${PASSWORD}\n` });
    const hash = out.trim();
    expect([code, out]).toEqual([0, `${hash}\n`]);
    expect(hash).toMatch(HASH);
    expect(await Bun.password.verify(PASSWORD, hash)).toBe(true);
    expect(err).toBe(`\nIn agentbus.toml:\n\n[auth]\nmode = "password"\npassword_hash = "${hash}"\n`);
    place.file("agentbus.toml", err.slice(err.indexOf("[auth]")));
    expect(await agentbus(["config", "check"], { cwd: place.path })).toMatchObject({ code: 0, err: "" });
  });

  test("as JSON; a short one is told to be one", async () => {
    using place = workplace();
    const short = await agentbus(["password", "--json"], { cwd: place.path, stdin: "hunter2" });
    expect(short.err).toBe("warning: a password of 7 characters can be guessed: use 12 or more\n");
    const { password_hash } = JSON.parse(short.out) as { password_hash: string };
    expect(await Bun.password.verify("hunter2", password_hash)).toBe(true);
  });

  test.each([
    ["nothing", "", "the password is empty: choose one"],
    ["an empty line", "\n", "the password is empty: choose one"],
    ["two lines", "one\ntwo\n", "a password is one line: more came from stdin"],
    ["spaces around it", " spaces ", "a password neither begins nor ends with white space: choose another"],
    ["too much", "x".repeat(1_025), "a password has 1024 characters at most"],
  ])("%s is refused in one line", async (_what, stdin, message) => {
    using place = workplace();
    const answer = await agentbus(["password"], { cwd: place.path, stdin });
    expect(answer).toEqual({ code: 1, out: "", err: `agentbus: ${message}\n` });
  });

  test("asks twice at a terminal, and shows neither", async () => {
    using place = workplace();
    await using terminal = inTerminal(["password"], { cwd: place.path });
    await terminal.until("the question", (shown) => shown.includes("Password: "));
    terminal.type("twice the same\r");
    await terminal.until("the second question", (shown) => shown.includes("Once more: "));
    terminal.type("twice the same\r");
    expect(await terminal.exited).toBe(0);
    await terminal.until("the hash", (shown) => shown.includes("password_hash = "));
    expect(terminal.shown).not.toContain("twice");
    const hash = terminal.shown.split("\n").find((line) => HASH.test(line)) ?? "";
    expect(await Bun.password.verify("twice the same", hash)).toBe(true);
  });

  test("two that differ are no password", async () => {
    using place = workplace();
    await using terminal = inTerminal(["password"], { cwd: place.path });
    await terminal.until("the question", (shown) => shown.includes("Password: "));
    terminal.type("the first one\r");
    await terminal.until("the second question", (shown) => shown.includes("Once more: "));
    terminal.type("the second one\r");
    expect(await terminal.exited).toBe(1);
    await terminal.until("why", (shown) => shown.includes("the two differ: try again"));
  });
});
