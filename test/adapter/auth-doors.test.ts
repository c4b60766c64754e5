import { describe, expect, test } from "bun:test";
import type { DoorsOptions } from "../../src/auth/doors.ts";
import { createDoors } from "../../src/auth/doors.ts";
import type { Doors } from "../../src/transport/context.ts";

const PORT = 18_789;

function doors(changes: Partial<DoorsOptions> = {}): Doors {
  return createDoors({
    hosts: ["127.0.0.1"],
    ports: () => [PORT],
    public_url: "",
    allowed_origins: [],
    trusted_proxies: [],
    ...changes,
  });
}

describe("Host", () => {
  const local = [
    `localhost:${PORT}`,
    "localhost",
    `LOCALHOST:${PORT}`,
    `127.0.0.1:${PORT}`,
    "127.0.0.1",
    `[::1]:${PORT}`,
  ];
  const cases: { name: string; options: Partial<DoorsOptions>; in: string[]; out: (string | null)[] }[] = [
    {
      name: "on loopback",
      options: {},
      in: [...local, "[::1]", `localhost.:${PORT}`, `[0:0:0:0:0:0:0:1]:${PORT}`],
      out: [
        null,
        "",
        "evil.example",
        `evil.example:${PORT}`,
        `localhost.evil.example:${PORT}`,
        `evil-localhost:${PORT}`,
        "localhost:1",
        "127.0.0.1:80",
        `192.168.1.5:${PORT}`,
        `0.0.0.0:${PORT}`,
        `127.1:${PORT}`,
        `2130706433:${PORT}`,
        `0x7f.1:${PORT}`,
        `user@localhost:${PORT}`,
        `localhost:${PORT}/`,
        `localhost:${PORT} `,
        "localhost:",
        `localhost:${PORT}:1`,
        "localhost:99999",
        "::1",
        "[::1",
        "[::1%25eth0]",
        "localhost\r\nX: y",
        `localhost,evil.example`,
      ],
    },
    {
      name: "on an address of its own",
      options: { hosts: ["192.168.1.5", "fd00:0::5", "agent.lan"], ports: () => [PORT, 18_790] },
      in: [
        ...local,
        `192.168.1.5:${PORT}`,
        "192.168.1.5:18790",
        `[fd00::5]:${PORT}`,
        `Agent.lan:${PORT}`,
        "agent.lan",
      ],
      out: [`192.168.1.6:${PORT}`, "192.168.1.5:1", `[fd00::6]:${PORT}`, `evil.lan:${PORT}`],
    },
    {
      name: "on every IPv4 address",
      options: { hosts: ["0.0.0.0"] },
      in: [...local, `192.168.1.5:${PORT}`, "10.0.0.1:8080", "[fd00::6]", "127.0.0.1:8080"],
      out: ["evil.example", `evil.example:${PORT}`, `10.0.0.1.evil.example:${PORT}`, "localhost:1", null],
    },
    {
      name: "on every address",
      options: { hosts: ["::"] },
      in: [...local, `192.168.1.5:${PORT}`, `[fd00::6]:${PORT}`],
      out: ["evil.example", `host.lan:${PORT}`],
    },
    {
      name: "behind public_url and allowed_origins",
      options: {
        public_url: "https://Agent.example.com/bus/",
        allowed_origins: ["https://app.example.com", "capacitor://localhost"],
      },
      in: [...local, "agent.example.com", "agent.example.com:443", "AGENT.example.com.", "app.example.com"],
      out: ["example.com", "x.agent.example.com", "agent.example.com.evil.example", "localhost:1"],
    },
  ];

  describe.each(cases)("$name", ({ options, in: admitted, out }) => {
    test.each(admitted)("%p comes in", (host) => {
      expect(doors(options).checkHost(host)).toBeNull();
    });
    test.each(out)("%p is refused", (host) => {
      const error = doors(options).checkHost(host);
      expect(error?.http).toBe(421);
      expect(error?.toBody()).toMatchObject({ code: "FORBIDDEN", status: 4003, details: { kind: "host" } });
      expect(error?.message).toContain("server.public_url");
      expect(error?.message).not.toMatch(/[\r\n]/);
    });
  });

  test("the ports are those of the moment", () => {
    const ports: number[] = [];
    const door = doors({ ports: () => ports });
    expect(door.checkHost("localhost:5000")).not.toBeNull();
    ports.push(5_000);
    expect(door.checkHost("localhost:5000")).toBeNull();
  });
});

