import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Cluster } from "../core/cluster.ts";
import { GatewayError } from "../protocol/errors.ts";

/**
 * Keeps secrets that have to be used again, and so cannot be kept as hashes: what a sender signs with, what deliveries are
 * signed with. With SQLite the key is beside the database: who has a copy of it, a backup, has none of them. With a database that
 * several nodes share it is in there, or in a file that each of them has.
 */
export interface Sealer {
  /** Once the store is open, where nodes share it: before anything is sealed. @throws GatewayError UNAVAILABLE */
  load(): Promise<void>;
  /** `about`: what the secret belongs to; it opens for nothing else. @throws GatewayError UNAVAILABLE without the key file */
  seal(secret: string, about: string): string;
  /** Null: it was sealed with another key, or for something else. @throws GatewayError UNAVAILABLE */
  open(sealed: string, about: string): string | null;
  /** Another key, made of this one: the same on every node that has it, and of no use for what is sealed. */
  keyFor(purpose: string): Buffer;
}

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Where nodes that share a store have their key. */
export interface SharedKey {
  readonly cluster: Pick<Cluster, "key">;
  /** cluster.key_file; "": it is in the database. */
  readonly file: string;
}

/** Of a directory the key is read, or made, when it is needed first. */
export function createSealer(data_dir: string, shared: SharedKey | null = null): Sealer {
  let key: Buffer | null = null;
  const keyed = (): Buffer => (key ??= readKey(keyFile(data_dir)) ?? makeKey(data_dir));
  return {
    async load() {
      if (shared !== null) key = await sharedKey(data_dir, shared);
    },
    seal(secret, about) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, keyed(), nonce).setAAD(Buffer.from(about));
      const text = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString("base64url");
    },
    open: (sealed, about) => opened(keyed(), sealed, about),
    keyFor: (purpose) => Buffer.from(hkdfSync("sha256", keyed(), "", `agentbus ${purpose}`, KEY_BYTES)),
  };
}

/** Whether the key of a directory opens something; none is made where there is none. @throws GatewayError UNAVAILABLE */
export function openerIn(data_dir: string): (sealed: string, about: string) => boolean {
  const key = readKey(keyFile(data_dir));
  return (sealed, about) => key !== null && opened(key, sealed, about) !== null;
}

function opened(key: Buffer, sealed: string, about: string): string | null {
  const bytes = Buffer.from(sealed, "base64url");
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
  if (tag.length !== TAG_BYTES) return null;
  const decipher = createDecipheriv(CIPHER, key, nonce).setAAD(Buffer.from(about)).setAuthTag(tag);
  try {
    const text = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString("utf8");
  } catch {
    // The tag does not fit: nothing can be said of what it was.
    return null;
  }
}

export function keyFile(data_dir: string): string {
  return join(data_dir, "secrets.key");
}

/** What the directory had of its own before it met the database is brought in where that has none yet. */
async function sharedKey(data_dir: string, { cluster, file }: SharedKey): Promise<Buffer> {
  if (file !== "") {
    const key = readKey(file);
    if (key !== null) return key;
    throw new GatewayError(
      "UNAVAILABLE",
      `there is no ${file} (cluster.key_file): make it with "openssl rand -base64 32", the same for every node, or copy another node's`,
      { details: { kind: "key_file" } },
    );
  }
  const offered = readKey(keyFile(data_dir)) ?? randomBytes(KEY_BYTES);
  return keyOf(await cluster.key(offered.toString("base64url")));
}

/** Whatever is in it, of a wrong length too, is one key. */
function keyOf(text: string): Buffer {
  const key = Buffer.from(text, "base64url");
  return key.length === KEY_BYTES ? key : createHash("sha256").update(text).digest();
}

function readKey(path: string): Buffer | null {
  try {
    const text = readFileSync(path, "utf8").trim();
    return keyOf(text);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw unusable("read", path, error);
  }
}

/** In one step, and never over one that is there. */
function makeKey(data_dir: string): Buffer {
  const path = keyFile(data_dir);
  const draft = `${path}.${process.pid}`;
  const key = randomBytes(KEY_BYTES);
  try {
    mkdirSync(data_dir, { recursive: true, mode: 0o700 });
    // Of one that was killed, and had the same id.
    rmSync(draft, { force: true });
    const file = openSync(draft, "wx", 0o600);
    try {
      writeSync(file, `${key.toString("base64url")}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    name(draft, path);
    return key;
  } catch (error) {
    throw unusable("write", path, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

function name(draft: string, path: string): void {
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST" || existsSync(path)) throw error;
    // A file system without links. Nobody else makes one now: the directory is this process's.
    renameSync(draft, path);
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: "let this user own it",
  EPERM: "let this user own it",
  ENOSPC: "make room on its disk",
  EDQUOT: "make room on its disk",
  EROFS: "its disk can only be read",
};

function unusable(verb: "read" | "write", path: string, error: unknown): GatewayError {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const advice = ADVICE[code] ?? "see what is there";
  return new GatewayError("UNAVAILABLE", `cannot ${verb} ${path} (${code || message}): ${advice}`, {
    details: { kind: "key_file" },
    cause: error,
  });
}
