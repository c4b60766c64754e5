import { createPublicKey, verify } from "node:crypto";
import type { DeviceProof } from "../protocol/api/device.ts";

/** Says what the signature is for, and in which version: nothing else that a device signs reads like it. */
const DOMAIN = "agentbus-device-v1";

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const CLIENT_ID_CHARS = 128;
const SCOPE = /^[a-z_.]{1,64}$/;

/** A proof that has every field in its one form. What it says is still to be verified. */
export interface ReadProof {
  /** The one the device goes by: an id that was chosen for it, or its key's. */
  readonly device_id: string;
  readonly key: Buffer;
  readonly signature: Buffer;
  readonly nonce: string;
  readonly timestamp: number;
  /** Sorted. */
  readonly scopes: readonly string[];
}

/** What is signed besides the proof. */
export interface Signed {
  readonly server_id: string;
  readonly client_id: string;
  readonly origin: string;
}

/** Reads a proof without any crypto; a text says what is wrong with it. */
export function readProof(proof: DeviceProof): ReadProof | string {
  const { device_id = "", nonce = "", timestamp, scopes = [] } = proof;
  if (device_id === "" || nonce === "")
    return "device needs device_id, public_key, signature, nonce, timestamp";
  const key = readKey(proof.public_key ?? "");
  if (key === null) return "device.public_key is no Ed25519 key: 32 bytes in base64url without padding";
  const signature = readBytes(proof.signature, SIGNATURE_BYTES);
  if (signature === null) return "device.signature is not 64 bytes in base64url without padding";
  if (timestamp === undefined) return "device.timestamp is missing: the time in milliseconds since 1970";
  if (new Set(scopes).size < scopes.length || !scopes.every((scope) => SCOPE.test(scope))) {
    return "device.scopes has a scope twice, or one that is none";
  }
  return { device_id, key, signature, nonce, timestamp, scopes: scopes.toSorted() };
}

/** Whether a client_id can stand in what is signed. */
export function isSignable(client_id: string): boolean {
  return client_id !== "" && client_id.length <= CLIENT_ID_CHARS && !client_id.includes("|");
}

/** The id of a device by its key. */
export function deviceIdOf(key: Buffer): string {
  return new Bun.CryptoHasher("sha256").update(key).digest("hex");
}

/** The text a device signs. */
export function signedText(proof: ReadProof, { server_id, client_id, origin }: Signed): string {
  const { key, scopes, nonce, timestamp } = proof;
  return [DOMAIN, server_id, deviceIdOf(key), client_id, origin, scopes.join(","), nonce, timestamp].join(
    "|",
  );
}

/** Whether a text was signed with the private half of a key that `readKey` read. Takes some 40 µs. */
export function isSignedBy(key: Buffer, text: string, signature: Buffer): boolean {
  // Of the signature it takes one form only: S below the order of the group, R as it is computed anew.
  return verify(null, Buffer.from(text), publicKeyOf(key), signature);
}

/** The key that stands in a text; null: it is none, or one that others than the holder of its private half can sign for. */
export function readKey(public_key: string): Buffer | null {
  const key = readBytes(public_key, KEY_BYTES);
  return key !== null && isSound(key) ? key : null;
}

/**
 * The y of the points whose order divides 8, little-endian without the sign of x. BoringSSL takes them for keys, and a
 * signature that fits one of them fits one message in eight, or every one.
 */
const SMALL_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => Buffer.from(hex, "hex"));

/** 2^255 − 19, little-endian: y of a key is below it, or the same point would have two names. */
const PRIME = Buffer.from("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "hex");

/** Whether 32 bytes are the one form of a key that only the holder of its private half can sign for. */
function isSound(key: Buffer): boolean {
  const y = Buffer.from(key);
  y[KEY_BYTES - 1] = (y[KEY_BYTES - 1] ?? 0) & 0x7f;
  if (Buffer.compare(y.toReversed(), PRIME.toReversed()) >= 0) return false;
  return !SMALL_ORDER.some((point) => point.equals(y));
}

/** A raw key behind what ASN.1 says of an Ed25519 public key. */
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function publicKeyOf(key: Buffer) {
  return createPublicKey({ key: Buffer.concat([SPKI, key]), format: "der", type: "spki" });
}

/** Base64url without padding, in its one form: decoders ignore the bits that are left over, and what they do not know. */
function readBytes(text: string | undefined, bytes: number): Buffer | null {
  if (text === undefined || text.length !== Math.ceil((bytes * 4) / 3)) return null;
  const read = Buffer.from(text, "base64url");
  return read.length === bytes && read.toString("base64url") === text ? read : null;
}
