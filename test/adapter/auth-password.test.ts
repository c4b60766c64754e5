import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { hashPassword } from "../../src/auth/passwords.ts";
import type { Credential } from "../../src/core/principal.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { Auth, AuthChanges, Home } from "./auth.fixture.ts";
import { newHome, refusal, startAuth } from "./auth.fixture.ts";

const PASSWORD = "correct horse battery";
const HASH = await hashPassword(PASSWORD);
const MODE: AuthChanges = { mode: "password", password_hash: HASH };

let home: Home;
let hashed: ReturnType<typeof spyOn<typeof Bun.password, "verify">>;
beforeEach(async () => {
  home = await newHome();
  hashed = spyOn(Bun.password, "verify");
});
afterEach(async () => {
  hashed.mockRestore();
  await home[Symbol.asyncDispose]();
});

/** Starts, and forgets what the start hashed. */
async function start(changes: AuthChanges = MODE): Promise<Auth> {
  const auth = await startAuth(home, changes);
  hashed.mockClear();
  return auth;
}

function by(password: string): Credential {
  return { kind: "password", password };
}
function basic(password: string): Credential {
  return { kind: "password", password, basic: true };
}
async function code(attempt: Promise<unknown>): Promise<string> {
  return (await refusal(attempt)).code;
}

