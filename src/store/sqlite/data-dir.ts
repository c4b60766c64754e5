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

/** What is in a data directory by a name of its own, without which its gateway does not start. */
const FILES = [
  "agentbus.db",
  "agentbus.db-wal",
  "agentbus.db-shm",
  "lock.db",
  "lock.db-journal",
  "secrets.key",
];

/** What root made in a directory that is another user's is that user's, as after `agentbus restore` for a service. */
export function leaveToOwner(data_dir: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(data_dir);
  if (uid === 0) return;
  for (const name of FILES) {
    const path = join(data_dir, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    // Nothing that is known elsewhere by another name: whoever the directory belongs to may have put it there.
    if (found?.isFile() === true && found.uid === 0 && found.nlink === 1) lchownSync(path, uid, gid);
  }
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
