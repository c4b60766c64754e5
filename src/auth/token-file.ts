import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Logger } from "../core/ports.ts";
import { GatewayError } from "../protocol/errors.ts";
import { MAX_SECRET_CHARS } from "./secret.ts";

/** Where a data directory keeps the secret of its local token. */
export function tokenFile(data_dir: string): string {
  return join(data_dir, "token");
}

/**
 * The secret in the token file; null: there is none. A file others may read is closed to them.
 * @throws GatewayError UNAVAILABLE where it is there and cannot be read
 */
export function readTokenFile(data_dir: string, log: Logger): string | null {
  const path = tokenFile(data_dir);
  try {
    const found = statSync(path);
    const { mode, size } = found;
    if (!found.isFile()) throw Object.assign(new Error("not a file"), { code: "not a file" });
    if (size > MAX_SECRET_CHARS) return null;
    if ((mode & 0o077) !== 0 && process.platform !== "win32") {
      chmodSync(path, 0o600);
      log.warn(
        { path },
        "others could read the token file: it is closed to them now; rotate the token if they might have",
      );
    }
    return readFileSync(path, "utf8").trim() || null;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw unusable("read", path, error);
  }
}

/**
 * Puts a secret in the token file, mode 0600, in one step: a reader finds the old one or the new one.
 * @throws GatewayError UNAVAILABLE
 */
export function writeTokenFile(data_dir: string, secret: string): void {
  const path = tokenFile(data_dir);
  const draft = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    mkdirSync(data_dir, { recursive: true, mode: 0o700 });
    const file = openSync(draft, "wx", 0o600);
    try {
      fchmodSync(file, 0o600);
      writeSync(file, `${secret}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw unusable("write", path, error);
  }
}

function unusable(verb: "read" | "write", path: string, error: unknown): GatewayError {
  const why = codeOf(error) ?? "unknown error";
  return new GatewayError(
    "UNAVAILABLE",
    `cannot ${verb} ${path} (${why}): let this user own it, or set server.data_dir`,
    {
      details: { kind: "token_file" },
      cause: error,
    },
  );
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
