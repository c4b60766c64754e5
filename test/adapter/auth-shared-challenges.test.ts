import { afterEach, beforeEach, expect, test } from "bun:test";
import { createChallenges } from "../../src/auth/challenges.ts";
import { createSharedChallenges } from "../../src/auth/shared-challenges.ts";
import type { Challenger } from "../../src/core/challenge.ts";
import { Journal } from "../../src/core/journal.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Home } from "./auth.fixture.ts";
import { memoryLog, newHome, refusal } from "./auth.fixture.ts";

const limits = { challenges: 6, challenges_per_address: 2, challenge_ttl_ms: 30_000 };
const KEY = Buffer.alloc(32, 7);
const ADDRESS = "10.0.0.1";

let home: Home;
beforeEach(async () => void (home = await newHome()));
afterEach(async () => home[Symbol.asyncDispose]());

/** One of several nodes on the store of `home`. */
function node(key = KEY): Challenger {
  const { clock, store } = home;
  const nothing = (): void => undefined;
  const fatal = (error: unknown): void => {
    throw error;
  };
  const log = memoryLog([]);
  const hooks = { publish: nothing, onStorage: nothing, fatal };
  const journal = new Journal({ store, clock, limits: DEFAULT_LIMITS, log, ...hooks });
  const own = createChallenges({ clock, limits, server_id: () => "srv_1" });
  return createSharedChallenges({ journal, clock, limits, own, key: () => key });
}

test("what one node gives out is taken by any, once", async () => {
  const [a, b, c] = [node(), node(), node()];
  const { nonce, server_id, ts, expires_at } = a.issue(ADDRESS);
  expect([server_id, ts, expires_at]).toEqual(["srv_1", home.clock.now(), home.clock.now() + 30_000]);
  expect(await b.spend(nonce)).toBe(true);
  for (const again of [a, b, c]) expect(await again.spend(nonce)).toBe(false);
  // What a socket was sent is good for that socket alone.
  expect(await b.spend(a.forSocket().nonce)).toBe(false);
});

test("of those who show the same one at once, one has it", async () => {
  const nodes = [node(), node(), node()];
  const { nonce } = node().issue(ADDRESS);
  home.store.hold();
  const shown = [...nodes, ...nodes].map((each) => each.spend(nonce));
  home.store.release();
  expect((await Promise.all(shown)).filter(Boolean)).toHaveLength(1);
});

test("it has to be ours to the last bit", async () => {
  const [a, b] = [node(), node(Buffer.alloc(32, 8))];
  const { nonce } = a.issue(ADDRESS);
  expect(await b.spend(nonce)).toBe(false);
  const bytes = Buffer.from(nonce, "base64url");
  for (const at of [0, 31, 32, 37, 38, bytes.length - 1]) {
    const other = Buffer.from(bytes);
    other[at] = (other[at] ?? 0) ^ 1;
    expect(await a.spend(other.toString("base64url"))).toBe(false);
  }
  for (const other of ["", "__proto__", `${nonce}=`, `${nonce}A`, ` ${nonce}`, nonce.slice(0, -1)]) {
    expect(await a.spend(other)).toBe(false);
  }
  expect(home.store.committed).toEqual([]);
  expect(await a.spend(nonce)).toBe(true);
});

test("it ends after half a minute, and so does one of a node whose clock is far ahead", async () => {
  const [a, b] = [node(), node()];
  const [early, late] = [a.issue(ADDRESS), a.issue(ADDRESS)];
  home.clock.advance(29_999);
  expect(await b.spend(early.nonce)).toBe(true);
  home.clock.advance(1);
  expect(await b.spend(late.nonce)).toBe(false);
  const ahead = a.issue("10.0.0.2");
  home.clock.jump(-60_001);
  expect(await b.spend(ahead.nonce)).toBe(false);
  home.clock.jump(1);
  expect(await b.spend(ahead.nonce)).toBe(true);
});

test("what was used is kept until it counts nowhere, and no longer", async () => {
  const [a, b] = [node(), node()];
  const { nonce } = a.issue(ADDRESS);
  expect(await a.spend(nonce)).toBe(true);
  const kept = (): Promise<unknown> => home.store.record("challenge", nonce);
  home.clock.advance(29_999);
  await home.store.expire(home.clock.now(), 100);
  expect(await kept()).not.toBeNull();
  expect(await b.spend(nonce)).toBe(false);
  home.clock.advance(120_001);
  await home.store.expire(home.clock.now(), 100);
  expect(await kept()).toBeNull();
  expect(await b.spend(nonce)).toBe(false);
});

test("a used one keeps its place among those of its address, so that records are bounded", async () => {
  const a = node();
  for (let i = 0; i < limits.challenges_per_address; i++) {
    expect(await a.spend(a.issue(ADDRESS).nonce)).toBe(true);
  }
  expect(await refusal(Promise.resolve().then(() => a.issue(ADDRESS)))).toMatchObject({
    code: "RATE_LIMITED",
    details: { kind: "challenges", what: "challenges_per_address" },
  });
  home.clock.advance(30_000);
  a.issue(ADDRESS);
});

test("where the store takes no writes nobody is let in, and nothing is used twice afterwards", async () => {
  const [a, b] = [node(), node()];
  const [one, other] = [a.issue(ADDRESS).nonce, a.issue(ADDRESS).nonce];
  home.store.refuse(true);
  expect(await refusal(Promise.resolve(b.spend(one)))).toMatchObject({
    code: "UNAVAILABLE",
    details: { kind: "storage" },
  });
  home.store.refuse(false);
  expect(await b.spend(one)).toBe(false);
  expect(await a.spend(other)).toBe(true);
});
