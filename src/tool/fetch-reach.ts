import { isIP } from "node:net";

/** A test for addresses in any of the ranges. @throws Error naming the option and the entry that is none */
export type MakeMatcher = (ranges: readonly string[], option: string) => (address: string) => boolean;

/** Where a model may be led by a URL. */
export interface Reach {
  /** A URL as a model or a redirect writes it. @throws Error that says what is wrong with it */
  url(text: string, base?: URL): URL;
  /** Why nothing is asked of `url` at this address, which its host is or was resolved to; null: it may be asked. */
  refused(url: URL, address: string): string | null;
}

export const HTTP_ALLOW = "tools.http_allow";
const URL_CHARS = 2_048;
/** Of the public internet; others are services that are no websites. */
const PORTS = ["80", "443", "8080", "8443"];

/** Nobody's, this machine's, this network's, many hosts' or another protocol's; and a metadata service with a public address. */
const SPECIAL_V4 = ranges(
  "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24",
  "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16",
);
/** The only part of IPv6 that is the public internet; NAT64, mapped, local and shared addresses are outside of it. */
const GLOBAL_V6 = ranges("2000::/3");
/** Within that: Teredo and other protocols' own, 6to4, documentation. */
const SPECIAL_V6 = ranges("2001::/23 2001:db8::/32 2002::/16 3fff::/20");
/** What a name that may be private still does not stand for: metadata services, and what is no single host of a network. */
const NEVER_BY_NAME = ranges(
  "0.0.0.0/8 169.254.0.0/16 100.100.100.200 192.0.0.0/24 168.63.129.16 224.0.0.0/3",
  ":: fe80::/10 fd00:ec2::/32 fd20:ce::/32 ff00::/8 64:ff9b::/96 64:ff9b:1::/48 2002::/16",
);

interface Permission {
  /** Null: any. */
  readonly port: string | null;
  readonly covers: (host: string, address: string) => boolean;
}

/**
 * The public internet on the ports of websites, and what `allow` names besides: addresses, ranges, hosts, `*.domain`, each
 * perhaps with a port. @throws Error naming the entry that is none of these
 */
export function createReach(allow: readonly string[], match: MakeMatcher, option = HTTP_ALLOW): Reach {
  const neverByName = match(NEVER_BY_NAME, option);
  const special = match([...SPECIAL_V4, ...SPECIAL_V6], option);
  const globalV6 = match(GLOBAL_V6, option);
  const permissions = allow.map((entry) => readPermission(entry, match, neverByName, option));

  /** An IPv4 address written as IPv6 is none of GLOBAL_V6. */
  const isPublic = (address: string): boolean =>
    isIP(address) !== 0 && !special(address) && (isIP(address) === 4 || globalV6(address));

  return {
    url: readUrl,
    refused(url, address) {
      const host = hostOf(url);
      const port = portOf(url);
      const permitted = permissions.some(
        (each) => (each.port === null || each.port === port) && each.covers(host, address),
      );
      if (permitted) return null;
      if (!isPublic(address)) return `${host} is not on the public internet (${option} can allow it)`;
      return PORTS.includes(port) ? null : `port ${port} is not allowed (${option} can allow it)`;
    },
  };
}

/** Lower case, without brackets and the dot of the root. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
}

export function portOf({ port, protocol }: URL): string {
  return port === "" ? ({ "http:": "80", "https:": "443" }[protocol] ?? "") : port;
}

function readUrl(text: string, base?: URL): URL {
  if (text.length > URL_CHARS) throw new Error(`the URL is longer than ${URL_CHARS} characters`);
  const url = URL.parse(text, base);
  if (url === null) throw new Error("that is no URL; write it like https://example.com/page");
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new Error("only http and https URLs can be fetched");
  if (url.username !== "" || url.password !== "") throw new Error("a URL must hold no user and password");
  if (hostOf(url) === "") throw new Error("the URL names no host");
  url.hash = "";
  return url;
}

function readPermission(
  entry: string,
  match: MakeMatcher,
  neverByName: (address: string) => boolean,
  option: string,
): Permission {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(entry) ?? [];
  const subject = bracketed ?? plain ?? entry.replace(/^\[([^\]]+)\]$/, "$1");
  const port = digits === undefined ? null : String(Number(digits));
  if (isIP(subject.split("/")[0] ?? "") !== 0) {
    const covered = match([subject], option);
    return { port, covers: (_, address) => covered(address) };
  }
  const wild = subject.startsWith("*.");
  const name = URL.parse(`http://${wild ? subject.slice(2) : subject}/`)?.hostname.replace(/\.$/, "") ?? "";
  if (/[\s/?#@:\\]/.test(subject) || !/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/.test(name) || isIP(name) !== 0) {
    throw new Error(
      `${option}: "${entry}" is no address, range or host; write it like 10.0.0.0/8, wiki.lan:8080 or *.lan`,
    );
  }
  const named = (host: string): boolean => (wild ? host.endsWith(`.${name}`) : host === name);
  return { port, covers: (host, address) => named(host) && !neverByName(address) };
}

function ranges(...lines: readonly string[]): string[] {
  return lines.flatMap((line) => line.split(" "));
}
