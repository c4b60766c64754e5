import { describe, expect, test } from "bun:test";
import { addressMatcher } from "../../src/auth/address.ts";
import { createReach, hostOf } from "../../src/tool/fetch-reach.ts";

const reach = (...allow: string[]) => createReach(allow, addressMatcher);
/** What is said of a URL whose host is an address, or was resolved to one. */
function verdict(text: string, allow: readonly string[] = [], address?: string): string | null {
  const { url, refused } = reach(...allow);
  const asked = url(text);
  return refused(asked, address ?? hostOf(asked));
}

describe("an address that is not on the public internet is refused", () => {
  const notations: [string, readonly string[]][] = [
    ["decimal", ["http://2130706433/", "http://3232235777/", "http://2852039166/"]],
    ["octal", ["http://0177.0.0.1/", "http://017700000001/", "http://0300.0250.1.1/"]],
    ["hexadecimal", ["http://0x7f000001/", "http://0x7f.0.0.1/", "http://0xA9FEA9FE/"]],
    [
      "mixed and short",
      ["http://127.1/", "http://0x7f.1/", "http://10.1/", "http://0/", "http://169.16689662/"],
    ],
    ["a dot at the end", ["http://127.0.0.1./", "http://0x7f.1./"]],
    [
      "percent and other digits",
      ["http://%31%32%37.0.0.1/", "http://１２７.0.0.1/", "http://127。0。0。1/", "http://①②⑦.0.0.1/"],
    ],
    [
      "mapped",
      [
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:a00:1]/",
        "http://[::ffff:8.8.8.8]/",
      ],
    ],
    [
      "compatible, NAT64, 6to4, Teredo",
      [
        "http://[::7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001::1]/",
      ],
    ],
    [
      "IPv6 of its own",
      [
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/",
        "http://[ff02::1]/",
        "http://[fec0::1]/",
        "http://[100::1]/",
        "http://[2001:db8::1]/",
      ],
    ],
    [
      "IPv4 of its own",
      [
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/",
        "http://169.254.169.254/",
        "http://172.31.255.255/",
        "http://192.168.0.1/",
        "http://192.0.0.192/",
        "http://198.19.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://168.63.129.16/",
      ],
    ],
    ["slashes that are none", ["http:127.0.0.1", "http:///127.0.0.1/", "http:\\\\127.0.0.1\\"]],
  ];
  test.each(notations)("%s", (_, urls) => {
    expect(urls.filter((url) => verdict(url) === null)).toEqual([]);
    for (const url of urls) expect(verdict(url)).toContain("is not on the public internet");
  });

  test("whatever name it was found by, in whatever way a resolver writes it", () => {
    const found = [
      "127.0.0.1",
      "::1",
      "::ffff:127.0.0.1",
      "0:0:0:0:0:0:0:1",
      "fe80::1%eth0",
      "10.0.0.8",
      "not an address",
      "",
    ];
    expect(found.filter((address) => verdict("https://example.com/", [], address) === null)).toEqual([]);
  });
});

test("the public internet is reached, on the ports of websites", () => {
  const open = [
    "http://93.184.215.14/",
    "https://[2606:2800:21f:cb07::1]/",
    "http://1.1.1.1:8080/a",
    "https://8.8.8.8:8443/",
  ];
  expect(open.map((url) => verdict(url))).toEqual(open.map(() => null));
  const closed = [
    "http://1.1.1.1:22/",
    "http://1.1.1.1:6379/",
    "https://1.1.1.1:25/",
    "http://1.1.1.1:1/",
    "http://[2606:4700::1]:11211/",
  ];
  for (const url of closed) expect(verdict(url)).toMatch(/^port \d+ is not allowed/);
});

