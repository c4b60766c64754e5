import type { Database } from "bun:sqlite";
import { hold } from "./database.ts";

/** Pages that are given back in one step: a commit that comes meanwhile waits for no more. */
const STEP_PAGES = 32;
/** Free ones that stay in the file, for what is written next. */
const KEPT_PAGES = 1_024;
/** A file whose pages can be given back a few at a time. */
const INCREMENTAL = 2;

/**
 * Gives the pages that are free back to the file system, a few at a time; the answer does one step, and says whether there is
 * more to do. A database that was made before this could be done keeps its size until it is written anew.
 */
export function createShrink(db: Database, transaction: (task: () => unknown) => void): () => boolean {
  const { auto_vacuum } = db.query<{ auto_vacuum: number }, []>("PRAGMA auto_vacuum").get() ?? {
    auto_vacuum: 0,
  };
  const free = hold<{ freelist_count: number }>(db, "PRAGMA freelist_count");
  const give = hold(db, `PRAGMA incremental_vacuum(${STEP_PAGES})`);
  return () => {
    if (auto_vacuum !== INCREMENTAL || (free.get()?.freelist_count ?? 0) <= KEPT_PAGES) return false;
    transaction(() => give.all());
    return true;
  };
}
