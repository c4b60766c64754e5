import type { KeyObject } from "node:crypto";
import { X509Certificate, createPrivateKey } from "node:crypto";

/** A certificate with its key, found to go together. */
export interface Certificate {
  /** The certificate and its chain, as PEM. */
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the certificate, as `openssl x509 -fingerprint` writes it. */
  readonly fingerprint: string;
  readonly valid_from: number;
  readonly expires_at: number;
  /** Nobody else vouches for it: who connects has to be told its fingerprint. */
  readonly self_signed: boolean;
}

/** A text, and what an error about it begins with. */
export interface PemFile {
  readonly name: string;
  readonly text: string;
}

const RSA_BITS = 2_048;
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * A certificate and a key, found to go together, whatever their time.
 * @throws Error, one line that says which file is wrong and what to do
 */
export function readCertificate(cert: PemFile, key: PemFile): Certificate {
  const parsed = parse(cert.name, certificatesIn(cert)[0] ?? "");
  checkKey(parsed, key);
  return {
    cert: cert.text,
    key: key.text,
    fingerprint: parsed.fingerprint256,
    valid_from: Date.parse(parsed.validFrom),
    expires_at: Date.parse(parsed.validTo),
    self_signed: parsed.verify(parsed.publicKey),
  };
}

/** The text, where there is nothing but certificates in it. @throws Error as readCertificate */
export function checkAuthority(file: PemFile): string {
  for (const pem of certificatesIn(file)) parse(file.name, pem);
  return file.text;
}

/** The fingerprint of the first certificate of a PEM text; null: it has none. */
export function fingerprintOf(pem: string): string | null {
  const [first] = pem.match(CERTIFICATES) ?? [];
  try {
    return first === undefined ? null : new X509Certificate(first).fingerprint256;
  } catch {
    // What cannot be read has none either.
    return null;
  }
}

/** A time as a day, for people. */
export function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

function certificatesIn({ name, text }: PemFile): readonly string[] {
  const found = text.match(CERTIFICATES);
  if (found !== null) return found;
  throw new Error(`${name} holds no certificate: it must be a PEM file, with "-----BEGIN CERTIFICATE-----"`);
}

function parse(name: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`${name}: a certificate in it is broken: copy the file anew`, { cause });
  }
}

function checkKey(certificate: X509Certificate, { name, text }: PemFile): void {
  if (text.includes("ENCRYPTED")) {
    throw new Error(`${name}: it has a passphrase: take it off with openssl pkey -in OLD -out NEW`);
  }
  let own: KeyObject;
  try {
    own = createPrivateKey(text);
  } catch (cause) {
    throw new Error(
      `${name} holds no key that can be used: it must be a PEM file with an RSA, ECDSA (P-256) or Ed25519 key`,
      { cause },
    );
  }
  const bits = own.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < RSA_BITS) {
    throw new Error(`${name}: RSA of ${bits} bits can be broken: make a pair of ${RSA_BITS} or more`);
  }
  if (certificate.checkPrivateKey(own)) return;
  throw new Error(
    `${name}: it is not the key of the certificate: use the two that were made together, in server.tls.cert the gateway's own first`,
  );
}
