import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { networkOf } from "../../src/auth/address.ts";
import { ADDRESS_RULE, GLOBAL_RULE, MAX_ADDRESSES } from "../../src/auth/throttle.ts";
import type { Credential } from "../../src/core/principal.ts";
import { deviceCredential } from "../support/device.ts";
import type { Auth, Home } from "./auth.fixture.ts";
import { newHome, refusal, startAuth } from "./auth.fixture.ts";

let home: Home;
beforeEach(async () => {
  home = await newHome();
});
afterEach(() => home[Symbol.asyncDispose]());

let guesses = 0;
function guess(): Credential {
  return { kind: "token", token: `agb_${String(++guesses).padStart(43, "0")}` };
}

/** The codes that so many different wrong tokens read, one after the other. */
async function guessing(auth: Auth, times: number, remote?: string): Promise<string[]> {
  const codes: string[] = [];
  for (let i = 0; i < times; i++) codes.push((await refusal(auth.login(guess(), remote))).code);
  return codes;
}

const wrong = (times: number): string[] => Array.from({ length: times }, () => "UNAUTHORIZED");
const limited = (times: number): string[] => Array.from({ length: times }, () => "RATE_LIMITED");

describe("one address", () => {
  test("ten wrong ones, then waits that double, up to a minute", async () => {
    const auth = await startAuth(home);
    expect(await guessing(auth, 12)).toEqual([...wrong(10), ...limited(2)]);
    expect(await refusal(auth.login(guess()))).toEqual({
      code: "RATE_LIMITED",
      status: 4029,
      message: expect.stringContaining("a right token is let in at any time"),
      details: { kind: "logins" },
      retryable: true,
      retry_after_ms: 1_000,
    });
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      const { retry_after_ms = 0 } = await refusal(auth.login(guess()));
      waits.push(retry_after_ms);
      home.clock.advance(retry_after_ms - 1);
      expect(await guessing(auth, 1)).toEqual(limited(1));
      home.clock.advance(1);
      expect(await guessing(auth, 1)).toEqual(wrong(1));
    }
    // In half a minute half a guess is forgotten, too.
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 60_000]);
  });

  test("a guess a second gets about one a minute looked at", async () => {
    const auth = await startAuth(home);
    const codes: string[] = [];
    for (let i = 0; i < 3_600; i++) {
      codes.push(...(await guessing(auth, 1)));
      home.clock.advance(1_000);
    }
    const looked = codes.filter((code) => code === "UNAUTHORIZED").length;
    expect(looked).toBeGreaterThan(55);
    expect(looked).toBeLessThan(90);
  });

  test("is forgotten in time", async () => {
    const auth = await startAuth(home);
    await guessing(auth, 11);
    home.clock.advance(ADDRESS_RULE.burst * ADDRESS_RULE.refill_ms);
    expect(await guessing(auth, 11)).toEqual([...wrong(10), ...limited(1)]);
  });

  test("is the whole /64 in IPv6, and one however IPv4 is written", async () => {
    const auth = await startAuth(home);
    for (let i = 1; i <= 10; i++) await guessing(auth, 1, `2001:db8::${i}`);
    expect(await guessing(auth, 1, "2001:db8:0:0:ffff::1")).toEqual(limited(1));
    expect(await guessing(auth, 1, "2001:db8:0:1::1")).toEqual(wrong(1));
    await guessing(auth, 10, "::ffff:10.0.0.1");
    expect(await guessing(auth, 1, "10.0.0.1")).toEqual(limited(1));
    expect(await guessing(auth, 1, "10.0.0.2")).toEqual(wrong(1));
  });

  test("what is right comes in without a wait, whatever the address does", async () => {
    const auth = await startAuth(home, { token: "a token of my own" });
    const { token } = await auth.token();
    const admin = await auth.login({ kind: "token", token });
    const { session_token } = await auth.request<{ session_token: string }>(admin, "auth_session.create");
    for (let i = 0; i < 30; i++) {
      await guessing(auth, 20);
      const right: Credential[] = [
        { kind: "token", token },
        { kind: "token", token: session_token },
        { kind: "session_token", token: session_token },
        { kind: "ticket", ticket: auth.tickets.issue(admin).ticket },
        { kind: "password", password: "a token of my own", basic: true },
      ];
      for (const credential of right) expect(await auth.login(credential)).toMatchObject({ user: "owner" });
      home.clock.advance(1_000);
    }
    expect(auth.counted.throttled).toBeGreaterThan(500);
  });

  test("who shows the same wrong secret again and again, as a forgotten client does, guesses once", async () => {
    const auth = await startAuth(home);
    const stale = guess();
    for (let i = 0; i < 50; i++) expect((await refusal(auth.login(stale))).code).toBe("UNAUTHORIZED");
    expect(await guessing(auth, 8)).toEqual(wrong(8));
    const last = guess();
    expect((await refusal(auth.login(last))).code).toBe("UNAUTHORIZED");
    expect(await guessing(auth, 1)).toEqual(limited(1));
    // It is told what it was told before, so that it knows to stop.
    expect((await refusal(auth.login(last))).code).toBe("UNAUTHORIZED");
  });

  test("what is missing, or was right once, is no guess", async () => {
    const auth = await startAuth(home);
    const { token } = await auth.token({ expires_in_secs: 1 });
    home.clock.advance(1_000);
    for (let i = 0; i < 20; i++) {
      for (const credential of [
        { kind: "none" },
        { kind: "token", token },
        { kind: "token", token: "" },
        deviceCredential({}),
      ] as const) {
        expect((await refusal(auth.login(credential))).code).toBe("UNAUTHORIZED");
      }
    }
    expect(auth.throttle.addresses).toBe(0);
  });

  test.each<[string, (n: number) => Credential]>([
    ["tokens", (n) => ({ kind: "token", token: `guess ${n}` })],
    ["session tokens", (n) => ({ kind: "session_token", token: `guess ${n}` })],
    ["tickets", (n) => ({ kind: "ticket", ticket: `guess ${n}` })],
    ["Basic", (n) => ({ kind: "password", password: `guess ${n}`, basic: true })],
  ])("%s can all be guessed", async (_name, make) => {
    const auth = await startAuth(home);
    const codes: string[] = [];
    for (let i = 0; i < 11; i++) codes.push((await refusal(auth.login(make(i)))).code);
    expect(codes).toEqual([...wrong(10), ...limited(1)]);
  });
});

