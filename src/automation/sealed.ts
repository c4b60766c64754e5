import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../protocol/errors.ts";

/**
 * Keeps secrets that have to be used again, and so cannot be kept as hashes: what a sender signs with, what deliveries are
 * signed with. They are in the database, the key is beside it: who has a copy of the database, a backup, has none of them.
 */
export interface Sealer {
  /** `about`: what the secret belongs to; it opens for nothing else. @throws GatewayError UNAVAILABLE without the key file */
  seal(secret: string, about: string): string;
  /** Null: it was sealed with another key, or for something else. @throws GatewayError UNAVAILABLE */
  open(sealed: string, about: string): string | null;
}

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The key is read, or made, when it is needed first. */
export function createSealer(data_dir: string): Sealer {
  let key: Buffer | null = null;
  const keyed = (): Buffer => (key ??= readKey(data_dir) ?? makeKey(data_dir));
  return {
    seal(secret, about) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, keyed(), nonce).setAAD(Buffer.from(about));
      const text = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString("base64url");
    },
    open(sealed, about) {
      const bytes = Buffer.from(sealed, "base64url");
      const [nonce, tag] = [
        bytes.subarray(0, NONCE_BYTES),
        bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES),
      ];
      if (tag.length !== TAG_BYTES) return null;
      const decipher = createDecipheriv(CIPHER, keyed(), nonce).setAAD(Buffer.from(about)).setAuthTag(tag);
      try {
        const text = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
        return Buffer.concat([text, decipher.final()]).toString("utf8");
      } catch {
        // The tag does not fit: nothing can be said of what it was.
        return null;
      }
    },
  };
}

export function keyFile(data_dir: string): string {
  return join(data_dir, "secrets.key");
}

function readKey(data_dir: string): Buffer | null {
  try {
    const text = readFileSync(keyFile(data_dir), "utf8").trim();
    const key = Buffer.from(text, "base64url");
    // Whatever is in it, of a wrong length too, is one key.
    return key.length === KEY_BYTES ? key : createHash("sha256").update(text).digest();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw unusable("read", data_dir, error);
  }
}

/** In one step, and never over one that is there. */
function makeKey(data_dir: string): Buffer {
  const path = keyFile(data_dir);
  const draft = `${path}.${process.pid}`;
  const key = randomBytes(KEY_BYTES);
  try {
    mkdirSync(data_dir, { recursive: true, mode: 0o700 });
    const file = openSync(draft, "wx", 0o600);
    try {
      writeSync(file, `${key.toString("base64url")}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    linkSync(draft, path);
    return key;
  } catch (error) {
    throw unusable("write", data_dir, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

function unusable(verb: "read" | "write", data_dir: string, error: unknown): GatewayError {
  const why = (error as NodeJS.ErrnoException).code ?? "unknown error";
  return new GatewayError(
    "UNAVAILABLE",
    `cannot ${verb} ${keyFile(data_dir)} (${why}): let this user own it`,
    {
      details: { kind: "key_file" },
      cause: error,
    },
  );
}
