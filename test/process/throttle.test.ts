import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { newDevice } from "../support/device.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { Told, Way } from "./throttle.ways.ts";
import { basic, bearer, from, otherWays, TOKEN_WAYS } from "./throttle.ways.ts";

const PASSWORD = "correct hörse battery";
/** Wrong ones of one address that are looked at. */
const BURST = 10;

const device = newDevice();
const OTHER_WAYS = otherWays(device);
const WAYS: Readonly<Record<string, Way>> = { ...TOKEN_WAYS, ...OTHER_WAYS };

async function post(gateway: RunningGateway, method: string, params: object): Promise<void> {
  const response = await fetch(`${gateway.url}/api/v1/rpc/${method}`, {
    method: "POST",
    headers: { ...bearer(gateway.token), "content-type": "application/json" },
    body: JSON.stringify(params),
  });
  expect([method, response.status]).toEqual([method, 200]);
}

const show = TOKEN_WAYS["REST, Bearer"] as Way;
const LIMITED = { status: 429, kind: "logins" };
const WRONG = Array.from({ length: BURST }, () => ({ status: 401 }));

/** Every kind of credential is taken, and a proxy on this machine says where each request comes from. */
async function startOpen(more: object = {}): Promise<RunningGateway> {
  const auth = { mode: "multi", modes: ["token", "password", "device"], password: PASSWORD };
  const limits = { max_unauthenticated_per_address: 64 };
  const gateway = await startGateway({
    config: { auth, limits, server: { trusted_proxies: ["127.0.0.1"], ...more } },
  });
  await post(gateway, "session.create", { session_id: "s" });
  await post(gateway, "device.register", {
    public_key: device.public_key,
    user: "owner",
    scopes: ["chat.read"],
  });
  return gateway;
}

async function throttled(gateway: RunningGateway): Promise<number> {
  const response = await fetch(`${gateway.url}/api/v1/stats`, { headers: bearer(gateway.token) });
  return ((await response.json()) as { throttled: number }).throttled;
}

/** Guesses from one address until it has to wait. */
async function exhaust(gateway: RunningGateway, address: string): Promise<Told[]> {
  const told: Told[] = [];
  for (let i = 0; i < BURST + 1; i++) told.push(await show(gateway, from(address)));
  return told;
}

async function letIn(gateway: RunningGateway, headers: Record<string, string>): Promise<void> {
  for (const [way, show] of Object.entries(TOKEN_WAYS)) {
    const { status } = await show(gateway, headers, gateway.token);
    expect([way, [101, 200, 201].includes(status)]).toEqual([way, true]);
  }
}

describe("a guess", () => {
  let gateway: RunningGateway;
  beforeAll(async () => {
    gateway = await startOpen();
  });
  afterAll(() => gateway[Symbol.asyncDispose]());

  const all = Object.entries(WAYS);
  test.each([
    ["10.1.0.1", all.slice(0, BURST)],
    ["10.1.0.2", all.slice(-BURST)],
  ] as const)("from %s is one whatever it is and wherever it is shown", async (address, some) => {
    for (const [way, show] of some)
      expect([way, (await show(gateway, from(address))).status]).toEqual([way, 401]);
    const before = await throttled(gateway);
    for (const [way, show] of all) {
      const told = await show(gateway, from(address));
      expect([way, told]).toEqual([way, { status: 429, retry_after_ms: expect.any(Number), kind: "logins" }]);
    }
    expect((await throttled(gateway)) - before).toBe(all.length);
    await letIn(gateway, from(address));
    // Another address has its own ten.
    expect(await exhaust(gateway, `${address}0`)).toMatchObject([...WRONG, LIMITED]);
  });

  test("is no other one for coming from a neighbour, or through more proxies than there are", async () => {
    await exhaust(gateway, "2001:db8:0:1::1");
    for (const neighbour of [
      "2001:db8:0:1::2",
      "2001:DB8:0:1:ffff:ffff:ffff:ffff",
      "[2001:db8:0:1::3]:4711",
    ]) {
      expect(await show(gateway, from(neighbour))).toMatchObject(LIMITED);
    }
    expect(await show(gateway, from("2001:db8:0:2::1"))).toMatchObject({ status: 401 });
    await exhaust(gateway, "10.1.2.1");
    for (const [i, forwarded] of [
      "::ffff:10.1.2.1",
      "::ffff:a01:201",
      "10.1.2.1:4711",
      // The proxy adds the last one; what stands before it is what the client said.
      "10.9.9.1, 10.1.2.1",
      "10.9.9.2, , unknown, 10.1.2.1",
      `${"10.9.9.3, ".repeat(500)}10.1.2.1`,
      "10.9.9.4, 10.1.2.1, 127.0.0.1",
    ].entries()) {
      const more = { ...from(forwarded), "x-real-ip": "10.1.2.1", forwarded: `for=10.9.7.${i}` };
      expect([forwarded.slice(-40), await show(gateway, more)]).toMatchObject([
        forwarded.slice(-40),
        LIMITED,
      ]);
    }
    await letIn(gateway, from("10.1.2.1"));
  });

  test("is the proxy's own where the two headers disagree, whichever of them was forged", async () => {
    await exhaust(gateway, "127.0.0.1");
    for (let i = 0; i < 3; i++) {
      const forged = [
        { ...from("10.1.3.1"), "x-real-ip": `10.9.8.${i}` },
        { ...from(`10.9.8.${i}`), "x-real-ip": "10.1.3.1" },
      ];
      for (const headers of forged) expect(await show(gateway, headers)).toMatchObject(LIMITED);
    }
    await letIn(gateway, from("10.1.3.1"));
  });
});

