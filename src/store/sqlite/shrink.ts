import type { Database } from "bun:sqlite";
import { hold } from "./database.ts";

/** What is given back in one step, pages and milliseconds: a commit that comes meanwhile waits for no more. */
const STEP_PAGES = 32;
/** SQLite looks each page up in the list of all that are free: the more there are, the longer it takes. */
const STEP_MS = 5;
/** Free ones that stay in the file, for what is written next. */
const KEPT_PAGES = 1_024;
/** A file whose pages can be given back a few at a time. */
const INCREMENTAL = 2;

/**
 * Gives the pages that are free back to the file system, a few at a time; the answer does one step, and says whether there is
 * more to do. A database that was made before this could be done keeps its size until it is written anew.
 */
export function createShrink(
  db: Database,
  transaction: (task: () => unknown) => void,
  now: () => number = () => performance.now(),
): () => boolean {
  const { auto_vacuum } = db.query<{ auto_vacuum: number }, []>("PRAGMA auto_vacuum").get() ?? {
    auto_vacuum: 0,
  };
  const free = hold<{ freelist_count: number }>(db, "PRAGMA freelist_count");
  const give = hold(db, "PRAGMA incremental_vacuum(1)");
  return () => {
    if (auto_vacuum !== INCREMENTAL || (free.get()?.freelist_count ?? 0) <= KEPT_PAGES) return false;
    transaction(() => {
      const until = now() + STEP_MS;
      for (let pages = 0; pages < STEP_PAGES && (pages === 0 || now() < until); pages++) give.all();
    });
    return true;
  };
}