describe("what is no URL to fetch is refused before anything is looked up", () => {
  const refused: [string, RegExp][] = [
    ["file:///etc/passwd", /only http and https/],
    ["ftp://example.com/", /only http and https/],
    ["gopher://127.0.0.1:6379/_PING", /only http and https/],
    ["data:text/plain,hello", /only http and https/],
    ["http://user@example.com/", /no user and password/],
    ["http://user:secret@example.com/", /no user and password/],
    ["http://:secret@example.com/", /no user and password/],
    ["http://[fe80::1%25eth0]/", /no URL/],
    ["http://[fe80::1%eth0]/", /no URL/],
    ["http://127.0.0.1%00.example.com/", /no URL/],
    ["http://1.2.3.256/", /no URL/],
    ["http:///", /no URL/],
    ["example.com", /no URL/],
    ["", /no URL/],
  ];
  test.each(refused)("%p", (text, why) => expect(() => reach().url(text)).toThrow(why));

  test("one that is very long", () =>
    expect(() => reach().url(`http://example.com/${"a".repeat(3_000)}`)).toThrow(/longer than 2048/));

  test("a redirect is read from where it was met", () => {
    const base = new URL("https://example.com/a/b");
    expect(reach().url("../c#part", base).href).toBe("https://example.com/c");
    expect(reach().url("//10.0.0.1/", base).href).toBe("https://10.0.0.1/");
    expect(() => reach().url("javascript:alert(1)", base)).toThrow(/only http and https/);
  });
});

describe("what is allowed besides", () => {
  test("an address or a range, with or without a port, however it is found", () => {
    expect(verdict("http://10.1.2.3:9000/", ["10.0.0.0/8"])).toBeNull();
    expect(verdict("http://10.1.2.3:9000/", ["10.1.2.3:9000"])).toBeNull();
    expect(verdict("http://10.1.2.3:9001/", ["10.1.2.3:9000"])).not.toBeNull();
    expect(verdict("http://11.1.2.3:9000/", ["10.0.0.0/8"])).toMatch(/^port/);
    expect(verdict("http://[fd00::5]:9000/", ["fd00::/8"])).toBeNull();
    expect(verdict("http://[fd00::5]:9000/", ["[fd00::5]:9000"])).toBeNull();
    expect(verdict("http://[fd00::5]:9001/", ["[fd00::5]:9000"])).not.toBeNull();
    expect(verdict("http://wiki.lan/", ["10.0.0.0/8"], "10.0.0.9")).toBeNull();
    expect(verdict("http://2130706433/", ["127.0.0.1"])).toBeNull();
    expect(verdict("http://[64:ff9b::808:808]/", ["64:ff9b::/96"])).toBeNull();
  });

  test("a host, or all below a domain, where it stands for a private address", () => {
    expect(verdict("http://wiki.lan:8090/", ["wiki.lan"], "10.0.0.9")).toBeNull();
    expect(verdict("http://WIKI.lan./", ["Wiki.LAN"], "fd00::9")).toBeNull();
    expect(verdict("http://a.b.lan/", ["*.lan"], "192.168.0.9")).toBeNull();
    expect(verdict("http://bücher.lan/", ["bücher.lan"], "10.0.0.9")).toBeNull();
    expect(verdict("http://lan/", ["*.lan"], "192.168.0.9")).not.toBeNull();
    expect(verdict("http://evilwiki.lan/", ["wiki.lan"], "10.0.0.9")).not.toBeNull();
    expect(verdict("http://wiki.lan.evil.com/", ["wiki.lan", "*.lan"], "10.0.0.9")).not.toBeNull();
    expect(verdict("http://wiki.lan:81/", ["wiki.lan:80"], "10.0.0.9")).not.toBeNull();
  });

  test("a host never stands for a metadata service, a link-local address or many hosts", () => {
    const found = [
      "169.254.169.254",
      "fe80::1",
      "fd00:ec2::254",
      "100.100.100.200",
      "224.0.0.1",
      "255.255.255.255",
      "0.0.0.0",
      "::",
    ];
    expect(found.filter((address) => verdict("http://a.lan/", ["a.lan", "*.lan"], address) === null)).toEqual(
      [],
    );
    expect(verdict("http://a.lan/", ["169.254.169.254"], "169.254.169.254")).toBeNull();
  });

  test.each(["*", "*.", "10.0.0.0/33", "10.0.0.0/8/8", "http://wiki.lan", "wiki lan", "10.0.0.1:99999x", ""])(
    "%p is refused at the start",
    (entry) => expect(() => reach(entry)).toThrow(/^tools\.http_allow: "/),
  );
});
