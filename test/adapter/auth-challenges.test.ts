import { describe, expect, test } from "bun:test";
import { createChallenges } from "../../src/auth/challenges.ts";
import type { GatewayError } from "../../src/protocol/errors.ts";
import { manualClock } from "../support/clock.ts";

const limits = { challenges: 6, challenges_per_address: 2, challenge_ttl_ms: 30_000 };

function start() {
  const clock = manualClock();
  return { clock, challenges: createChallenges({ clock, limits, server_id: () => "srv_1" }) };
}

function bytesOf(nonce: string): number {
  expect(nonce).toMatch(/^[A-Za-z0-9_-]+$/);
  return Buffer.from(nonce, "base64url").length;
}

function refusal(work: () => unknown): ReturnType<GatewayError["toBody"]> {
  try {
    work();
  } catch (error) {
    return (error as GatewayError).toBody();
  }
  throw new Error("not refused");
}

describe("the challenge of a socket", () => {
  test("names the server and is random", () => {
    const { challenges, clock } = start();
    const all = Array.from({ length: 100 }, () => challenges.forSocket());
    expect(new Set(all.map(({ nonce }) => nonce)).size).toBe(100);
    for (const { nonce, server_id, ts } of all) {
      expect([bytesOf(nonce), server_id, ts]).toEqual([32, "srv_1", clock.now()]);
    }
  });

  test("is spent once, by whatever is shown first", () => {
    const { challenges } = start();
    const [one, other] = [challenges.forSocket(), challenges.forSocket()];
    expect([one.spend(one.nonce), one.spend(one.nonce)]).toEqual([true, false]);
    expect([other.spend(one.nonce), other.spend(other.nonce)]).toEqual([false, false]);
    // What a socket was sent is good for that socket alone.
    const third = challenges.forSocket();
    expect([challenges.spend(third.nonce), third.spend(challenges.issue("10.0.0.1").nonce)]).toEqual([
      false,
      false,
    ]);
  });

  test("ends after half a minute, whatever the wall clock says", () => {
    const { challenges, clock } = start();
    const [early, late] = [challenges.forSocket(), challenges.forSocket()];
    clock.jump(3_600_000);
    clock.advance(29_999);
    expect(early.spend(early.nonce)).toBe(true);
    clock.advance(1);
    expect(late.spend(late.nonce)).toBe(false);
  });
});

describe("a challenge for REST", () => {
  test("is spent once, in time", () => {
    const { challenges, clock } = start();
    const issued = challenges.issue("10.0.0.1");
    const [ts, expires_at] = [clock.now(), clock.now() + 30_000];
    expect(issued).toEqual({ nonce: expect.any(String), server_id: "srv_1", ts, expires_at });
    expect(bytesOf(issued.nonce)).toBe(32);
    expect([challenges.spend(issued.nonce), challenges.spend(issued.nonce)]).toEqual([true, false]);
    const late = challenges.issue("10.0.0.1");
    clock.advance(30_000);
    expect(challenges.spend(late.nonce)).toBe(false);
    for (const never of ["", "__proto__", "x".repeat(43)]) expect(challenges.spend(never)).toBe(false);
  });

  test("an address has a few, all of them some more; what is spent or too old makes room", () => {
    const { challenges, clock } = start();
    const told = { code: "RATE_LIMITED", retry_after_ms: 30_000 };
    const first = challenges.issue("2001:db8::1");
    challenges.issue("2001:db8::2");
    // The same /64.
    expect(refusal(() => challenges.issue("2001:db8::3"))).toMatchObject({
      ...told,
      details: { kind: "challenges", what: "challenges_per_address", limit: 2 },
    });
    expect(challenges.spend(first.nonce)).toBe(true);
    challenges.issue("2001:db8::3");
    for (const address of ["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"]) challenges.issue(address);
    expect(refusal(() => challenges.issue("10.0.0.3"))).toMatchObject({
      ...told,
      details: { kind: "challenges", what: "challenges", limit: 6 },
    });
    clock.advance(30_000);
    challenges.issue("10.0.0.3");
    challenges.issue("2001:db8::1");
  });
});
