import type { Database } from "bun:sqlite";
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { BUSY_TIMEOUT_MS } from "./database.ts";

/** Pages that are looked at in one step. */
const STEP_PAGES = 1_024;
/** The page that holds SQLite's locks begins here, and is no page of anything. */
const LOCK_BYTE = 0x40000000;
const FILE_HEADER_BYTES = 100;
/** First bytes of a page of a table or an index, and how long its header is. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [2, 12],
  [5, 12],
  [10, 8],
  [13, 8],
]);

export type ScrubStep = "done" | "more" | "busy";

/**
 * Overwrites what no row, index or list of a database has any more. SQLite overwrites what it deletes where it lies, but not what it
 * left behind when it moved rows from page to page; that is in the parts of pages nothing refers to.
 */
export interface Scrub {
  /** One step; after "done" the next one begins anew. "busy": somebody still reads what was there before. */
  step(): ScrubStep;
  /** After the database was closed: the file is held open until then, since to close it would take away the locks on it. */
  close(): void;
}

export function createScrub(db: Database, path: string): Scrub {
  let file: number | null = null;
  let next = 0;

  return {
    step() {
      // All there is has to be in the file, and nothing in memory that would be written over it.
      if (!emptyLog(db)) return "busy";
      db.run("PRAGMA shrink_memory");
      const { page_size } = db.query<{ page_size: number }, []>("PRAGMA page_size").get() ?? {
        page_size: 4_096,
      };
      file ??= openSync(path, "r+");
      const buffer = Buffer.alloc(STEP_PAGES * page_size);
      const length = readSync(file, buffer, 0, buffer.length, next * page_size);
      const isNoTree = otherPages(page_size);
      for (let at = 0; at + page_size <= length; at += page_size) {
        const number = next + at / page_size + 1;
        if (isNoTree(number)) continue;
        for (const [from, to] of deadParts(buffer.subarray(at, at + page_size), number === 1)) {
          writeSync(file, Buffer.alloc(to - from), 0, to - from, next * page_size + at + from);
        }
      }
      next += STEP_PAGES;
      if (length === buffer.length) return "more";
      fsyncSync(file);
      next = 0;
      return "done";
    },
    close() {
      if (file !== null) closeSync(file);
      file = null;
    },
  };
}

/** False where somebody reads in the log, or was about to. */
function emptyLog(db: Database): boolean {
  db.run("PRAGMA busy_timeout = 0");
  try {
    return db.query<{ busy: number }, []>("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy === 0;
  } finally {
    db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

/** The pages that say where other pages belong, of which a file that can shrink has one before each so many, and that of the locks. */
function otherPages(page_size: number): (number: number) => boolean {
  const told = Math.floor(page_size / 5);
  const locks = LOCK_BYTE / page_size + 1;
  return (number) => {
    if (number === locks) return true;
    const map = Math.floor((number - 2) / (told + 1)) * (told + 1) + 2;
    return number === (map === locks ? map + 1 : map);
  };
}

/** What of a page of a tree belongs to nothing and is not empty. Of any other page: nothing. */
export function deadParts(page: Buffer, isFirst: boolean): [number, number][] {
  const start = isFirst ? FILE_HEADER_BYTES : 0;
  const header = HEADER_BYTES.get(page[start] ?? 0);
  if (header === undefined) return [];
  const cells = page.readUInt16BE(start + 3);
  const content = page.readUInt16BE(start + 5) || 65_536;
  const free = start + header + 2 * cells;
  if (free > content || content > page.length) return [];
  for (let at = start + header; at < free; at += 2) {
    const cell = page.readUInt16BE(at);
    if (cell < content || cell >= page.length) return [];
  }
  const parts: [number, number][] = [[free, content]];
  // The free blocks between cells, each larger than the last.
  for (let block = page.readUInt16BE(start + 1); block !== 0;) {
    if (block < content || block + 4 > page.length) return [];
    const size = page.readUInt16BE(block + 2);
    if (size < 4 || block + size > page.length) return [];
    parts.push([block + 4, block + size]);
    const following = page.readUInt16BE(block);
    if (following !== 0 && following <= block) return [];
    block = following;
  }
  return parts.filter(([from, to]) => page.subarray(from, to).some((byte) => byte !== 0));
}
