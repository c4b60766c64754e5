import { isIP } from "node:net";

/** Where something listens. `host` is without brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** "127.0.0.1:18790", "localhost:18790", "[::1]:18790"; null: it is none of that kind. */
export function parseAddress(text: string): Address | null {
  const [, bracketed, name, digits] = /^(?:\[([^\]]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text.trim()) ?? [];
  const host = bracketed ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535) return null;
  return bracketed === undefined || isIP(bracketed) === 6 ? { host, port } : null;
}

/** Whether it is an address of a tailnet, on which everything is encrypted by the network itself. */
export function isTailnet(host: string): boolean {
  const bare = host.toLowerCase().replace(/^\[|\]$/g, "");
  return (
    /^100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/.test(bare) || bare.startsWith("fd7a:115c:a1e0:")
  );
}

/** Whether only this machine reaches what listens on `host`. */
export function isLoopback(host: string): boolean {
  const bare = host
    .trim()
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/^::ffff:/, "");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}
