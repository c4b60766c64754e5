import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";

/** A file that is being made: it has its name only once it is whole. */
const DRAFT = /\.(\d+)\.part(?:-journal|-wal|-shm)?$/;
/** One that nothing was written to for so long belongs to nobody, whoever has that process id now. */
const DEAD_MS = 3_600_000;
/** What has to stay free on the disk beside a copy, so that whoever writes there goes on. */
const SPARE_BYTES = 128 * 1024 * 1024;

export function draftOf(file: string): string {
  return `${file}.${process.pid}.part`;
}

/** Readable for its owner only, from its first byte on. Throws where anything has that name, a link too. */
export function createDraft(draft: string): void {
  closeSync(openSync(draft, "wx", 0o600));
}

/** Whether anything has the name, a link that leads nowhere too: that is somebody's, and not to be replaced. */
export function isTaken(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

/** Gives the draft its name, durably, unless something has that name by now. @throws GatewayError CONFLICT {kind:"exists"} */
export function publish(draft: string, file: string): void {
  sync(draft);
  try {
    linkSync(draft, file);
    rmSync(draft);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "EEXIST" || isTaken(file)) {
      throw new GatewayError("CONFLICT", `${file} was made by somebody else meanwhile: name another file`, {
        details: { kind: "exists" },
        cause: error,
      });
    }
    // A file system without links.
    renameSync(draft, file);
  }
  syncDirectory(dirname(file));
}

/**
 * Another name for a file that stays, one that nothing has; a copy where the file system has only one name for a file. What is there by
 * that name is whole whenever the process dies. Throws where there is no room for a copy.
 */
export function keepAs(file: string, kept: string): void {
  try {
    linkSync(file, kept);
    return;
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") throw error;
  }
  const draft = draftOf(kept);
  try {
    clearDrafts(dirname(kept));
    copyFileSync(file, draft, constants.COPYFILE_EXCL);
    publish(draft, kept);
  } catch (error) {
    removeDraft(draft);
    throw error;
  }
}

/** Removes what copies that were killed left in a directory. */
export function clearDrafts(directory: string): void {
  for (const name of readdirSync(directory)) {
    const pid = DRAFT.exec(name)?.[1];
    const path = join(directory, name);
    if (pid === undefined || isAlive(Number(pid), path)) continue;
    removeDraft(path);
  }
}

/** And what SQLite had beside it. */
export function removeDraft(draft: string): void {
  for (const rest of ["", "-journal", "-wal", "-shm"]) rmSync(`${draft}${rest}`, { force: true });
}

/** Whether the process that writes it may still be there. */
function isAlive(pid: number, path: string): boolean {
  const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (Date.now() - written > DEAD_MS) return false;
  // In a container every start has the same id.
  if (pid === process.pid) return written >= Date.now() - process.uptime() * 1_000;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** @throws GatewayError UNAVAILABLE where a copy of so many bytes would leave too little of the disk */
export function checkRoom(directory: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  if (free >= bytes + SPARE_BYTES) return;
  const mib = (n: number): number => Math.ceil(n / 1024 ** 2);
  throw new GatewayError(
    "UNAVAILABLE",
    `${directory} has ${mib(free)} MiB free, a copy takes ${mib(bytes)} MiB and ${mib(SPARE_BYTES)} MiB have to stay free: ` +
      "make room, or name another place",
    { details: { kind: "backup" } },
  );
}

export function sync(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** What was renamed in it stays so. Some file systems cannot do that for a directory, and need not. */
export function syncDirectory(path: string): void {
  try {
    sync(path);
  } catch (error) {
    if ((error as { code?: string }).code === "EIO") throw error;
  }
}
