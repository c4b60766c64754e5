import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { lstat, open, readlink, realpath, stat } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";

export interface Opened {
  readonly handle: FileHandle;
  /** Where it really is. */
  readonly path: string;
  readonly size: number;
}

export type Kind = "file" | "directory";

/** A directory whose files a model may see. */
export interface Workspace {
  /**
   * Opens what is at `path`, relative to the workspace, for reading. Links are followed as long as they stay inside.
   * @throws Error that says why not, in words for the model
   */
  open(path: string, kind: Kind): Promise<Opened>;
}

const PATH_CHARS = 4_096;
/** A FIFO or a terminal is not waited for, and a link that was put there in the meantime is not followed. */
const FLAGS =
  constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);
const isLinux = process.platform === "linux";

/** @param closed directories and files that are not shown, wherever they are: what the gateway keeps its secrets in */
export function createWorkspace(root: string, closed: readonly string[]): Workspace {
  const real = (path: string): Promise<string> => realpath(path).catch(() => path);

  /** @throws Error where a real path is outside, or is closed */
  async function check(path: string, shown: string): Promise<void> {
    if (!isInside(await real(root), path)) throw new Error(`${shown} is outside of the workspace`);
    for (const each of closed) {
      if (isInside(await real(each), path)) throw new Error(`${shown} is not shown`);
    }
  }

  return {
    async open(given, kind) {
      const shown = JSON.stringify(given.slice(0, 200));
      if (given.includes("\0") || given.length > PATH_CHARS) throw new Error(`${shown} is no path`);
      const asked = resolve(root, given);
      if (!isInside(root, asked)) throw new Error(`${shown} is outside of the workspace`);
      const path = await realpath(asked).catch((error: unknown) => {
        throw new Error(failureOf(error, shown), { cause: error });
      });
      await check(path, shown);
      // Before it is opened: opening a device may already do something.
      checkKind(await lstat(path), kind, shown);
      const handle = await open(path, FLAGS).catch((error: unknown) => {
        throw new Error(failureOf(error, shown), { cause: error });
      });
      try {
        const found = await handle.stat();
        checkKind(found, kind, shown);
        // A folder on the way may have become a link since: what counts is what was opened.
        const where = await placeOf(handle, path, shown);
        await check(where, shown);
        return { handle, path: where, size: found.size };
      } catch (error) {
        await handle.close();
        throw error;
      }
    },
  };
}

/** Where an open file is. Only Linux says so; elsewhere what is at `path` now has to be the very file. */
async function placeOf(handle: FileHandle, path: string, shown: string): Promise<string> {
  if (isLinux) return readlink(`/proc/self/fd/${handle.fd}`);
  const where = await realpath(path);
  const [own, there] = [await handle.stat(), await stat(where)];
  if (own.dev !== there.dev || own.ino !== there.ino)
    throw new Error(`${shown} was changed while it was opened`);
  return where;
}

/** What names the open directory itself, where there is such a name, and not whatever is at its path by now. */
export function directoryOf({ handle, path }: Opened): string {
  return isLinux ? `/proc/self/fd/${handle.fd}` : path;
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === "" || (way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

function checkKind(found: { isFile(): boolean; isDirectory(): boolean }, kind: Kind, shown: string): void {
  if (kind === "file" ? found.isFile() : found.isDirectory()) return;
  const other = found.isDirectory()
    ? "a directory"
    : found.isFile()
      ? "a file"
      : "neither a file nor a directory";
  throw new Error(`${shown} is ${other}`);
}

function failureOf(error: unknown, shown: string): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const known: Readonly<Record<string, string>> = {
    ENOENT: "does not exist",
    ENOTDIR: "does not exist",
    EACCES: "may not be read",
    EPERM: "may not be read",
    ELOOP: "is a link that leads nowhere",
    ENAMETOOLONG: "is no path",
  };
  return `${shown} ${known[code] ?? `cannot be opened (${code})`}`;
}
