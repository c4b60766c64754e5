import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { OPENING_FILE } from "../opening.ts";
import { processMark } from "../process-mark.ts";
import { CommandError } from "./exit.ts";
import { harmless } from "./markdown.ts";

/** What a gateway that runs says of itself. */
export interface Running {
  readonly url: string;
  readonly pid: number;
  /** The certificate it serves, as PEM; null: no TLS. */
  readonly certificate: string | null;
  readonly version: string | null;
  /** Milliseconds since 1970; 0: it does not say. */
  readonly started_at: number;
  /** What it starts anew in its process on SIGUSR2; null: nothing. */
  readonly executable: string | null;
}

/** A gateway that opens its database. */
export interface Opening {
  readonly pid: number;
  /** What it does, such as "copying the database". */
  readonly doing: string;
}

/** What a gateway that opens its database says of that; null where none does, what one left that was killed included. */
export function readOpening(data_dir: string): Opening | null {
  const value = readValues<"pid" | "doing" | "process">(data_dir, OPENING_FILE);
  const { pid, doing } = value ?? {};
  if (typeof pid !== "number" || typeof doing !== "string" || !isAlive(pid)) return null;
  return isAnother(pid, value?.process) ? null : { pid, doing: harmless(doing) };
}

function readValues<Name extends string>(
  data_dir: string,
  file: string,
): Partial<Record<Name, unknown>> | null {
  const text = readWritten(data_dir, file);
  if (text === undefined) return null;
  try {
    return JSON.parse(text) as Partial<Record<Name, unknown>> | null;
  } catch {
    // Half a file is one that is just being written, or was when the machine went down.
    return null;
  }
}

/** What a gateway that runs keeps in `<data_dir>/gateway.json`; null where none does. */
export function readRunning(data_dir: string): Running | null {
  const value = readValues<keyof Running | "process">(data_dir, "gateway.json");
  if (value === null) return null;
  const { url, pid, certificate, version, started_at, executable } = value;
  if (typeof url !== "string" || typeof pid !== "number" || !isAlive(pid)) return null;
  if (isAnother(pid, value.process)) return null;
  const textOr = (each: unknown): string | null => (typeof each === "string" ? each : null);
  return {
    url,
    pid,
    certificate: textOr(certificate),
    version: textOr(version),
    started_at: typeof started_at === "number" ? started_at : 0,
    executable: textOr(executable),
  };
}

/** Whether a process has the pid of the one that wrote its mark, which is gone. Where that cannot be known it is the same. */
function isAnother(pid: number, written: unknown): boolean {
  const mark = processMark(pid);
  return typeof written === "string" && mark !== null && mark !== written;
}

/** Whether some process has the data directory, whether it listens already or not. */
export function isHeld(data_dir: string): boolean {
  const pid = Number(readWritten(data_dir, "pid"));
  return Number.isSafeInteger(pid) && pid > 0 && isAlive(pid);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * What a gateway wrote in its data directory; undefined where there is no such file. For root, in the directory of another user, only
 * a file of that user's: what they put in its place may lead to one that is not theirs to read. @throws CommandError
 */
export function readWritten(data_dir: string, name: string): string | undefined {
  const path = join(data_dir, name);
  const owner = process.geteuid?.() === 0 ? ownerOf(data_dir) : 0;
  if (owner === 0) return readText(path);
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw notWritten(path, code);
  }
  try {
    const found = fstatSync(file);
    const isTheirs = found.uid === owner || found.uid === 0;
    // It was replaced, or taken away, since it was opened.
    if (found.nlink === 0) return readWritten(data_dir, name);
    if (!found.isFile() || found.nlink !== 1 || !isTheirs) throw notWritten(path);
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** 0 too where there is no such directory. */
function ownerOf(data_dir: string): number {
  try {
    return statSync(data_dir).uid;
  } catch {
    return 0;
  }
}

function notWritten(path: string, code = "a link, or another user's"): CommandError {
  return new CommandError(`${path} is not what a gateway wrote (${code}): remove it`);
}

/** undefined where there is no such file. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