describe("mode password", () => {
  test.each([
    ["a hash", MODE],
    ["plain text", { mode: "password", password: PASSWORD }],
  ])("the password lets the owner in, given as %s", async (_what, changes) => {
    const auth = await start(changes);
    for (const credential of [by(PASSWORD), basic(PASSWORD)]) {
      const principal = await auth.login(credential);
      expect(principal).toEqual({
        user: "owner",
        scopes: new Set(SCOPES),
        method: "password",
        credential: "password",
        expires_at: null,
      });
      expect(auth.credentials.isLive(principal)).toBe(true);
    }
  });

  test.each(["correct horse batterx", PASSWORD.slice(0, -1), `${PASSWORD} `, "x".repeat(10_000), HASH])(
    "another does not: %p",
    async (password) => {
      const auth = await start();
      for (const credential of [by(password), basic(password)]) {
        expect(await refusal(auth.login(credential))).toEqual({
          code: "UNAUTHORIZED",
          status: 4001,
          message: "this password is wrong",
          retryable: false,
        });
      }
    },
  );

  test("what is no text is refused and costs nothing", async () => {
    const auth = await start();
    for (const junk of [null, undefined, 1, {}, [], ""]) {
      for (const make of [by, basic])
        expect(await code(auth.login(make(junk as string)))).toBe("UNAUTHORIZED");
    }
    expect(hashed).not.toHaveBeenCalled();
    expect(auth.throttle.addresses).toBe(0);
  });

  test("tokens, logins and tickets stay, and Basic takes the token, too", async () => {
    const auth = await start({ ...MODE, token: "a token of my own" });
    const owner = await auth.login(by(PASSWORD));
    const { session_token } = await auth.request<{ session_token: string }>(owner, "auth_session.create");
    const { ticket } = auth.tickets.issue(owner);
    hashed.mockClear();
    const others: [Credential, string][] = [
      [{ kind: "token", token: auth.local.token }, "token"],
      [{ kind: "token", token: session_token }, "auth_session"],
      [{ kind: "session_token", token: session_token }, "auth_session"],
      [{ kind: "ticket", ticket }, "password"],
      [basic("a token of my own"), "token"],
      [basic(auth.local.token), "token"],
    ];
    for (const [credential, method] of others) expect(await auth.login(credential)).toMatchObject({ method });
    expect(await code(auth.login(basic(`agb_${"A".repeat(43)}`)))).toBe("UNAUTHORIZED");
    // The hash is no credential, and nothing of ours is looked for among passwords.
    expect(await code(auth.login({ kind: "token", token: HASH }))).toBe("UNAUTHORIZED");
    expect(hashed).not.toHaveBeenCalled();
  });

  test("a login with it says so, survives a restart and ends with the password", async () => {
    const plain = { mode: "password", password: PASSWORD };
    for (const [before, after] of [
      [MODE, { ...MODE, password_hash: await hashPassword("another") }],
      [plain, { ...plain, password: "another" }],
    ] as const) {
      const first = await start(before);
      const owner = await first.login(by(PASSWORD));
      const { session_token } = await first.request<{ session_token: string }>(owner, "auth_session.create");
      const { auth_sessions } = await first.request<{ auth_sessions: { method: string }[] }>(
        owner,
        "auth_session.list",
      );
      expect(auth_sessions.at(-1)?.method).toBe("password");
      await first.stop();
      const second = await start(before);
      const login: Credential = { kind: "session_token", token: session_token };
      expect(await second.login(login)).toMatchObject({ user: "owner", method: "auth_session" });
      await second.stop();
      const third = await start(after);
      expect(await code(third.login(login))).toBe("UNAUTHORIZED");
      await third.stop();
      const fourth = await start({ mode: "token" });
      expect(await code(fourth.login(login))).toBe("UNAUTHORIZED");
      await fourth.stop();
    }
  });

  test("of several that start at once all go by the hash that was written first", async () => {
    const plain = { mode: "password", password: PASSWORD };
    home.store.hold();
    const starting = [start(plain), start(plain), start(plain)];
    // All have read that there is none before one is written.
    await Bun.sleep(500);
    home.store.release();
    const all = await Promise.all(starting);
    const put = home.store.committed.flatMap((item) => (item.kind === "append" ? item.rows : []));
    expect(
      put.filter((row) => row.kind === "record.put" && row.record.collection === "password").length,
    ).toBe(3);
    const [kept] = await home.store.records("password");
    const { hash } = JSON.parse(kept?.data ?? "{}") as { hash: string };
    for (const auth of all) {
      await auth.login(by(PASSWORD));
      expect(hashed.mock.lastCall).toEqual([PASSWORD, hash]);
      await auth.stop();
    }
  });

  test("nothing of the password is in the log, and nothing but its hash in the store", async () => {
    const auth = await start({ mode: "password", password: PASSWORD });
    await auth.login(by(PASSWORD));
    await refusal(auth.login(by("hunter2 of somebody")));
    await auth.stop();
    const written = JSON.stringify([auth.lines, home.store.committed]);
    expect(written).toContain("$argon2id$v=19$m=19456,t=2,p=1$");
    expect(written).not.toContain(PASSWORD);
    expect(written).not.toContain("hunter2");
  });

  test("a hash that cannot be read is told at the start", async () => {
    const broken = `$argon2id$v=19$m=19456,t=2,p=1$${"A".repeat(12)}$${"B".repeat(25)}`;
    await expect(start({ mode: "password", password_hash: broken })).rejects.toMatchObject({
      reason: "UNAVAILABLE",
      message: expect.stringContaining("agentbus password"),
    });
  });
});

