import type { FileHandle } from "node:fs/promises";
import { constants } from "node:fs";
import { lstat, open, readlink, realpath } from "node:fs/promises";
import { resolve, sep } from "node:path";

/** What is read of a file. */
export interface FileText {
  readonly text: string;
  /** Of the whole file. */
  readonly bytes: number;
  readonly cut: boolean;
}

const PATH_CHARS = 1_024;

/** Whether `path` is `folder` or lies in it; both real paths. */
export function isInside(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/**
 * The real path of a file that somebody names relative to a folder (a real path).
 * @throws Error where it is not in the folder, with words for whoever named it
 */
export async function realFile(folder: string, path: string): Promise<string> {
  const said = JSON.stringify(path.slice(0, PATH_CHARS));
  // By its letters first: whether there is something outside is not told.
  if (
    path === "" ||
    path.includes("\0") ||
    path.length > PATH_CHARS ||
    !isInside(folder, resolve(folder, path))
  ) {
    throw new Error(`${said} is no path within the skill's folder: write it like references/guide.md`);
  }
  let real: string;
  try {
    real = await realpath(resolve(folder, path));
  } catch (cause) {
    throw new Error(`${said}: there is no such file in the skill's folder`, { cause });
  }
  if (!isInside(folder, real)) throw new Error(`${said} is a link out of the skill's folder`);
  return real;
}

/**
 * Reads the beginning of a file in a folder (a real path). What it opens is a regular file in that folder, whatever is
 * moved about meanwhile; no FIFO makes it wait and no device is touched.
 * @throws Error in words for whoever named the file; the file system's own with its code
 */
export async function readInside(folder: string, path: string, max_bytes: number): Promise<FileText> {
  const real = await realFile(folder, path);
  requireFile(await lstat(real), path);
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = await open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = await file.stat();
    requireFile(stat, path);
    if (!isInside(folder, await openedPath(file, real))) {
      throw new Error(`${JSON.stringify(path)}: it was moved out of the skill's folder`);
    }
    const read = await readUpTo(file, max_bytes + 1);
    const cut = read.length > max_bytes;
    return { text: toText(cut ? read.subarray(0, max_bytes) : read, cut, path), bytes: stat.size, cut };
  } finally {
    await file.close();
  }
}

function requireFile(stat: { isFile(): boolean; isDirectory(): boolean }, path: string): void {
  if (stat.isFile()) return;
  throw new Error(`${JSON.stringify(path)} is ${stat.isDirectory() ? "a folder" : "no regular file"}`);
}

/** Where a file that is open really is: a folder on its path may have become a link since the path was looked at. */
async function openedPath(file: FileHandle, real: string): Promise<string> {
  return process.platform === "linux" ? await readlink(`/proc/self/fd/${file.fd}`) : await realpath(real);
}

async function readUpTo(file: FileHandle, bytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let left = bytes;
  while (left > 0) {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(Math.min(left, 64 * 1_024)) });
    if (bytesRead === 0) break;
    chunks.push(buffer.subarray(0, bytesRead));
    left -= bytesRead;
  }
  return Buffer.concat(chunks);
}

function toText(bytes: Uint8Array, cut: boolean, path: string): string {
  try {
    // A character that was cut through is held back.
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: cut });
  } catch (cause) {
    throw new Error(`${JSON.stringify(path)} is no text in UTF-8`, { cause });
  }
}
