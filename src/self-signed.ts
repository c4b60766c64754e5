import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { listenersOf } from "./listeners.ts";

const DAY_MS = 86_400_000;
/** The longest that every browser takes for a certificate somebody trusts by hand. */
const VALID_DAYS = 825;
/** Clocks of others may be slow. */
const EARLY_MS = DAY_MS;
/** Of a machine with very many addresses. */
const MAX_NAMES = 100;

/** Where the gateway's own certificate and its key are. */
export function selfSignedFiles(data_dir: string): { readonly cert: string; readonly key: string } {
  return { cert: join(data_dir, "tls", "cert.pem"), key: join(data_dir, "tls", "key.pem") };
}

/** Makes a certificate for this machine and keeps it, the key for its owner only. */
export async function makeSelfSigned(config: Config, now: number): Promise<void> {
  const { cert, key } = await certify(namesOf(config), now);
  const files = selfSignedFiles(config.server.data_dir);
  mkdirSync(join(config.server.data_dir, "tls"), { recursive: true, mode: 0o700 });
  put(files.key, key, 0o600);
  put(files.cert, cert, 0o644);
}

function put(path: string, text: string, mode: number): void {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, text, { mode });
    chmodSync(draft, mode);
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** What clients may call this machine. */
function namesOf(config: Config): string[] {
  const { public_url } = config.server;
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const host = hostname().toLowerCase();
  const names = [
    "localhost",
    "127.0.0.1",
    "::1",
    ...listenersOf(config).map((listener) => listener.host),
    ...(URL.canParse(public_url) ? [new URL(public_url).hostname.replace(/^\[|\]$/g, "")] : []),
    host,
    ...(host.includes(".") ? [] : [`${host}.local`]),
    // Those of one link only need the name of the link, too, which no certificate can hold.
    ...addresses.map(({ address }) => address).filter((address) => !address.startsWith("fe80:")),
  ];
  const usable = names.filter((name) => isIP(name) !== 0 || /^[a-z0-9][a-z0-9._-]{0,252}$/i.test(name));
  return [...new Set(usable)].filter((name) => name !== "0.0.0.0" && name !== "::").slice(0, MAX_NAMES);
}

async function certify(names: readonly string[], now: number): Promise<{ cert: string; key: string }> {
  // Loaded where one is made, once in two years. The one needs the other to be there first.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: "CN=agentbus",
    notBefore: new Date(now - EARLY_MS),
    notAfter: new Date(now - EARLY_MS + VALID_DAYS * DAY_MS),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    cert: `${certificate.toString("pem")}\n`,
    key: `${x509.PemConverter.encode(key, "PRIVATE KEY")}\n`,
  };
}

/** 127 random bits: positive, and never one byte too long. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}