test("headers that nobody was asked to trust say nothing, and this machine is an address like any other", async () => {
  await using gateway = await startOpen({ trusted_proxies: [] });
  for (let i = 0; i < BURST; i++) await show(gateway, from(`10.1.0.${i}`));
  for (const [way, ask] of Object.entries(WAYS)) {
    const more = { ...from("10.1.1.1"), "x-real-ip": "10.1.1.2", forwarded: "for=10.1.1.3" };
    expect([way, await ask(gateway, more)]).toMatchObject([way, LIMITED]);
  }
  await letIn(gateway, from("10.1.1.1"));
});

describe("a restart", () => {
  test.each<["SIGTERM" | "SIGKILL", number]>([
    ["SIGTERM", 0],
    // What changed is written every five seconds.
    ["SIGKILL", 6_000],
  ])("by %s lets nobody begin anew", async (signal, written_ms) => {
    await using gateway = await startOpen();
    await exhaust(gateway, "10.1.0.1");
    await Bun.sleep(written_ms);
    gateway.kill(signal);
    await gateway.restart();
    const statuses: number[] = [];
    for (const ask of Object.values(WAYS)) statuses.push((await ask(gateway, from("10.1.0.1"))).status);
    // Where the delay of a second is over, one more is looked at, and then the next delay is longer.
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(2);
    expect(statuses.at(-1)).toBe(429);
    await letIn(gateway, from("10.1.0.1"));
    expect((await fetch(`${gateway.url}/api/v1/stats`, { headers: basic(PASSWORD) })).status).toBe(200);
    expect(await show(gateway, from("10.1.0.2"))).toMatchObject({ status: 401 });
  });
});

/** Rounds at the most: whoever else uses the machine is noticed too, what the guesses do they do every time. */
const ROUNDS = 4;
const SAMPLES = 40;

test(
  "twenty guesses a second from the same address keep no right token waiting, over any transport",
  async () => {
    await using gateway = await startOpen({ trusted_proxies: [] });
    const ways = Object.entries(TOKEN_WAYS);
    const p99 = async (enough: () => boolean): Promise<number[]> => {
      const took = ways.map((): number[] => []);
      for (let i = 0; i < SAMPLES || !enough(); i++) {
        await Bun.sleep(20);
        for (const [at, [way, ask]] of ways.entries()) {
          const began = performance.now();
          const { status } = await ask(gateway, {}, gateway.token);
          took[at]?.push(performance.now() - began);
          expect([way, [101, 200, 201].includes(status)]).toEqual([way, true]);
        }
      }
      return took.map((all) => all.toSorted((a, b) => a - b)[Math.ceil(all.length * 0.99) - 1] ?? Number.NaN);
    };
    let guessing = true;
    const seen = new Map<number, number>();
    const guess = async (): Promise<void> => {
      const all = Object.values(WAYS);
      for (let i = 0; guessing; i++) {
        const { status } = await (all[i % all.length] as Way)(gateway, {});
        seen.set(status, (seen.get(status) ?? 0) + 1);
        await Bun.sleep(50);
      }
    };
    const rounds: string[] = [];
    let calm = false;
    for (let round = 0; round < ROUNDS && !calm; round++) {
      const without = await p99(() => true);
      guessing = true;
      const guesses = guess();
      const told = (seen.get(429) ?? 0) + SAMPLES;
      const during = await p99(() => (seen.get(429) ?? 0) >= told);
      guessing = false;
      await guesses;
      calm = during.every((late, at) => late < 3 * (without[at] ?? 0) + 30);
      rounds.push(
        ways
          .map(([way], at) => `${way} ${without[at]?.toFixed(1)} → ${during[at]?.toFixed(1)} ms`)
          .join(", "),
      );
    }
    expect([calm, rounds]).toEqual([true, rounds]);
    // They were guesses, and most of them were told to wait.
    expect(seen.get(401)).toBeGreaterThanOrEqual(BURST);
    expect(seen.get(429)).toBeGreaterThan(0);
    const lines = gateway.log.filter(({ msg }) => msg === "a login was refused");
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThan(10);
    expect(await throttled(gateway)).toBe(seen.get(429) ?? 0);
  },
  { timeout: 120_000 },
);
