import { isIP } from "node:net";
import type { TailnetPeer } from "../core/principal.ts";
import { GatewayError } from "../protocol/errors.ts";
import { addressMatcher, normalAddress } from "./address.ts";
import { hostOfBind, readHost, readOrigin } from "./origin.ts";

export interface DoorsOptions {
  /** The addresses the listeners are bound to, as configured. */
  readonly hosts: readonly string[];
  /** The ports they listen on, once they do. */
  readonly ports: () => readonly number[];
  /** server.public_url; empty: none. */
  readonly public_url: string;
  readonly allowed_origins: readonly string[];
  /** Addresses and CIDRs. */
  readonly trusted_proxies: readonly string[];
}

/** What is said of a request before anybody is authenticated; null: come in. */
export interface Doors {
  /** Whether the Host header names this gateway. */
  checkHost(host: string | null): GatewayError | null;
  /** Whether the page behind the request may use this gateway. */
  checkOrigin(request: Request): GatewayError | null;
  /** The Origin to echo for CORS; null: none. */
  corsOrigin(origin: string | null): string | null;
  /** The client's address: the peer's, or what a trusted proxy says it is. */
  remoteOf(peer: string, headers: Headers): string;
  /** Who may be known by where they come from, or by what a trusted proxy says of that; null: nobody. */
  tailnetOf(peer: PeerAddress | null, headers: Headers): TailnetPeer | null;
}

/** The other end of a socket. */
interface PeerAddress {
  readonly address: string;
  readonly port: number;
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
const EVERY_ADDRESS = ["0.0.0.0", "::", "[::]"];
/** Forwarding hops that are looked at, from the right. */
const MAX_HOPS = 32;

/** @throws Error naming the option that is wrong */
export function createDoors(options: DoorsOptions): Doors {
  const { hosts, ports, public_url } = options;
  const allowed = new Set(
    options.allowed_origins.map((origin) => readOrigin(origin, "server.allowed_origins")),
  );
  const own = public_url === "" ? null : publicOrigin(public_url);
  const trusted = addressMatcher(options.trusted_proxies, "server.trusted_proxies");
  /** Only on our ports; the others come through proxies, whatever port those have. */
  const bound = new Set([...LOOPBACK, ...hosts.map(hostOfBind)]);
  const known = new Set(
    [...allowed, ...(own === null ? [] : [own])].filter(isWeb).map((origin) => new URL(origin).hostname),
  );
  const everywhere = hosts.some((host) => EVERY_ADDRESS.includes(host));
  /** The last one that was let in: most requests say the same, and reading it is a good part of what a request costs. */
  let admitted: string | null = null;

  function checkHost(host: string | null): GatewayError | null {
    if (host !== null && host === admitted) return null;
    const refused = refusedFor(host);
    if (refused === null) admitted = host;
    return refused;
  }

  function refusedFor(host: string | null): GatewayError | null {
    const said = host === null ? null : readHost(host);
    if (said === null) return refusedHost(host);
    if (known.has(said.name)) return null;
    // Rebinding needs a name: who says the address knew it.
    if (everywhere && isIP(said.name.replace(/^\[|\]$/g, "")) !== 0) return null;
    if (bound.has(said.name) && (said.port === null || ports().includes(said.port))) return null;
    return refusedHost(host);
  }

  /** The origin of our own pages, as the Host header of the request has it. */
  function isOwn(origin: string, request: Request): boolean {
    if (origin === own) return true;
    const host = request.headers.get("host");
    if (host === null || checkHost(host) !== null) return false;
    const scheme = request.url.startsWith("https:") ? "https" : "http";
    return new URL(`${scheme}://${host}`).origin === origin;
  }

  /** What a proxy that we trust says of the tailnet, in the headers that `tailscale serve` sets. */
  function behindProxy(headers: Headers): TailnetPeer | null {
    const login = headers.get("tailscale-user-login") ?? "";
    const client = hopOf(headers.get("x-forwarded-for") ?? "", trusted);
    if (login === "" || client === null || trusted(client)) return null;
    // A proxy that says it in another way may have let the client write this one.
    const other = headers.get("x-real-ip");
    if (other !== null && normalAddress(other) !== client) return null;
    return { addr: withPort(client, 0), login };
  }

  return {
    checkHost,
    checkOrigin(request) {
      const origin = request.headers.get("origin");
      if (origin !== null)
        return allowed.has(origin) || isOwn(origin, request) ? null : refusedOrigin(origin);
      const site = request.headers.get("sec-fetch-site");
      const foreign = site === "cross-site" || site === "same-site";
      return foreign || request.headers.has("cookie") ? refusedOrigin(null) : null;
    },
    corsOrigin: (origin) => (origin !== null && allowed.has(origin) ? origin : null),
    remoteOf(peer, headers) {
      const address = normalAddress(peer) ?? peer;
      if (options.trusted_proxies.length === 0 || !trusted(address)) return address;
      const forwarded = headers.get("x-forwarded-for");
      const real = normalAddress(headers.get("x-real-ip") ?? "");
      if (forwarded === null) return real ?? address;
      const hop = hopOf(forwarded, trusted);
      // A proxy sets one of the two and may pass on the other as its client wrote it: where they disagree nobody is believed.
      const isDisputed = hop !== null && real !== null && real !== hop && !trusted(real);
      return isDisputed ? address : (hop ?? address);
    },
    tailnetOf(peer, headers) {
      const address = normalAddress(peer?.address ?? "");
      if (address === null || peer === null) return null;
      return trusted(address) ? behindProxy(headers) : { addr: withPort(address, peer.port), login: null };
    },
  };
}

/** The right-most hop that is not a trusted proxy; all of them trusted: the first. Null: none can be read. */
function hopOf(forwarded: string, trusted: (address: string) => boolean): string | null {
  let last: string | null = null;
  for (const hop of forwarded.split(",").toReversed().slice(0, MAX_HOPS)) {
    const address = normalAddress(hop);
    // What stands left of something unreadable was not written by a proxy of ours.
    if (address === null) return last;
    last = address;
    if (!trusted(address)) return address;
  }
  return last;
}

function withPort(address: string, port: number): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

function publicOrigin(public_url: string): string {
  const url = URL.canParse(public_url) ? new URL(public_url) : null;
  if (url !== null && isWeb(url.origin) && url.username === "") return url.origin;
  throw new Error(
    `server.public_url: "${public_url}" is no web address; write it like https://agent.example.com`,
  );
}

function isWeb(origin: string): boolean {
  return origin.startsWith("https://") || origin.startsWith("http://");
}

function refusedHost(host: string | null): GatewayError {
  const said = host === null ? "no Host header" : `the Host ${JSON.stringify(host.slice(0, 100))}`;
  const message = `this gateway does not answer to ${said}: if it is reached that way, set server.public_url to the address clients use`;
  return new GatewayError("FORBIDDEN", message, { details: { kind: "host" }, http: 421 });
}

function refusedOrigin(origin: string | null): GatewayError {
  const said =
    origin === null
      ? "another site, without an Origin"
      : `the origin ${JSON.stringify(origin.slice(0, 100))}`;
  const message = `requests from ${said} are refused: add it to server.allowed_origins, or set server.public_url if it is this gateway`;
  return new GatewayError("FORBIDDEN", message, { details: { kind: "origin" } });
}
