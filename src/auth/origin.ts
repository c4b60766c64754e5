/** A Host header taken apart. `port` is null where none is said. */
export interface HostHeader {
  /** Lowercase, IPv6 in brackets and its short form. */
  readonly name: string;
  readonly port: number | null;
}

/** Null: it is not `name`, `name:port`, `[ipv6]` or `[ipv6]:port`. */
export function readHost(host: string): HostHeader | null {
  const parts = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(host);
  if (parts === null) return null;
  const name = readName(parts[1] ?? "");
  const port = parts[2] === undefined ? null : Number(parts[2]);
  if (name === null || (port !== null && port > 65_535)) return null;
  return { name, port };
}

/** A host name as browsers write it; a trailing dot means the same name. Null: it is none. */
function readName(text: string): string | null {
  const bare = text.toLowerCase().replace(/\.$/, "");
  try {
    const { hostname } = new URL(`http://${bare}`);
    // "0x7f.1" and "2130706433" would be other names for an address: only what says itself is a name.
    return hostname === bare || bare.startsWith("[") ? hostname : null;
  } catch {
    // Not a host at all, which is what the caller is told.
    return null;
  }
}

/** What listens on an address: its name as a Host header says it. */
export function hostOfBind(bind: string): string {
  return bind.includes(":") && !bind.startsWith("[") ? (readName(`[${bind}]`) ?? bind) : bind.toLowerCase();
}

/**
 * An origin as browsers send it: lowercase, no default port, no path.
 * @throws Error naming the option whose value is none
 */
export function readOrigin(text: string, option: string): string {
  const bare = text.trim().replace(/\/$/, "");
  if (/^https?:\/\//i.test(bare)) {
    const url = URL.canParse(bare) && !bare.includes("*") ? new URL(bare) : null;
    if (url !== null && url.href === `${url.origin}/`) return url.origin;
  } else if (/^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9._-]+(:\d+)?$/i.test(bare)) {
    // Those of applications ("capacitor://localhost") have no canonical form of their own.
    return bare;
  }
  throw new Error(
    `${option}: "${text}" is no origin; write it like https://app.example.com, one for each, never * or null`,
  );
}
