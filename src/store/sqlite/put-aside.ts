import { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync } from "node:fs";
import { keepAs } from "./draft.ts";

/** Keeps the database under another name, with what its log holds; its own name is there until another file takes it. */
export function putAside(target: string, why: string, now: number): string {
  const kept = `${target}.${why}-${new Date(now).toISOString().replaceAll(/[:.]/g, "-")}`;
  try {
    const db = new Database(target, { readwrite: true });
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close(true);
  } catch {
    // It may be damaged, which is why it is replaced: then it is kept as it is.
  }
  keepAs(target, kept);
  if (existsSync(`${target}-wal`)) renameSync(`${target}-wal`, `${kept}-wal`);
  rmSync(`${target}-shm`, { force: true });
  return kept;
}