describe("all addresses together", () => {
  test("a hundred wrong ones, then about one a second", async () => {
    const auth = await startAuth(home);
    for (let i = 0; i < GLOBAL_RULE.burst; i++) await guessing(auth, 1, `10.0.0.${i}`);
    expect(await guessing(auth, 1, "10.1.0.0")).toEqual(limited(1));
    let looked = 0;
    for (let i = 0; i < 600; i++) {
      home.clock.advance(100);
      looked += (await guessing(auth, 1, `10.2.${i >> 8}.${i & 255}`))[0] === "UNAUTHORIZED" ? 1 : 0;
    }
    expect(looked).toBeGreaterThan(50);
    expect(looked).toBeLessThan(75);
  });

  test("the table is bounded, the oldest goes", async () => {
    const auth = await startAuth(home);
    for (let i = 0; i < MAX_ADDRESSES + 500; i++) {
      auth.throttle.wrong(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, String(i));
    }
    expect(auth.throttle.addresses).toBe(MAX_ADDRESSES);
    expect(auth.throttle.knows("10.0.1.243", "499")).toBe(false);
    expect(auth.throttle.knows("10.0.1.244", "500")).toBe(true);
  });
});

test("of one address the last eight wrong secrets are known again", async () => {
  const { throttle } = await startAuth(home);
  for (let i = 0; i < 9; i++) throttle.wrong("10.0.0.1", String(i));
  expect(["0", "1", "8"].map((mark) => throttle.knows("10.0.0.1", mark))).toEqual([false, true, true]);
  expect(throttle.knows("10.0.0.2", "8")).toBe(false);
});

