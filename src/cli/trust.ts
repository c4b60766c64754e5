import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { PeerCertificate } from "node:tls";
import { checkServerIdentity, connect } from "node:tls";
import { fingerprintOf } from "../certificate.ts";
import type { FetchLike } from "../client/options.ts";
import { reasonOf } from "../config/layer.ts";
import type { Input, OptionSpecs } from "./args.ts";
import { CommandError, UsageError } from "./exit.ts";
import type { Io } from "./io.ts";

/** Flags that say how a gateway is known that no authority of this machine vouches for. */
export const TRUST_OPTIONS: OptionSpecs = {
  ca: { value: "FILE", summary: "PEM of the gateway's certificate or its authority; else AGENTBUS_CA" },
  fingerprint: {
    value: "SHA256",
    summary: "the gateway's certificate, as the gateway shows it; else AGENTBUS_FINGERPRINT",
  },
  "client-cert": {
    value: "FILE",
    summary: "PEM with a certificate and its key, for a gateway that asks; else AGENTBUS_CLIENT_CERT",
  },
};

/** What is believed of the other end. Without `ca` and `certificate` it is what this machine believes. */
export interface Trust {
  /** Authorities, as PEM. */
  readonly ca?: string;
  /** The one certificate, as PEM, whatever names are in it; asked for at every connection. Null: it is not known. */
  readonly certificate?: () => string | null;
  /** Its SHA-256, where that is all that is known. */
  readonly fingerprint?: string;
  /** A certificate and its key, as PEM: who we are. */
  readonly identity?: string;
}

/** The certificate that was shown at the last handshake. */
export interface Shown {
  readonly fingerprint: string;
  readonly expires_at: number;
}

const LOOK_MS = 10_000;

/** What flags and environment say of the other end, else what is known without them. @throws UsageError, CommandError */
export function trustFor(input: Input, io: Io, known: () => Trust): Trust {
  const said = (flag: string, variable: string): string | undefined =>
    input.text(flag) ?? (io.env[variable] || undefined);
  const ca = said("ca", "AGENTBUS_CA");
  const fingerprint = said("fingerprint", "AGENTBUS_FINGERPRINT");
  const identity = said("client-cert", "AGENTBUS_CLIENT_CERT");
  const own = identity === undefined ? {} : { identity: readPem(identity) };
  if (ca !== undefined && fingerprint !== undefined)
    throw new UsageError("--ca and --fingerprint both say how the gateway is known: keep one");
  if (ca !== undefined) return { ca: readPem(ca), ...own };
  if (fingerprint !== undefined) return { fingerprint: readFingerprint(fingerprint), ...own };
  return { ...known(), ...own };
}

function readPem(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new CommandError(`cannot read ${path}: ${reasonOf(error)}`);
  }
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new CommandError(`${path} holds no certificate: it must be a PEM file`);
}

function readFingerprint(text: string): string {
  const hex = text.replace(/^sha-?256[:=\s]/i, "").replaceAll(/[:\s]/g, "");
  if (!/^[0-9a-f]{64}$/i.test(hex)) {
    throw new UsageError(`"${text}" is no fingerprint: write the SHA-256 that the gateway shows, AB:CD:…`);
  }
  return (hex.toUpperCase().match(/../g) ?? []).join(":");
}

/** Knows the certificate by its fingerprint from now on. Nothing is sent to who shows another. @throws CommandError */
export async function resolveTrust(trust: Trust, url: string): Promise<Trust> {
  const { fingerprint, ...rest } = trust;
  if (fingerprint === undefined) return trust;
  if (!isSecure(url)) return rest;
  const { hostname, port } = new URL(url);
  const raw = await lookAt(hostname.replace(/^\[|\]$/g, ""), Number(port || 443));
  // No answer is told by the connection that comes next, in the words of every other command.
  if (raw === null) return { ...rest, certificate: () => null };
  const shown = new X509Certificate(raw);
  if (shown.fingerprint256 !== fingerprint) {
    throw new CommandError(
      `${url} shows another certificate, SHA-256 ${shown.fingerprint256}: ` +
        "ask whoever runs the gateway whether it is new, somebody may stand between",
    );
  }
  const pem = shown.toString();
  return { ...rest, certificate: () => pem };
}

/** The certificate that is shown there, not believed yet; null: none. */
function lookAt(host: string, port: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(isIP(host) === 0 && { servername: host }),
    });
    const done = (raw: Buffer | null): void => {
      socket.destroy();
      resolve(raw);
    };
    socket.setTimeout(LOOK_MS, () => done(null));
    socket.once("secureConnect", () =>
      done((socket.getPeerCertificate() as Partial<PeerCertificate>).raw ?? null),
    );
    socket.once("error", () => done(null));
    socket.once("close", () => done(null));
  });
}

/** A WebSocket that lets nobody else answer. `shown` is told of every certificate, believed or not. */
export function trustingSocket(
  trust: Trust,
  shown: (certificate: Shown) => void = () => undefined,
): typeof WebSocket {
  // The types of browsers know of no options.
  const Socket = WebSocket as unknown as new (url: string, options: SocketOptions) => WebSocket;
  return class extends Socket {
    constructor(url: string, protocols: string | string[] = []) {
      super(url, { protocols, tls: tlsOptions(trust, shown) });
    }
  } as unknown as typeof WebSocket;
}

/** A fetch that lets nobody else answer. `asked` is told of every request. */
export function trustingFetch(
  trust: Trust,
  asked: (answer: Promise<Response>) => void = () => undefined,
): FetchLike {
  return (url, init) => {
    const answer = fetch(url, { ...init, ...(isSecure(url) && { tls: tlsOptions(trust, () => undefined) }) });
    asked(answer);
    return answer;
  };
}

interface SocketOptions {
  readonly protocols: string | string[];
  readonly tls: Options;
}

/** Partial chains: a certificate that is known needs nobody to vouch for it. */
type Options = Bun.TLSOptions & { allowPartialTrustChain?: boolean } & {
  checkServerIdentity: typeof checkServerIdentity;
};

/** For fetch, too. */
export function tlsOptions(trust: Trust, shown: (certificate: Shown) => void): Options {
  const known = trust.certificate?.() ?? null;
  const ca = known ?? trust.ca;
  const wanted = known === null ? null : fingerprintOf(known);
  return {
    ...(ca !== undefined && { ca, allowPartialTrustChain: true }),
    ...(trust.identity !== undefined && { cert: trust.identity, key: trust.identity }),
    checkServerIdentity(host, certificate) {
      const { fingerprint256, valid_to } = certificate;
      shown({ fingerprint: fingerprint256, expires_at: Date.parse(valid_to) });
      // Where one certificate is meant no other will do: not while it is not known, and whoever vouches for it.
      if (trust.certificate === undefined) return checkServerIdentity(host, certificate);
      return fingerprint256 === wanted
        ? undefined
        : new Error("another certificate than the one that is known");
    },
  };
}

/** Whether TLS is spoken at a URL. */
export function isSecure(url: string): boolean {
  return /^(?:https|wss):/i.test(url);
}
