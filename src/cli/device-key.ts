import {
  chmodSync,
  closeSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { DeviceCredential } from "../client/device.ts";
import { deviceOf } from "../client/device.ts";
import { userConfigDir } from "../config/data-dir.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";

/**
 * The key by which one gateway knows this user of this machine. Every gateway has one of its own: what is signed for one of
 * them could not be passed on to another.
 */
export interface DeviceKey {
  readonly path: string;
  readonly jwk: Pick<JsonWebKey, "kty" | "crv" | "d" | "x">;
}

const MAX_BYTES = 4_096;

/** The address of a gateway, in the one way it is remembered by. */
export function gatewayOrigin(url: string): string {
  const { protocol, host } = new URL(url);
  const scheme = protocol === "https:" || protocol === "wss:" ? "https" : "http";
  return `${scheme}://${host.replace(/^localhost(?=:|$)/, "127.0.0.1")}`;
}

/** Null: there is none for this gateway. A file others may read is closed to them. @throws CommandError */
export function readDeviceKey(url: string, io: Io): DeviceKey | null {
  const path = pathOf(url, io);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw unusable("read", path, error);
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile() || found.size > MAX_BYTES) throw notAKey(path);
    if ((found.mode & 0o077) !== 0 && process.platform !== "win32") {
      fchmodSync(file, 0o600);
      io.err(
        `warning: others could read ${path}: it is closed to them now; if they might have, revoke the device, remove the file and pair again`,
      );
    }
    return { path, jwk: parse(readFileSync(file, "utf8"), path) };
  } catch (error) {
    throw error instanceof CommandError ? error : unusable("read", path, error);
  } finally {
    closeSync(file);
  }
}

/** The key for this gateway, made where there is none. @throws CommandError */
export async function openDeviceKey(url: string, io: Io): Promise<DeviceKey> {
  const found = readDeviceKey(url, io);
  if (found !== null) return found;
  const keys = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const { kty, crv, d, x } = await crypto.subtle.exportKey("jwk", keys.privateKey);
  const path = pathOf(url, io);
  writeOnce(path, `${JSON.stringify({ kty, crv, d, x })}\n`);
  // Of two that start at once one wrote it.
  const written = readDeviceKey(url, io);
  if (written === null) throw new CommandError(`${path} was removed while it was made: try again`);
  return written;
}

/** @throws CommandError where the file holds something else */
export async function credentialOf(
  { path, jwk }: DeviceKey,
  choices: Pick<DeviceCredential, "scopes" | "onPairing"> = {},
): Promise<DeviceCredential> {
  const { d: _, ...open } = jwk;
  try {
    const [privateKey, publicKey] = await Promise.all([
      crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]),
      crypto.subtle.importKey("jwk", open, "Ed25519", true, ["verify"]),
    ]);
    return await deviceOf({ privateKey, publicKey }, choices);
  } catch {
    throw notAKey(path);
  }
}

function pathOf(url: string, io: Io): string {
  const name = `${encodeURIComponent(gatewayOrigin(url))}.json`;
  return join(userConfigDir(io.env, process.platform), "devices", name);
}

function parse(text: string, path: string): DeviceKey["jwk"] {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw notAKey(path);
  }
  const { kty, crv, d, x } = value ?? {};
  if (kty !== "OKP" || crv !== "Ed25519" || typeof d !== "string" || typeof x !== "string")
    throw notAKey(path);
  return { kty, crv, d, x };
}

/** Mode 0600 in a directory 0700, in one step: a reader finds nothing or all of it, and what is there stays. */
function writeOnce(path: string, text: string): void {
  const directory = dirname(path);
  const draft = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if ((statSync(directory).mode & 0o077) !== 0 && process.platform !== "win32") chmodSync(directory, 0o700);
    const file = openSync(draft, "wx", 0o600);
    try {
      fchmodSync(file, 0o600);
      writeSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    linkSync(draft, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw unusable("write", path, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

function notAKey(path: string): CommandError {
  return new CommandError(`${path} holds no device key: remove it and pair again`);
}

function unusable(verb: "read" | "write", path: string, error: unknown): CommandError {
  return new CommandError(
    `cannot ${verb} the device key ${path} (${codeOf(error) ?? String(error)}): let this user own it`,
  );
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
