import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { isLocalAddress } from "../../src/auth/address.ts";
import type { Doors } from "../../src/auth/doors.ts";
import { createDoors } from "../../src/auth/doors.ts";

const ADA = "100.101.102.103";
const LOGIN = "ada@example.com";
const PROXY = "10.0.0.2";

const doors: Doors = createDoors({
  hosts: ["0.0.0.0"],
  ports: () => [1],
  public_url: "",
  allowed_origins: [],
  trusted_proxies: ["127.0.0.1", "10.0.0.0/8"],
});

function tailnetOf(address: string, headers: Record<string, string> = {}): unknown {
  return doors.tailnetOf({ address, port: 4711 }, new Headers(headers));
}

const SAID = { "tailscale-user-login": LOGIN, "x-forwarded-for": ADA };

describe("a peer that comes by itself", () => {
  test.each([
    [ADA, `${ADA}:4711`],
    [`::ffff:${ADA}`, `${ADA}:4711`],
    ["fd7a:115c:a1e0::2836:c301", "[fd7a:115c:a1e0::2836:c301]:4711"],
    ["fe80::1%eth0", "[fe80::1]:4711"],
    ["192.168.1.66", "192.168.1.66:4711"],
  ])("%s is asked about as %s", (address, addr) => {
    expect(tailnetOf(address)).toEqual({ addr, login: null });
    // Whatever it says of itself.
    const forged = { ...SAID, "x-real-ip": ADA, "tailscale-user-name": "Ada", forwarded: `for=${ADA}` };
    expect(tailnetOf(address, forged)).toEqual({ addr, login: null });
  });

  test.each(["", "nonsense"])("%p is nobody", (address) => {
    expect(tailnetOf(address)).toBeNull();
    expect(tailnetOf(address, SAID)).toBeNull();
  });

  test("whose address is not known is nobody", () => {
    expect(doors.tailnetOf(null, new Headers(SAID))).toBeNull();
  });
});

describe("a proxy that is trusted", () => {
  test.each([
    ["127.0.0.1", SAID, `${ADA}:0`],
    [PROXY, { ...SAID, "x-forwarded-for": `${ADA}, 10.1.1.1` }, `${ADA}:0`],
    [PROXY, { ...SAID, "x-forwarded-for": "[fd7a::5]:99" }, "[fd7a::5]:0"],
    [PROXY, { ...SAID, "x-real-ip": ADA }, `${ADA}:0`],
    // What the client wrote stands left of what the proxy saw.
    [PROXY, { ...SAID, "x-forwarded-for": `${ADA}, 192.168.1.66` }, "192.168.1.66:0"],
  ])("%s with %p", (address, headers, addr) => {
    expect(tailnetOf(address, headers)).toEqual({ addr, login: LOGIN });
  });

  test.each([
    [{}],
    [{ "x-forwarded-for": ADA }],
    [{ "tailscale-user-login": LOGIN }],
    [{ "tailscale-user-login": "", "x-forwarded-for": ADA }],
    [{ ...SAID, "x-forwarded-for": "nonsense" }],
    [{ ...SAID, "x-forwarded-for": `${ADA}, nonsense` }],
    [{ ...SAID, "x-forwarded-for": "10.1.1.1, 10.1.1.2" }],
    [{ ...SAID, "x-forwarded-for": "127.0.0.1" }],
    [{ ...SAID, "x-real-ip": "192.168.1.66" }],
    [{ ...SAID, "x-real-ip": "nonsense" }],
    [{ "tailscale-user-login": LOGIN, "x-real-ip": ADA }],
    [{ "tailscale-user-login": LOGIN, forwarded: `for=${ADA}` }],
  ])("that says %p says nobody, and is nobody itself", (headers) => {
    expect(tailnetOf(PROXY, headers as unknown as Record<string, string>)).toBeNull();
  });
});

test("this machine's own addresses are those of its interfaces", () => {
  const own = Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []);
  expect(own.filter((address) => !isLocalAddress(address))).toEqual([]);
  for (const address of ["127.1.2.3", "::1", "::ffff:127.0.0.1"]) expect(isLocalAddress(address)).toBe(true);
  for (const address of [ADA, "8.8.8.8", "fd7a::1", "", "localhost"])
    expect(isLocalAddress(address)).toBe(false);
});
