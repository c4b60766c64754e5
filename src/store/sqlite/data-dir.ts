import {
  accessSync,
  constants,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";

const CHOOSE = "or choose another server.data_dir";

/** Makes the directory, for its owner only, where there is none. @throws GatewayError UNAVAILABLE {kind:"data_dir"} */
export function prepareDataDir(data_dir: string): void {
  try {
    const made = mkdirSync(data_dir, { recursive: true, mode: 0o700 });
    if (made !== undefined) syncUpTo(dirname(made), data_dir);
    if (!statSync(data_dir).isDirectory())
      throw refuse(`${data_dir} is not a directory: move it away, ${CHOOSE}`);
    accessSync(data_dir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const { code } = error as { code?: string };
    if (code === "EEXIST" || code === "ENOTDIR") {
      throw refuse(`${data_dir} is not a directory: move away the file in its place, ${CHOOSE}`, error);
    }
    throw refuse(
      `${data_dir} is not writable (${code ?? String(error)}): give this user write access, ${CHOOSE}`,
      error,
    );
  }
}

/** What commands write in a data directory. */
const WRITTEN = /^(?:agentbus\.db|lock\.db|pid|secrets\.key)/;

/**
 * Has something done to the files of a data directory. Where root does it and the directory is another user's, what root makes there is
 * that user's, however it ends, and what that user put in the place of such a file is not written through.
 * @throws GatewayError UNAVAILABLE {kind:"data_dir"}
 */
export async function withinDataDir<T>(data_dir: string, work: () => T | Promise<T>): Promise<T> {
  const owner = process.geteuid?.() === 0 && existsSync(data_dir) ? statSync(data_dir) : null;
  if (owner === null || owner.uid === 0) return work();
  const written = (): string[] =>
    readdirSync(data_dir)
      .filter((name) => WRITTEN.test(name))
      .map((name) => join(data_dir, name));
  const planted = written().find((path) => !isPlain(path));
  if (planted !== undefined)
    throw refuse(`${planted} is a link, or no file: remove it, for only a gateway writes there`);
  try {
    return await work();
  } finally {
    for (const path of written())
      if (isPlain(path) && lstatSync(path, { throwIfNoEntry: false })?.uid === 0)
        lchownSync(path, owner.uid, owner.gid);
  }
}

/** A file, and known by no other name. */
function isPlain(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found === undefined || (found.isFile() && found.nlink === 1);
}

/** Makes new directories durable, from the innermost outwards: what is in them is worth no more than they are. */
function syncUpTo(outermost: string, innermost: string): void {
  for (let path = resolve(innermost); ; path = dirname(path)) {
    try {
      const directory = openSync(path, "r");
      fsyncSync(directory);
      closeSync(directory);
    } catch {
      // Some file systems cannot sync a directory and need not.
    }
    if (path === resolve(outermost) || path === dirname(path)) return;
  }
}

function refuse(message: string, cause?: unknown): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "data_dir" }, cause });
}

/** The word a process leaves when it cannot know what its last write came to. */
export interface Suspicion {
  readonly exists: () => boolean;
  /** Durable when it returns. Throws where the file system refuses. */
  readonly leave: (reason: string) => void;
  readonly take: () => void;
}

export function suspicionIn(data_dir: string): Suspicion {
  const path = join(data_dir, "suspect");
  return {
    exists: () => existsSync(path),
    leave(reason) {
      const file = openSync(path, "w", 0o600);
      writeSync(file, `${reason}\n`);
      fsyncSync(file);
      closeSync(file);
    },
    take: () => rmSync(path, { force: true }),
  };
}

/** The kernel's id of this start of the machine; null where it has none to read. */
export function readBootId(): string | null {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() || null;
  } catch {
    return null;
  }
}
