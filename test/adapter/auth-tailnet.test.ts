import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { SampledLog } from "../../src/core/sampled-log.ts";
import { isLocalAddress } from "../../src/auth/address.ts";
import { Tailnet } from "../../src/auth/tailnet.ts";
import { whois } from "../../src/auth/tailscaled.ts";
import { systemClock } from "../../src/clock.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { Misbehaviour, TestTailscaled } from "../support/tailscaled.ts";
import { startTailscaled } from "../support/tailscaled.ts";
import type { LogLine } from "./auth.fixture.ts";
import { memoryLog } from "./auth.fixture.ts";

const ADA = "100.101.102.103";
const ADA6 = "fd7a:115c:a1e0::2836:c301";
/** The gateway's own address on the tailnet, of Ada's machine. */
const OWN = "100.64.0.1";
const BOB = "100.64.0.7";
const CI = "100.64.0.9";
const OLD = "100.64.0.11";
const USERS = {
  "ada@example.com": { user: "ada", role: "admin" },
  "bob@github": { user: "bob", role: "viewer" },
  toString: { user: "eve", role: "admin" },
} as const;

let tailscaled: TestTailscaled;
let clock: ManualClock;
let lines: LogLine[];
let tailnet: Tailnet;
beforeEach(async () => {
  tailscaled = await startTailscaled({
    [ADA]: { login: "ada@example.com" },
    [ADA6]: { login: "ada@example.com" },
    [BOB]: { login: "bob@github" },
    [OWN]: { login: "ada@example.com" },
    "127.0.0.1": { login: "ada@example.com" },
    [CI]: { login: "tagged-devices", tags: ["tag:ci"] },
    [OLD]: { login: "ada@example.com", expired: true },
    "100.64.0.13": { login: "mallory@example.com" },
  });
  clock = manualClock();
  lines = [];
  tailnet = new Tailnet({
    socket: tailscaled.socket,
    users: USERS,
    isLocal: (address) => address === OWN || isLocalAddress(address),
    clock,
    log: new SampledLog(clock, memoryLog(lines)),
  });
});
afterEach(() => tailscaled[Symbol.asyncDispose]());

function identify(addr: string, login: string | null = null): Promise<Principal | string> {
  return tailnet.identify({ addr, login });
}

