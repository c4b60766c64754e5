import type { BigIntStats, Dirent } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { isInside, readInside } from "./confined.ts";
import type { SkillText } from "./front-matter.ts";
import { readSkill } from "./front-matter.ts";

export const SKILL_FILE = "SKILL.md";

/** Where skills are looked for. */
export interface SkillDirectory {
  /** What it is called to clients. */
  readonly label: string;
  /** Absolute. */
  readonly path: string;
}

export interface Folder {
  /** Real path. */
  readonly path: string;
  /** What tells it from another folder of that path. */
  readonly identity: string;
}

/** A folder that is meant to be a skill, as it was found. */
export interface FoundSkill {
  /** The folder's. */
  readonly name: string;
  readonly directory: SkillDirectory;
  /** Null: it was not looked into. */
  readonly folder: Folder | null;
  /** The last version that could be read. */
  readonly good: (SkillText & { readonly digest: string }) | null;
  /** What is wrong with the folder as it is now. */
  readonly reason: string | null;
  /** Changes with SKILL.md; null: not to be relied on. */
  readonly mark: string | null;
}

export interface LookBounds {
  readonly skills: number;
  readonly skill_bytes: number;
  /** Entries of a directory that are looked at. */
  readonly entries: number;
}

export interface Look {
  readonly directory: SkillDirectory;
  /** Its real path; null: it is not there. */
  readonly real: string | null;
  readonly identity: string;
  readonly reason: string | null;
  readonly found: readonly FoundSkill[];
  /** Folders that are no skills, and may become some. */
  readonly others: readonly Folder[];
}

export interface LookOptions {
  readonly bounds: LookBounds;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Real paths of all directories: a link from one into another is fine. */
  readonly roots: readonly string[];
  /** What was found there before, by name. */
  readonly before: ReadonlyMap<string, FoundSkill>;
}

/** Files are looked at so many at once. */
const AT_ONCE = 32;
/** A file that was changed so lately may change again without its times telling. */
const UNSETTLED_MS = 2_000;

/** What is in a directory of skills now; never rejects. What did not change is not read again. */
export async function lookInto(directory: SkillDirectory, options: LookOptions): Promise<Look> {
  const { bounds, before } = options;
  let real: string;
  let identity: string;
  let entries: Dirent[];
  try {
    real = await realpath(directory.path);
    identity = identityOf(await stat(real, { bigint: true }));
    entries = await readdir(real, { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return { directory, real: null, identity: "", reason: null, found: [], others: [] };
    const reason = `it cannot be read (${codeOf(error)})`;
    const found = [...before.values()].map((skill) => ({ ...skill, reason, mark: null }));
    return { directory, real: null, identity: "", reason, found, others: [] };
  }
  const names = entries
    .filter((entry) => !entry.isFile() && !entry.name.startsWith(".") && entry.name !== "node_modules")
    .map(({ name }) => name)
    .sort();
  const found: FoundSkill[] = [];
  const others: Folder[] = [];
  for (let at = 0; at < Math.min(names.length, bounds.entries); at += AT_ONCE) {
    const some = names.slice(at, Math.min(at + AT_ONCE, bounds.entries));
    const looked = await Promise.all(some.map((name) => lookAt(directory, join(real, name), name, options)));
    for (const each of looked) {
      if (each === null) continue;
      if ("identity" in each) others.push(each);
      else found.push(each);
    }
    if (found.length > bounds.skills) break;
  }
  const reason = tooMuch(found.length, names.length, bounds);
  return { directory, real, identity, reason, found: found.slice(0, bounds.skills), others };
}

function tooMuch(skills: number, folders: number, bounds: LookBounds): string | null {
  if (skills > bounds.skills)
    return `there are too many skills: only the first ${bounds.skills} here are used`;
  if (folders <= bounds.entries) return null;
  return `it has ${folders} folders, only the first ${bounds.entries} are looked into`;
}

/** A skill, a folder that is none, or (null) something else. Never rejects. */
async function lookAt(
  directory: SkillDirectory,
  path: string,
  name: string,
  options: LookOptions,
): Promise<FoundSkill | Folder | null> {
  const known = options.before.get(name);
  const nothing = { name, directory, folder: null, good: null, reason: null, mark: null };
  let folder: Folder;
  try {
    const real = await realpath(path);
    if (!options.roots.some((root) => isInside(root, real))) {
      const reason =
        "it is a link out of the directories of skills: add where it leads to skills.directories";
      return { ...nothing, reason };
    }
    const found = await stat(real, { bigint: true });
    if (!found.isDirectory()) return null;
    folder = { path: real, identity: identityOf(found) };
  } catch (error) {
    return isAbsent(error) ? null : { ...(known ?? nothing), mark: null, reason: sayWhy(error) };
  }
  return await readFolder({ ...(known ?? nothing), name, directory, folder }, options);
}

/** `known`: the skill as it was before, in the folder as it is now. */
async function readFolder(known: FoundSkill & { folder: Folder }, { now, bounds }: LookOptions) {
  const file = join(known.folder.path, SKILL_FILE);
  let mark: string | null = null;
  try {
    await lstat(file);
    const times = markOf(await stat(file, { bigint: true }));
    if (known.mark === times.mark) return known;
    if (times.changed_at < now - UNSETTLED_MS) mark = times.mark;
    const text = await readText(known.folder.path, bounds.skill_bytes);
    const digest = new Bun.CryptoHasher("sha256").update(text).digest("base64");
    return { ...known, good: { ...readSkill(text, known.name), digest }, reason: null, mark };
  } catch (error) {
    return (await isGone(file)) ? known.folder : { ...known, reason: sayWhy(error), mark };
  }
}

async function isGone(file: string): Promise<boolean> {
  return lstat(file).then(() => false, isAbsent);
}

/** @throws Error that says what is wrong with the file */
async function readText(folder: string, max_bytes: number): Promise<string> {
  const { text, cut, bytes } = await readInside(folder, SKILL_FILE, max_bytes);
  if (cut) {
    throw new Error(
      `SKILL.md has ${bytes} bytes, at most ${max_bytes} are allowed: move parts into files beside it`,
    );
  }
  return text;
}

function markOf(file: BigIntStats): { mark: string; changed_at: number } {
  const { size, mtimeNs, ctimeNs, ctimeMs } = file;
  return { mark: `${identityOf(file)}:${size}:${mtimeNs}:${ctimeNs}`, changed_at: Number(ctimeMs) };
}

function identityOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR"].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
}

function sayWhy(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : `it cannot be read (${code})`;
}
