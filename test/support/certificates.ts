import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A certificate and its key as openssl makes them, in files. */
export interface MadeCertificate {
  readonly cert_file: string;
  readonly key_file: string;
  readonly cert: string;
  readonly key: string;
  readonly fingerprint: string;
}

export interface MakeOptions {
  /** Who signs it; without one it signs itself. */
  readonly by?: MadeCertificate;
  readonly authority?: boolean;
  /** Default: localhost and 127.0.0.1. */
  readonly names?: readonly string[];
  /** As `openssl req` says it. Default: EC, P-256. */
  readonly algorithm?: string;
  /** It has ended the day before. */
  readonly expired?: boolean;
}

const P256 = "ec -pkeyopt ec_paramgen_curve:prime256v1";

/** Makes one in a folder: NAME.crt and NAME.key. */
export function makeCertificate(folder: string, name: string, options: MakeOptions = {}): MadeCertificate {
  const { by, authority = false, names = ["DNS:localhost", "IP:127.0.0.1"] } = options;
  const [cert_file, key_file] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const extensions = [
    `basicConstraints=critical,CA:${authority ? "TRUE" : "FALSE"}`,
    ...(authority ? [] : [`subjectAltName=${names.join(",")}`]),
  ];
  const signer = by === undefined ? [] : ["-CA", by.cert_file, "-CAkey", by.key_file];
  openssl([
    ...`req -x509 -newkey ${options.algorithm ?? P256} -nodes -days 30`.split(" "),
    "-keyout",
    key_file,
    "-out",
    cert_file,
    "-subj",
    `/CN=${name}`,
    ...signer,
    ...extensions.flatMap((extension) => ["-addext", extension]),
  ]);
  if (options.expired === true) {
    openssl(["x509", "-in", cert_file, "-signkey", key_file, "-days", "-1", "-out", cert_file]);
  }
  return readMade(cert_file, key_file);
}

export function readMade(cert_file: string, key_file: string): MadeCertificate {
  const [cert, key] = [readFileSync(cert_file, "utf8"), readFileSync(key_file, "utf8")];
  return { cert_file, key_file, cert, key, fingerprint: new X509Certificate(cert).fingerprint256 };
}

/** What it says on both streams. @throws where it fails */
export function openssl(argv: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(["openssl", ...argv], { stdin: "ignore" });
  const said = `${stdout.toString()}${stderr.toString()}`;
  if (success) return said;
  throw new Error(`openssl ${argv[0]} failed: ${said}`);
}

/** The SHA-256 of the certificate that openssl is shown there; null: it was not let in. `argv`: more for s_client. */
export async function shownAt(address: string, argv: readonly string[] = []): Promise<string | null> {
  const child = Bun.spawn(["openssl", "s_client", "-connect", address, ...argv], {
    // The end of its input ends the connection.
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const text = await new Response(child.stdout).text();
  const [pem] = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/.exec(text) ?? [];
  if (pem === undefined || text.includes("Cipher is (NONE)")) return null;
  const { stdout } = Bun.spawnSync(["openssl", "x509", "-noout", "-fingerprint", "-sha256"], {
    stdin: Buffer.from(pem),
  });
  return /=([0-9A-F:]+)/.exec(stdout.toString())?.[1] ?? null;
}