describe("Origin", () => {
  const OWN = `localhost:${PORT}`;
  interface Case {
    readonly headers: Record<string, string>;
    readonly options?: Partial<DoorsOptions>;
    readonly host?: string;
    readonly url?: string;
  }
  const behind = {
    public_url: "https://agent.example.com",
    allowed_origins: ["https://app.example.com", "capacitor://localhost"],
  };
  const check = ({ headers, options, host = OWN, url = `http://${OWN}/ws` }: Case) =>
    doors(options).checkOrigin(new Request(url, { headers: { host, ...headers } }));

  const admitted: Case[] = [
    { headers: {} },
    { headers: { "sec-fetch-site": "same-origin" } },
    { headers: { "sec-fetch-site": "none" } },
    { headers: { origin: `http://${OWN}` } },
    { headers: { origin: `http://${OWN}`, cookie: "a=b", "sec-fetch-site": "same-origin" } },
    { headers: { origin: "http://localhost" }, host: "localhost" },
    { headers: { origin: `http://[::1]:${PORT}` }, host: `[::1]:${PORT}` },
    { headers: { origin: `https://${OWN}` }, url: `https://${OWN}/ws` },
    {
      headers: { origin: "http://192.168.1.5:8080" },
      host: "192.168.1.5:8080",
      options: { hosts: ["0.0.0.0"] },
    },
    { headers: { origin: "https://agent.example.com" }, host: "agent.example.com", options: behind },
    { headers: { origin: "https://agent.example.com" }, host: OWN, options: behind },
    { headers: { origin: "https://app.example.com", "sec-fetch-site": "cross-site" }, options: behind },
    { headers: { origin: "capacitor://localhost" }, options: behind },
    {
      headers: { origin: "https://app.example.com" },
      options: { allowed_origins: ["HTTPS://App.example.com:443/"] },
    },
  ];
  test.each(admitted)("comes in: %j", (each) => {
    expect(check(each)).toBeNull();
  });

  const refused: Case[] = [
    { headers: { origin: "null" } },
    { headers: { origin: "null" }, options: behind },
    { headers: { origin: "https://evil.example" } },
    { headers: { origin: "https://evil.example" }, host: "evil.example" },
    { headers: { origin: "http://evil.example" }, host: "evil.example" },
    { headers: { origin: "http://localhost:3000" } },
    { headers: { origin: "http://localhost" } },
    { headers: { origin: `https://${OWN}` } },
    { headers: { origin: `http://127.0.0.1:${PORT}` } },
    { headers: { origin: `http://${OWN}.evil.example` } },
    { headers: { origin: `http://${OWN}/` } },
    { headers: { origin: `http://${OWN}, http://evil.example` } },
    { headers: { origin: `http://evil@${OWN}` } },
    { headers: { origin: "http://app.example.com" }, options: behind },
    { headers: { origin: "https://app.example.com:8443" }, options: behind },
    { headers: { origin: "https://x.app.example.com" }, options: behind },
    { headers: { origin: "https://app.example.com.evil.example" }, options: behind },
    { headers: { cookie: "a=b" } },
    { headers: { "sec-fetch-site": "cross-site" } },
    { headers: { "sec-fetch-site": "same-site" } },
    { headers: { "sec-fetch-site": "cross-site" }, options: behind },
  ];
  test.each(refused)("is refused: %j", (each) => {
    expect(check(each)?.toBody()).toMatchObject({
      code: "FORBIDDEN",
      status: 4003,
      details: { kind: "origin" },
    });
  });

  test("only allowed origins get CORS, exactly", () => {
    const door = doors(behind);
    expect(door.corsOrigin("https://app.example.com")).toBe("https://app.example.com");
    for (const origin of [
      null,
      "null",
      "",
      "https://agent.example.com",
      "https://APP.example.com",
      `http://${OWN}`,
    ]) {
      expect(door.corsOrigin(origin)).toBeNull();
    }
  });
});

