import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";

/**
 * An address as it is compared and logged: IPv4-mapped ones as IPv4, IPv6 in its short lowercase form, without zone,
 * brackets and port. Null: it is none.
 */
export function normalAddress(text: string): string | null {
  if (isIP(text) === 4) return text;
  const bare = withoutPort(text.trim()).replace(/%.*$/, "");
  const version = isIP(bare);
  if (version === 4) return bare;
  if (version !== 6) return null;
  const short = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const [high, low] = [Number.parseInt(mapped[1] ?? "", 16), Number.parseInt(mapped[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

const isLoopback = addressMatcher(["127.0.0.0/8", "::1"], "loopback");

/** Whether an address is one of this machine, as its interfaces are now. */
export function isLocalAddress(address: string): boolean {
  if (isLoopback(address)) return true;
  const normal = normalAddress(address);
  return Object.values(networkInterfaces()).some((all) =>
    all?.some((own) => normalAddress(own.address) === normal),
  );
}

/** What counts as one visitor: an IPv4 address, or the /64 of an IPv6 one. What is no address stands for itself. */
export function networkOf(address: string): string {
  const normal = normalAddress(address);
  if (normal === null) return address.slice(0, 64);
  if (isIP(normal) === 4) return normal;
  const [head = "", tail] = normal.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array.from({ length: zeros }, () => "0"), ...last];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** Forwarding headers name addresses with a port, too: "10.0.0.1:4711", "[fe80::1]:4711". */
function withoutPort(text: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(text);
  if (bracketed !== null) return bracketed[1] ?? "";
  return /^[\d.]+:\d+$/.test(text) ? text.slice(0, text.indexOf(":")) : text;
}

/**
 * A test for addresses in any of the CIDRs (or single addresses).
 * @throws Error naming the entry that is neither
 */
export function addressMatcher(cidrs: readonly string[], option: string): (address: string) => boolean {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = "", bits, ...rest] = cidr.trim().split("/");
    const address = normalAddress(network);
    const mapped = address !== null && isIP(network) === 6 && isIP(address) === 4;
    const family = address !== null && isIP(address) === 4 ? "ipv4" : "ipv6";
    const width = family === "ipv4" ? 32 : 128;
    const prefix =
      bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) - (mapped ? 96 : 0) : -1;
    if (address === null || rest.length > 0 || prefix < 0 || prefix > width) {
      throw new Error(`${option}: "${cidr}" is no address range; write it like 10.0.0.0/8 or fd00::/8`);
    }
    list.addSubnet(address, prefix, family);
  }
  return (address) => {
    const normal = normalAddress(address);
    return normal !== null && list.check(normal, isIP(normal) === 4 ? "ipv4" : "ipv6");
  };
}