describe("argon2", () => {
  test("runs once a minute for one who sends the password with every call", async () => {
    const auth = await start();
    await Promise.all(Array.from({ length: 200 }, () => auth.login(basic(PASSWORD))));
    expect(hashed).toHaveBeenCalledTimes(1);
    for (let i = 0; i < 59; i++) {
      home.clock.advance(1_000);
      await auth.login(basic(PASSWORD));
    }
    expect(hashed).toHaveBeenCalledTimes(1);
    home.clock.advance(1_000);
    await auth.login(basic(PASSWORD));
    expect(hashed).toHaveBeenCalledTimes(2);
    // Known again where it was right only.
    await auth.login(basic(PASSWORD), "10.0.0.1");
    expect(hashed).toHaveBeenCalledTimes(3);
  });

  test("never runs for one who has to wait, and of 200 guesses at once for ten", async () => {
    const auth = await start();
    const codes = await Promise.all(
      Array.from({ length: 200 }, (_, i) => code(auth.login(by(`guess ${i}`)))),
    );
    expect(Map.groupBy(codes, (each) => each).get("UNAUTHORIZED")).toHaveLength(10);
    expect(Map.groupBy(codes, (each) => each).get("RATE_LIMITED")).toHaveLength(190);
    expect(hashed).toHaveBeenCalledTimes(10);
    expect(auth.counted.throttled).toBe(190);
    hashed.mockClear();
    const body = await refusal(auth.login(by(PASSWORD)));
    expect(body).toMatchObject({ code: "RATE_LIMITED", details: { kind: "logins" }, retry_after_ms: 1_000 });
    expect(hashed).not.toHaveBeenCalled();
    expect(await auth.login({ kind: "token", token: auth.local.token })).toMatchObject({ user: "owner" });
    home.clock.advance(1_000);
    expect(await auth.login(by(PASSWORD))).toMatchObject({ method: "password" });
  });

  test("never runs for what is longer than a password can be, which is no guess: it takes nothing from anybody", async () => {
    const auth = await start();
    for (let i = 0; i < 300; i++) {
      expect(await code(auth.login(by("x".repeat(1_025)), `10.1.${i >> 8}.${i & 255}`))).toBe("UNAUTHORIZED");
    }
    expect(hashed).not.toHaveBeenCalled();
    expect(auth.throttle.addresses).toBe(0);
    expect(await auth.login(by(PASSWORD), "10.1.0.1")).toMatchObject({ method: "password" });
  });

  test("runs twice at a time, with a short queue; past it the gateway is busy", async () => {
    const auth = await start();
    let running = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    hashed.mockImplementation(async () => {
      most = Math.max(most, ++running);
      await gate.promise;
      running--;
      return false;
    });
    const all = Array.from({ length: 30 }, (_, i) => refusal(auth.login(by(`guess ${i}`), `10.0.0.${i}`)));
    const late = await refusal(auth.login(by(PASSWORD), "10.0.1.1"));
    expect(late).toEqual({
      code: "UNAVAILABLE",
      status: 5003,
      message: expect.stringContaining("token"),
      details: { kind: "logins" },
      retryable: true,
      retry_after_ms: 1_000,
    });
    expect(await auth.login({ kind: "token", token: auth.local.token }, "10.0.1.1")).toBeDefined();
    gate.resolve();
    const codes = (await Promise.all(all)).map((body) => body.code);
    expect(codes.filter((each) => each === "UNAUTHORIZED")).toHaveLength(18);
    expect(codes.filter((each) => each === "UNAVAILABLE")).toHaveLength(12);
    expect(most).toBe(2);
    // Who found it busy did not guess.
    expect(auth.throttle.addresses).toBe(18);
  });
});

describe("guesses beside the owner's own password", () => {
  test("what is remembered is no way to learn it: who has to wait is not told", async () => {
    const auth = await start();
    await auth.login(basic(PASSWORD));
    for (let i = 0; i < 10; i++) await refusal(auth.login(by(`guess ${i}`)));
    hashed.mockClear();
    expect(await code(auth.login(basic(PASSWORD)))).toBe("RATE_LIMITED");
    expect(hashed).not.toHaveBeenCalled();
  });

  test("guesses from everywhere do not keep out whom his address knows", async () => {
    const auth = await start();
    await auth.login(basic(PASSWORD), "10.0.0.1");
    for (let i = 0; i < 100; i++) auth.throttle.wrong(`10.1.0.${i}`, "");
    expect(await code(auth.login(basic(PASSWORD), "10.0.0.2"))).toBe("RATE_LIMITED");
    expect(await auth.login(basic(PASSWORD), "10.0.0.1")).toMatchObject({ method: "password" });
    // And whoever guesses at that address is counted there all the same.
    for (let i = 0; i < 10; i++) await refusal(auth.login(by(`guess ${i}`), "10.0.0.1"));
    expect(await code(auth.login(basic(PASSWORD), "10.0.0.1"))).toBe("RATE_LIMITED");
  });
});
