import type { SQLQueryBindings, Statement } from "bun:sqlite";
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import type { StorageRefusal } from "../../core/operation.ts";

export const DATABASE_FILE = "agentbus.db";

/** How long a statement waits for somebody else's lock (a backup tool, a shell) before storage refuses. */
export const BUSY_TIMEOUT_MS = 250;
const CACHE_KIB = 16 * 1024;
/** The log file is cut back to this after it grew during a burst. */
const WAL_BYTES_KEPT = 64 * 1024 * 1024;

/** A prepared statement that is held for the life of its connection. */
export type Held<Row> = Statement<Row, SQLQueryBindings[]>;

export function hold<Row = never>(db: Database, sql: string): Held<Row> {
  return db.prepare<Row, SQLQueryBindings[]>(sql);
}

/** The one connection that writes. `max_bytes` 0: no bound. */
export function openWritable(path: string, max_bytes: number): Database {
  createPrivate(path);
  const db = new Database(path, { create: true, readwrite: true, strict: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  // Of a new file only: pages that are free can be given back. Before anything else is written.
  db.run("PRAGMA auto_vacuum = INCREMENTAL");
  db.run("PRAGMA journal_mode = WAL");
  // What is deleted is overwritten, wherever it was, so that it is in the file no longer.
  db.run("PRAGMA secure_delete = ON");
  db.run("PRAGMA synchronous = FULL");
  db.run("PRAGMA foreign_keys = ON");
  // An fsync on macOS reaches the disk only with these; elsewhere they do nothing.
  db.run("PRAGMA fullfsync = ON");
  db.run("PRAGMA checkpoint_fullfsync = ON");
  db.run("PRAGMA temp_store = MEMORY");
  db.run(`PRAGMA cache_size = -${CACHE_KIB}`);
  db.run(`PRAGMA journal_size_limit = ${WAL_BYTES_KEPT}`);
  // SQLite's own checkpoints swallow errors, so that a failed fsync would pass unseen: the writer makes them.
  db.run("PRAGMA wal_autocheckpoint = 0");
  if (max_bytes > 0) {
    const page = db.query<{ page_size: number }, []>("PRAGMA page_size").get()?.page_size ?? 4096;
    db.run(`PRAGMA max_page_count = ${Math.max(1, Math.floor(max_bytes / page))}`);
  }
  return db;
}

export function openReadonly(path: string): Database {
  const db = new Database(path, { readonly: true, strict: true });
  db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return db;
}

/** Makes the file readable for its owner only. An existing one is never opened: closing it would drop SQLite's locks. */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
}

const REFUSALS: ReadonlyMap<number, StorageRefusal> = new Map([
  [5, "busy"],
  [7, "nomem"],
  [8, "readonly"],
  [13, "full"],
]);

/** Why storage refused, where an error is known to have changed nothing; null for every other error. */
export function refusalOf(error: unknown): StorageRefusal | null {
  if (!(error instanceof SQLiteError)) return null;
  return REFUSALS.get(error.errno & 0xff) ?? null;
}

/** One line about an error, with SQLite's code where it has one. */
export function describeError(error: unknown): string {
  if (error instanceof SQLiteError) return `${error.code ?? "SQLITE"}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