describe("whois", () => {
  test.each([
    [`${ADA}:4711`, "ada@example.com"],
    [`${ADA}:0`, "ada@example.com"],
    [`[${ADA6}]:4711`, "ada@example.com"],
    [`${CI}:1`, null],
    [`${OLD}:1`, null],
    ["192.168.1.5:1", null],
  ])("%s is %p", async (addr, login) => {
    expect(await whois(tailscaled.socket, addr, systemClock)).toBe(login);
    expect(tailscaled.asked).toEqual([addr]);
  });

  test.each([
    ["tags alone", { Node: { Tags: ["tag:x"] }, UserProfile: { LoginName: "ada@example.com" } }],
    ["the name of tagged machines alone", { Node: {}, UserProfile: { LoginName: "tagged-devices" } }],
    ["no login", { Node: {}, UserProfile: { LoginName: "" } }],
  ])("%s is nobody", async (_what, body) => {
    await tailscaled.misbehave({ body: JSON.stringify(body) });
    expect(await whois(tailscaled.socket, `${ADA}:1`, systemClock)).toBeNull();
  });

  const NOTHING = "its answer says nothing of a login";
  const wrong: [string, Misbehaviour, string][] = [
    ["no HTTP", { raw: "SSH-2.0-OpenSSH_9.6\r\n" }, ""],
    ["half an answer", { raw: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{" }, ""],
    ["an error", { body: "whois access denied\n", status: 403 }, "it answers HTTP 403"],
    [
      "a redirect",
      { raw: "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n" },
      "it answers HTTP 302",
    ],
    ["no JSON", { body: "<html>" }, NOTHING],
    ["JSON of something else", { body: "[1]" }, NOTHING],
    ["null", { body: "null" }, NOTHING],
    ["no profile", { body: '{"Node":{}}' }, NOTHING],
    ["no machine", { body: '{"UserProfile":{"LoginName":"ada@example.com"}}' }, NOTHING],
    ["a login that is no text", { body: '{"Node":{},"UserProfile":{"LoginName":{"a":1}}}' }, NOTHING],
    [
      "a login without end",
      { body: JSON.stringify({ Node: {}, UserProfile: { LoginName: "a".repeat(300) } }) },
      NOTHING,
    ],
    ["too much", { body: `{"Node":{"x":"${"x".repeat(300_000)}"}}` }, "an answer of more than 262144 bytes"],
    ["no end", "endless", "an answer of more than 262144 bytes"],
    ["what grows when it is unpacked", { raw: zipped() }, NOTHING],
  ];
  test.each(wrong)("%s is no answer", async (_what, how, message) => {
    await tailscaled.misbehave(how);
    const asked = whois(tailscaled.socket, `${ADA}:1`, systemClock);
    await expect(asked).rejects.toMatchObject({
      name: "NoAnswer",
      message: message === "" ? expect.any(String) : message,
    });
  });

  test("an absent socket is no answer", async () => {
    await tailscaled.stop();
    const asked = whois(tailscaled.socket, `${ADA}:1`, systemClock);
    await expect(asked).rejects.toMatchObject({ name: "NoAnswer", message: "ENOENT", silent: true });
  });

  test("silence has a deadline", async () => {
    await tailscaled.misbehave("silent");
    const asked = whois(tailscaled.socket, `${ADA}:1`, clock);
    clock.advance(2_000);
    await expect(asked).rejects.toMatchObject({ message: "no answer within 2000 ms", silent: true });
  });
});

describe("a peer", () => {
  test("that is listed is its user, with the scopes of its role", async () => {
    expect(await identify(`${BOB}:4711`)).toEqual({
      user: "bob",
      scopes: new Set(["chat.read"]),
      method: "tailscale",
      credential: null,
      expires_at: null,
      peer: { addr: `${BOB}:4711`, login: "bob@github" },
    } as Principal);
    expect(await identify(`[${ADA6}]:1`)).toMatchObject({ user: "ada" });
  });

  test.each([["100.64.0.13:1"], [`${CI}:1`], [`${OLD}:1`], ["192.168.1.5:1"]])(
    "%s is a stranger",
    async (addr) => {
      expect(await identify(addr)).toBe("stranger");
    },
  );

  test.each([OWN, "127.0.0.1", "127.9.9.9", "[::1]"])(
    "at %s, which is this machine, is a stranger",
    async (address) => {
      expect(await identify(`${address}:4711`)).toBe("stranger");
      expect(await identify(`${address}:0`, "ada@example.com")).toBe("stranger");
      expect(tailscaled.asked).toEqual([]);
    },
  );

  test("that is not let in is told now and then, with the login that could be listed", async () => {
    for (let port = 0; port < 5; port++) await identify(`100.64.0.13:${port}`);
    expect(lines).toEqual([
      {
        level: "warn",
        message: expect.stringContaining("auth.tailscale.users"),
        addr: "100.64.0.13:0",
        login: "mallory@example.com",
      },
    ]);
    await identify(`${ADA}:0`, `bob@github${"x".repeat(200)}`);
    expect(lines[1]).toMatchObject({
      addr: `${ADA}:0`,
      login: "ada@example.com",
      said: expect.stringMatching(/^.{100}$/),
    });
  });

  test("of a login that an object has by itself is a stranger", async () => {
    tailscaled.machines.set(ADA, { login: "constructor" }).set(BOB, { login: "__proto__" });
    expect(await identify(`${ADA}:1`)).toBe("stranger");
    expect(await identify(`${BOB}:1`)).toBe("stranger");
  });

  test("behind a proxy counts only where the proxy says the same", async () => {
    expect(await identify(`${ADA}:0`, "ada@example.com")).toMatchObject({ user: "ada" });
    for (const login of ["bob@github", "ADA@example.com", "ada@example.com, bob@github", "tagged-devices"]) {
      expect(await identify(`${ADA}:0`, login)).toBe("stranger");
    }
    expect(await identify(`${CI}:0`, "tagged-devices")).toBe("stranger");
  });
});

describe("answers", () => {
  test("count for a minute, those of strangers too", async () => {
    for (const addr of [`${ADA}:1`, "100.64.0.99:1"]) {
      await identify(addr);
      clock.advance(59_999);
      await identify(addr);
      expect(tailscaled.asked).toEqual([addr]);
      clock.advance(1);
      await identify(addr);
      expect(tailscaled.asked).toEqual([addr, addr]);
      tailscaled.asked.length = 0;
    }
  });

  test("are one for those who ask at once, and of each port of its own", async () => {
    await Promise.all([identify(`${ADA}:1`), identify(`${ADA}:1`), identify(`${ADA}:2`)]);
    expect(tailscaled.asked.toSorted()).toEqual([`${ADA}:1`, `${ADA}:2`]);
  });

  test("are kept of so many peers; the oldest goes", async () => {
    await identify(`${ADA}:1`);
    const many = Array.from({ length: 4_096 }, (_, port) => `${BOB}:${port}`);
    for (let from = 0; from < many.length; from += 64) {
      await Promise.all(many.slice(from, from + 64).map((addr) => identify(addr)));
    }
    expect(tailscaled.asked).toHaveLength(4_097);
    await identify(many.at(-1) ?? "");
    expect(tailscaled.asked).toHaveLength(4_097);
    await identify(`${ADA}:1`);
    expect(tailscaled.asked).toHaveLength(4_098);
  }, 30_000);

  test("are asked for a few at once; too many who wait are not known", async () => {
    const ports = Array.from({ length: 200 }, (_, port) => port);
    const found = await Promise.all(ports.map((port) => identify(`${ADA}:${port}`)));
    expect(tailscaled.most).toBeWithin(2, 5);
    const known = found.filter((each) => typeof each === "object");
    expect(known).toHaveLength(68);
    expect(found.filter((each) => each === "unknown")).toHaveLength(132);
  });

  test("that do not come are told now and then, and end nobody's wait late", async () => {
    await tailscaled.misbehave("silent");
    const many = Promise.all(Array.from({ length: 50 }, (_, port) => identify(`${ADA}:${port}`)));
    // Four are asked, the others do not wait for a silence of their own.
    clock.advance(2_000);
    expect(await many).toEqual(Array.from({ length: 50 }, () => "unknown"));
    const told = (): LogLine[] =>
      lines.filter(({ message }) => message.startsWith("tailscaled does not say"));
    expect(told()).toMatchObject([
      { level: "warn", socket: tailscaled.socket, reason: "no answer within 2000 ms" },
    ]);
    await tailscaled.misbehave(null);
    expect(await identify(`${ADA}:1`)).toBe("unknown");
    clock.advance(1_000);
    expect(await identify(`${ADA}:1`)).toMatchObject({ user: "ada" });
    await tailscaled.stop();
    clock.advance(60_000);
    expect(await identify(`${ADA}:1`)).toBe("unknown");
    expect(told()).toHaveLength(2);
    expect(told()[1]).toMatchObject({ reason: "ENOENT", unsaid: 50 });
  });
});

describe("looking again", () => {
  const peer = { addr: `${ADA}:1`, login: "ada@example.com" };

  test("the same login is the same, another or none is not", async () => {
    await identify(peer.addr);
    expect(await tailnet.recheck(peer)).toBe("same");
    tailscaled.machines.set(ADA, { login: "bob@github" });
    expect(await tailnet.recheck(peer)).toBe("same");
    clock.advance(60_000);
    expect(await tailnet.recheck(peer)).toBe("other");
    tailscaled.machines.delete(ADA);
    clock.advance(60_000);
    expect(await tailnet.recheck(peer)).toBe("other");
  });

  test("a tailscaled that is away for a while is no reason, for longer it is", async () => {
    await identify(peer.addr);
    await tailscaled.stop();
    clock.advance(61_000);
    expect(await tailnet.recheck(peer)).toBe("same");
    clock.advance(58_999);
    expect(await tailnet.recheck(peer)).toBe("same");
    clock.advance(1);
    expect(await tailnet.recheck(peer)).toBe("unknown");
    tailscaled.start();
    clock.advance(1_000);
    expect(await tailnet.recheck(peer)).toBe("same");
  });
});

function zipped(): string {
  const answer = JSON.stringify({ Node: {}, UserProfile: { LoginName: "ada@example.com" } });
  const body = Buffer.from(Bun.gzipSync(answer)).toString("latin1");
  return `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
