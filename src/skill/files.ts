import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { SKILL_FILE } from "./directory.ts";

export interface FileList {
  /** Relative to the folder, in order. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
  /** There are more. */
  readonly more: boolean;
}

/** Deeper files are not listed. */
const DEPTH = 4;
/** Of a folder with more entries only so many are looked at. */
const ENTRIES = 2_000;

/**
 * The files of a skill's folder besides SKILL.md, at most so many. Links, what begins with a dot and what package
 * managers put there are left out; they can still be read by their path. Never rejects.
 */
export async function listFiles(folder: string, most: number): Promise<FileList> {
  const files: { path: string; bytes: number }[] = [];
  let more = false;
  let folders = [""];
  for (let depth = 0; depth < DEPTH && folders.length > 0; depth++) {
    const below: string[] = [];
    for (const at of folders) {
      for (const entry of await entriesOf(join(folder, at))) {
        const path = at === "" ? entry.name : `${at}/${entry.name}`;
        if (path === SKILL_FILE) continue;
        if (entry.isFile() && files.length >= most) more = true;
        else if (entry.isFile()) files.push({ path, bytes: await sizeOf(join(folder, path)) });
        else if (entry.isDirectory() && below.length < most) below.push(path);
        if (more) return { files, more };
      }
    }
    folders = below;
  }
  return { files, more: more || folders.length > 0 };
}

async function entriesOf(path: string): Promise<Dirent[]> {
  // One that is gone, or may not be read, has nothing to list.
  const entries = await readdir(path, { withFileTypes: true }).catch((): Dirent[] => []);
  return entries
    .filter(({ name }) => !name.startsWith(".") && name !== "node_modules" && name !== "__pycache__")
    .slice(0, ENTRIES)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function sizeOf(path: string): Promise<number> {
  return lstat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