describe("the client's address", () => {
  const proxies = { trusted_proxies: ["10.0.0.0/8", "127.0.0.1", "fd00::/8", "::1"] };
  const cases: {
    peer: string;
    headers?: Record<string, string>;
    is: string;
    options?: Partial<DoorsOptions>;
  }[] = [
    { peer: "203.0.113.9", is: "203.0.113.9" },
    { peer: "::ffff:203.0.113.9", is: "203.0.113.9" },
    { peer: "FE80:0::1%eth0", is: "fe80::1" },
    {
      peer: "203.0.113.9",
      headers: { "x-forwarded-for": "1.1.1.1", "x-real-ip": "1.1.1.1" },
      is: "203.0.113.9",
    },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "1.1.1.1" }, is: "127.0.0.1", options: {} },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "1.1.1.1" }, is: "1.1.1.1" },
    { peer: "::ffff:127.0.0.1", headers: { "x-forwarded-for": "1.1.1.1" }, is: "1.1.1.1" },
    { peer: "::1", headers: { "x-forwarded-for": "2001:DB8:0::1" }, is: "2001:db8::1" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "6.6.6.6, 1.1.1.1" }, is: "1.1.1.1" },
    {
      peer: "127.0.0.1",
      headers: { "x-forwarded-for": "6.6.6.6, 1.1.1.1, 10.2.3.4,fd12::1" },
      is: "1.1.1.1",
    },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "10.9.9.9, 10.2.3.4" }, is: "10.9.9.9" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "1.1.1.1:4711, [fd00::2]:80" }, is: "1.1.1.1" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "::ffff:1.1.1.1" }, is: "1.1.1.1" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "1.1.1.1, unknown, 10.2.3.4" }, is: "10.2.3.4" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "unknown" }, is: "127.0.0.1" },
    { peer: "127.0.0.1", headers: { "x-forwarded-for": "" }, is: "127.0.0.1" },
    { peer: "127.0.0.1", headers: { "x-real-ip": "1.1.1.1" }, is: "1.1.1.1" },
    { peer: "127.0.0.1", headers: { "x-real-ip": "<script>" }, is: "127.0.0.1" },
    { peer: "127.0.0.1", headers: { "x-real-ip": "1.1.1.1", "x-forwarded-for": "1.1.1.1" }, is: "1.1.1.1" },
    { peer: "127.0.0.1", headers: { "x-real-ip": "10.2.3.4", "x-forwarded-for": "1.1.1.1" }, is: "1.1.1.1" },
    // One of them is the client's invention, whichever.
    { peer: "127.0.0.1", headers: { "x-real-ip": "6.6.6.6", "x-forwarded-for": "1.1.1.1" }, is: "127.0.0.1" },
    {
      peer: "127.0.0.1",
      headers: { "x-real-ip": "1.1.1.1", "x-forwarded-for": "10.2.3.4" },
      is: "127.0.0.1",
    },
  ];
  test.each(cases)("%j", ({ peer, headers = {}, is, options = proxies }) => {
    expect(doors(options).remoteOf(peer, new Headers(headers))).toBe(is);
  });

  test("a range may be written in the mapped form", () => {
    const door = doors({ trusted_proxies: ["::ffff:10.0.0.0/104"] });
    const headers = new Headers({ "x-forwarded-for": "1.1.1.1" });
    expect(door.remoteOf("10.1.2.3", headers)).toBe("1.1.1.1");
    expect(door.remoteOf("11.1.2.3", headers)).toBe("11.1.2.3");
  });
});

describe("options that are wrong", () => {
  const wrong: [string, Partial<DoorsOptions>][] = [
    ["server.allowed_origins", { allowed_origins: ["*"] }],
    ["server.allowed_origins", { allowed_origins: ["null"] }],
    ["server.allowed_origins", { allowed_origins: ["https://*.example.com"] }],
    ["server.allowed_origins", { allowed_origins: ["app.example.com"] }],
    ["server.allowed_origins", { allowed_origins: ["https://app.example.com/path"] }],
    ["server.allowed_origins", { allowed_origins: ["https://user@app.example.com"] }],
    ["server.allowed_origins", { allowed_origins: ["https://a.example, https://b.example"] }],
    ["server.public_url", { public_url: "agent.example.com" }],
    ["server.public_url", { public_url: "ftp://agent.example.com" }],
    ["server.trusted_proxies", { trusted_proxies: ["10.0.0.0/33"] }],
    ["server.trusted_proxies", { trusted_proxies: ["10.0.0"] }],
    ["server.trusted_proxies", { trusted_proxies: ["10.0.0.0/"] }],
    ["server.trusted_proxies", { trusted_proxies: ["10.0.0.0/8/8"] }],
    ["server.trusted_proxies", { trusted_proxies: ["fd00::/129"] }],
    ["server.trusted_proxies", { trusted_proxies: ["proxy.lan"] }],
  ];
  test.each(wrong)("%s: %j", (option, options) => {
    expect(() => doors(options)).toThrow(option);
  });
});
