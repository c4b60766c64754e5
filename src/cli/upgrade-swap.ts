import { unzipSync } from "fflate";
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  closeSync,
  fsyncSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { reasonOf } from "../config/layer.ts";
import type { Schemas } from "../database-check.ts";
import { CommandError } from "./exit.ts";
import { executableName } from "./release-file.ts";
import { isAlive } from "./running.ts";

/** How long a new executable may take to tell its version, on a slow card. */
const VERSION_MS = 60_000;
const DPKG_LIST = "/var/lib/dpkg/info/agentbus.list";
const PERMISSIONS = 0o777;
/** The exit code of what Ctrl-C ended. */
export const INTERRUPTED = 130;

/** The executable that was there before; one that was kept earlier is replaced. */
export function previousOf(executable: string): string {
  const name = basename(executable);
  const kept = name.endsWith(".exe") ? `${name.slice(0, -".exe".length)}.previous.exe` : `${name}.previous`;
  return join(dirname(executable), kept);
}

/** @throws CommandError where something else looks after the executable, or this user may not replace it */
export function mayReplace(executable: string): void {
  const directory = dirname(executable);
  if (executable.includes("/Cellar/"))
    throw new CommandError(`${executable} belongs to Homebrew: brew upgrade agentbus`);
  if (existsSync(DPKG_LIST) && readFileSync(DPKG_LIST, "utf8").split("\n").includes(executable))
    throw new CommandError(`${executable} belongs to a package: install the new .deb with dpkg -i`);
  try {
    accessSync(directory, constants.W_OK);
  } catch {
    throw new CommandError(`this user may not write to ${directory}: run it as who owns it, such as by sudo`);
  }
}

/** A directory beside the executable, so that what is in it gets there in one step. One upgrade at a time has it. */
export function openWorkplace(executable: string): Disposable & { readonly path: string } {
  const path = join(dirname(executable), ".agentbus-upgrade");
  const owner = join(path, "pid");
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST")
      throw new CommandError(`cannot make ${path}: ${reasonOf(error)}`);
    if (isOwned(owner)) throw new CommandError("another upgrade is under way");
    // It was killed.
    rmSync(path, { recursive: true });
    mkdirSync(path, { mode: 0o700 });
  }
  writeFileSync(owner, String(process.pid));
  const leave = (): void => rmSync(path, { recursive: true, force: true });
  const interrupted = (): never => {
    leave();
    process.exit(INTERRUPTED);
  };
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  return {
    path,
    [Symbol.dispose]() {
      process.off("SIGINT", interrupted);
      process.off("SIGTERM", interrupted);
      leave();
    },
  };
}

function isOwned(owner: string): boolean {
  const pid = existsSync(owner) ? Number(readFileSync(owner, "utf8")) : 0;
  return pid > 0 && isAlive(pid);
}

/** The executable of an archive, on disk below `directory`. @throws CommandError */
export async function unpack(
  archive: { readonly file: string; readonly bytes: Uint8Array<ArrayBuffer> },
  target: string,
  directory: string,
): Promise<string> {
  const name = executableName(target);
  const inside = `${archive.file.replace(/\.(?:zip|tar\.gz)$/, "")}/${name}`;
  const path = join(directory, inside);
  try {
    if (archive.file.endsWith(".zip")) {
      const bytes = unzipSync(archive.bytes, { filter: (each) => each.name === inside })[inside];
      mkdirSync(dirname(path), { recursive: true });
      if (bytes !== undefined) writeFileSync(path, bytes);
    } else await new Bun.Archive(archive.bytes).extract(directory, { glob: inside });
    if (!existsSync(path)) throw new CommandError(`${archive.file} holds no ${inside}: nothing was changed`);
    chmodSync(path, 0o755);
    flush(path);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`cannot unpack ${archive.file}: ${reasonOf(error)}; nothing was changed`);
  }
  return path;
}

/** What an executable says of itself. */
export interface Facts {
  readonly version: string;
  /** Null: it is of a version that does not tell. */
  readonly schemas: Schemas | null;
}

/** @throws CommandError where it does not run here */
export async function askFacts(executable: string): Promise<Facts> {
  let said = "";
  try {
    const child = Bun.spawn([executable, "version", "--json"], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: VERSION_MS,
    });
    const [out, err] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    await child.exited;
    said = err.trim().split("\n")[0] ?? "";
    const { version, schemas = null } = JSON.parse(out) as Partial<Facts>;
    if (typeof version === "string") return { version, schemas };
  } catch (error) {
    said = said || reasonOf(error);
  }
  throw new CommandError(`the new executable does not run here (${said}): nothing was changed`);
}

/**
 * Puts the candidate in the place of the executable, which is kept. At every moment there is one or the other; on Windows, where a
 * program that runs cannot be written over, there is none for the time of a rename.
 * @throws CommandError; then the executable is as it was
 */
export function swap(executable: string, candidate: string): void {
  const previous = previousOf(executable);
  const draft = `${previous}.${process.pid}`;
  try {
    chmodSync(candidate, statSync(executable).mode & PERMISSIONS);
    if (process.platform === "win32") renameSync(executable, draft);
    else keep(executable, draft);
    try {
      renameSync(candidate, executable);
    } catch (error) {
      if (process.platform === "win32") renameSync(draft, executable);
      throw error;
    }
    renameSync(draft, previous);
    if (process.platform !== "win32") flush(dirname(executable));
  } catch (error) {
    if (process.platform !== "win32") rmSync(draft, { force: true });
    throw new CommandError(`cannot replace ${executable}: ${reasonOf(error)}`);
  }
}

/** Another name for the same file, or a copy where the file system has only one name for a file. */
function keep(executable: string, draft: string): void {
  try {
    linkSync(executable, draft);
  } catch {
    copyFileSync(executable, draft);
  }
}

function flush(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
