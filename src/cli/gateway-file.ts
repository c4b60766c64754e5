import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { userConfigDir } from "../config/data-dir.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";

/** What this user keeps about one gateway: for nobody else to read or change. */
const MAX_BYTES = 65_536;

/** The address of a gateway, in the one way it is remembered by. */
export function gatewayOrigin(url: string): string {
  const { protocol, host } = new URL(url);
  const scheme = protocol === "https:" || protocol === "wss:" ? "https" : "http";
  return `${scheme}://${host.replace(/^localhost(?=:|$)/, "127.0.0.1")}`;
}

/** Where this user keeps something about a gateway. */
export function gatewayFile(url: string, io: Io, suffix: string): string {
  const name = encodeURIComponent(gatewayOrigin(url)) + suffix;
  return join(userConfigDir(io.env, process.platform), "devices", name);
}

/** Null: there is no such file. One that others may touch is closed to them. @throws CommandError */
export function readPrivate(path: string, io: Io): string | null {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw unusable("read", path, error);
  }
  try {
    const { size, mode } = fstatSync(file);
    // A directory is refused by the read.
    if (size > MAX_BYTES)
      throw new CommandError(`${path} is not what agentbus wrote: remove it and pair again`);
    if ((mode & 0o077) !== 0 && process.platform !== "win32") {
      fchmodSync(file, 0o600);
      io.err(
        `warning: others could read ${path}: it is closed to them now; if they might have, revoke the device, remove the file and pair again`,
      );
    }
    return readFileSync(file, "utf8");
  } catch (error) {
    throw error instanceof CommandError ? error : unusable("read", path, error);
  } finally {
    closeSync(file);
  }
}

/**
 * Mode 0600 in a directory 0700, in one step: a reader finds what was there, or all of what is new. "once": what is there stays.
 * @throws CommandError
 */
export function writePrivate(path: string, text: string, how: "once" | "anew"): void {
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
    if (how === "once") nameOnce(draft, path);
    else renameSync(draft, path);
  } catch (error) {
    throw unusable("write", path, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

function nameOnce(draft: string, path: string): void {
  try {
    linkSync(draft, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST" || existsSync(path)) return;
    // A file system without links.
    renameSync(draft, path);
  }
}

function unusable(verb: "read" | "write", path: string, error: unknown): CommandError {
  return new CommandError(`cannot ${verb} ${path} (${codeOf(error) ?? String(error)}): let this user own it`);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