test("passwords that are being looked at count as if they were wrong, until they were not", async () => {
  const { throttle } = await startAuth(home);
  for (let i = 0; i < ADDRESS_RULE.burst; i++) expect(throttle.take("10.0.0.1")).toBe(0);
  expect(throttle.take("10.0.0.1")).toBe(ADDRESS_RULE.first_ms);
  throttle.release("10.0.0.1");
  expect(throttle.take("10.0.0.1")).toBe(0);
  for (let i = 0; i < ADDRESS_RULE.burst; i++) throttle.release("10.0.0.1");
  for (let i = 1; i < GLOBAL_RULE.burst; i++) throttle.wrong(`10.1.0.${i}`, "");
  expect(throttle.take("10.0.0.1")).toBe(0);
  expect(throttle.take("10.0.0.2")).toBe(GLOBAL_RULE.first_ms);
  throttle.release("10.0.0.1");
  expect(throttle.take("10.0.0.2")).toBe(0);
});

describe("a restart", () => {
  test("does not let anybody begin anew", async () => {
    const before = await startAuth(home);
    await guessing(before, 10);
    await guessing(before, 3, "10.0.0.1");
    home.clock.advance(1_000);
    await guessing(before, 1);
    await before.stop();
    const after = await startAuth(home);
    expect(await refusal(after.login(guess()))).toMatchObject({
      code: "RATE_LIMITED",
      retry_after_ms: 2_000,
    });
    // Who had room left is not worth a record.
    expect(await guessing(after, 11, "10.0.0.1")).toEqual([...wrong(10), ...limited(1)]);
    expect(await after.login({ kind: "token", token: after.local.token })).toMatchObject({ user: "owner" });
  });

  test("and neither does a kill, but for the last seconds; a clock that was set back makes no wait longer", async () => {
    const before = await startAuth(home);
    await guessing(before, 10);
    home.clock.advance(5_000);
    await before.journal.drained();
    home.clock.jump(-86_400_000);
    const after = await startAuth(home);
    expect(after.throttle.wait("127.0.0.1")).toBeLessThanOrEqual(ADDRESS_RULE.longest_ms);
    home.clock.advance(ADDRESS_RULE.longest_ms);
    expect(await guessing(after, 2)).toEqual([...wrong(1), ...limited(1)]);
  });

  test("costs few writes under attack", async () => {
    const auth = await startAuth(home);
    const before = home.store.committed.length;
    for (let i = 0; i < 60; i++) {
      await guessing(auth, 20);
      home.clock.advance(1_000);
      await auth.journal.drained();
    }
    expect(home.store.committed.length - before).toBeLessThanOrEqual(12);
  });

  test("storage that refuses keeps nobody out", async () => {
    const auth = await startAuth(home);
    home.store.refuse(true);
    await guessing(auth, 11);
    home.clock.advance(5_000);
    expect(await auth.login({ kind: "token", token: auth.local.token })).toMatchObject({ user: "owner" });
    expect(await guessing(auth, 1)).toEqual(wrong(1));
  });
});

test("those who are told to wait are counted, and logged now and then", async () => {
  const auth = await startAuth(home);
  await guessing(auth, 10);
  home.clock.advance(10_000);
  await guessing(auth, 1);
  await guessing(auth, 5);
  home.clock.advance(10_000);
  await guessing(auth, 1);
  expect(auth.counted.throttled).toBe(5);
  const lines = auth.lines.filter(({ message }) => message === "a login was refused");
  expect(lines.map(({ unsaid = 0 }) => unsaid)).toEqual([0, 9, 5]);
});

test.each([
  ["10.0.0.1", "10.0.0.1"],
  ["::ffff:10.0.0.1", "10.0.0.1"],
  ["::1", "0:0:0:0::/64"],
  ["2001:DB8::1", "2001:db8:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["1:2:3:4:5::", "1:2:3:4::/64"],
  ["", ""],
  ["x".repeat(100), "x".repeat(64)],
])("the network of %p is %p", (address, network) => {
  expect(networkOf(address)).toBe(network);
});
