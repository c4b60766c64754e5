import type { Stats } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";

/** Where plug-ins are looked for. */
export interface PluginDirectory {
  /** Somebody said so: it is to be there. */
  readonly wanted: boolean;
  /** What it is called to people. */
  readonly label: string;
  /** Absolute. */
  readonly path: string;
}

/** A file that is meant to be a plug-in, or a folder that has one. */
export interface Candidate {
  /** The label of its directory and its name in it. */
  readonly source: string;
  /** Without the extension. */
  readonly name: string;
  /** Real path of the file to import. */
  readonly entry: string;
}

export interface Look {
  readonly directory: PluginDirectory;
  /** Its real path; null: it is not there. */
  readonly real: string | null;
  /** What is wrong with it: then nothing of it is loaded. */
  readonly reason: string | null;
  readonly found: readonly Candidate[];
  /** Folders in which something may appear. */
  readonly folders: readonly string[];
}

const FILE = /^(?<name>[^._].*?)\.(?:ts|mts|tsx|js|mjs)$/;
/** Declarations and tests lie beside what they belong to. */
const BESIDE = /\.(?:d|test|spec)\.m?tsx?$/;
const INDEX = ["index.ts", "index.mts", "index.tsx", "index.js", "index.mjs"];
/** Others than the owner may write: the group, anybody. */
const GROUP_WRITES = 0o020;
const ANYBODY_WRITES = 0o002;

/** What a directory holds, by name. Never rejects. `max`: entries that are looked at. */
export async function lookInto(directory: PluginDirectory, max: number): Promise<Look> {
  const nothing = { directory, found: [], folders: [] };
  const real = await realpath(directory.path).catch(() => null);
  if (real === null) {
    const reason = directory.wanted ? "there is no such directory" : null;
    return { ...nothing, real, reason };
  }
  try {
    checkOwner(real, await stat(real));
    const names = (await readdir(real)).filter(isMeant);
    if (names.length > max) throw new Error(`it has more than ${max} entries`);
    names.sort();
    const folders: string[] = [real];
    const found: Candidate[] = [];
    for (const name of names) {
      const entry = await entryOf(join(real, name), folders);
      if (entry === null) continue;
      const source = `${directory.label}/${name}`;
      found.push({ source, entry, name: FILE.exec(name)?.groups?.["name"] ?? name });
    }
    return { directory, real, reason: null, found, folders };
  } catch (error) {
    return { ...nothing, real, reason: (error as Error).message };
  }
}

function isMeant(name: string): boolean {
  return !/^[._]/.test(name) && name !== "node_modules" && !BESIDE.test(name);
}

/** The file to import; null: it is no plug-in. */
async function entryOf(path: string, folders: string[]): Promise<string | null> {
  const found = await stat(path).catch(() => null);
  if (found === null) return null;
  if (!found.isDirectory()) return FILE.test(path.slice(path.lastIndexOf(sep) + 1)) ? path : null;
  folders.push(path);
  for (const index of INDEX) {
    if (await stat(join(path, index)).catch(() => null)) return join(path, index);
  }
  return null;
}

/**
 * Whether a file may be run: a file, within `roots` where it is linked to, that nobody else can change.
 * @throws Error that says what to do about it
 */
export async function checkFile(path: string, roots: readonly string[]): Promise<void> {
  const real = await realpath(path);
  if (real !== path && isInside(path, roots) && !isInside(real, roots)) {
    throw new Error(
      `${path} is a link to ${real}, out of every directory of plug-ins: put the file itself there`,
    );
  }
  const found = await stat(real);
  if (!found.isFile()) throw new Error(`${path} is no file`);
  checkOwner(real, found);
  checkOwner(dirname(real), await stat(dirname(real)));
}

function isInside(path: string, roots: readonly string[]): boolean {
  return roots.some((root) => path.startsWith(root + sep));
}

/** What is run here may be changed by this user and root alone. @throws Error */
function checkOwner(path: string, { uid, gid, mode }: Stats): void {
  const me = process.getuid?.();
  if (me === undefined) return;
  if (uid !== me && uid !== 0) {
    throw new Error(
      `${path} belongs to another user (uid ${uid}), who could run code here: chown it to this one`,
    );
  }
  // A group of one's own has the number of its user: nobody else is in it.
  const shares = (mode & GROUP_WRITES) !== 0 && !(gid === me && gid === process.getgid?.());
  if (shares || (mode & ANYBODY_WRITES) !== 0) {
    throw new Error(`others can write ${path}, and so run code here: chmod go-w '${path}'`);
  }
}
