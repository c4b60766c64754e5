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

/** Whether only this machine reaches what listens on `host`. */
export function isLoopback(host: string): boolean {
  const bare = host
    .trim()
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/^::ffff:/, "");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}
