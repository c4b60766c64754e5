import { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { prepareDataDir } from "./data-dir.ts";
import { DATABASE_FILE, describeError, openReadonly } from "./database.ts";
import {
  checkRoom,
  clearDrafts,
  createDraft,
  draftOf,
  isTaken,
  publish,
  removeDraft,
  sync,
  syncDirectory,
} from "./draft.ts";
import { releaseLock, takeLock } from "./lock.ts";
import { SCHEMA_VERSION, userVersion } from "./schema.ts";
import { putAside } from "./put-aside.ts";
import { RESTORED } from "./start.ts";

/** What a copy of a database holds, once it was read through. */
export interface BackupFacts {
  readonly bytes: number;
  readonly sessions: number;
  readonly messages: number;
  readonly schema: number;
}

/**
 * Copies the database of a data directory, as it is at one moment, into a file that is not there yet; a gateway may be running and
 * writing. Only a copy that was read through and is whole gets the name. @throws GatewayError UNAVAILABLE, CONFLICT {kind:"exists"}
 */
export function backUp(data_dir: string, file: string): BackupFacts {
  const source = join(data_dir, DATABASE_FILE);
  if (!existsSync(source)) throw unavailable(`there is nothing to back up: ${source} does not exist`);
  if (!existsSync(dirname(file))) throw unavailable(`there is no directory ${dirname(file)}: make it first`);
  if (isTaken(file)) {
    throw new GatewayError("CONFLICT", `${file} exists already: name another file, or a directory`, {
      details: { kind: "exists" },
    });
  }
  const draft = draftOf(file);
  try {
    clearDrafts(dirname(file));
    checkRoom(dirname(file), bytesOf(source));
    copyInto(draft, openReadonly(source));
    const facts = readThrough(draft);
    publish(draft, file);
    return facts;
  } catch (error) {
    discard(draft);
    if (error instanceof GatewayError) throw error;
    throw unavailable(`${source} cannot be backed up: ${describeError(error)}`, error);
  }
}

/** Where that fails, too, what failed first is the reason that counts. */
function discard(draft: string): void {
  try {
    removeDraft(draft);
  } catch {
    // The next backup clears it.
  }
}

/** All of it, with what its log holds, into a file that nobody else can read, from its first byte on. */
function copyInto(draft: string, db: Database): void {
  try {
    createDraft(draft);
    db.query("VACUUM INTO ?").run(draft);
  } finally {
    db.close(true);
  }
}

/** How long a copy is at most: what is only in the log counts, too. */
function bytesOf(source: string): number {
  const log = statSync(`${source}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  return statSync(source).size + log;
}

/** The database that was there, and what is there now. */
export interface Restored extends BackupFacts {
  /** Where the database that was there before is kept; null: there was none. */
  readonly kept: string | null;
}

/** Records that are looked at before what is restored counts. */
export interface Revision {
  readonly collections: readonly string[];
  /** What is stored in the place of its data. */
  revise(collection: string, id: string, data: string): string;
}

/**
 * Puts a backup in place of the database of a data directory, which no process may hold. At the next start every client is told that
 * its cursor is worth nothing any more. @throws GatewayError UNAVAILABLE
 */
export function restore(data_dir: string, file: string, revision: Revision, now: number): Restored {
  const facts = readThrough(file);
  prepareDataDir(data_dir);
  const lock = takeLock(data_dir, process.pid);
  const target = join(data_dir, DATABASE_FILE);
  const draft = `${target}.restoring`;
  try {
    rmSync(draft, { force: true });
    copyInto(draft, new Database(file, { readonly: true, strict: true }));
    prepare(draft, revision);
    sync(draft);
    const kept = existsSync(target) ? putAside(target, "before-restore", now) : null;
    renameSync(draft, target);
    syncDirectory(data_dir);
    return { ...facts, kept };
  } catch (error) {
    rmSync(draft, { force: true });
    if (error instanceof GatewayError) throw error;
    throw unavailable(`${data_dir} cannot be restored: ${describeError(error)}`, error);
  } finally {
    releaseLock(lock);
  }
}

interface RecordColumns {
  readonly place: number;
  readonly collection: string;
  readonly id: string;
  readonly data: string;
}

/** Every page and every index of it. @throws GatewayError UNAVAILABLE where it is no backup, or not whole */
function readThrough(file: string): BackupFacts {
  if (!existsSync(file)) throw unavailable(`${file} does not exist`);
  let db: Database | null = null;
  try {
    db = new Database(file, { readonly: true, strict: true });
    const schema = userVersion(db);
    const known = db
      .query<{ n: number }, []>(
        "SELECT COUNT(*) AS n FROM sqlite_schema WHERE name IN ('meta', 'sessions', 'events')",
      )
      .get();
    if (known?.n !== 3) throw unavailable(`${file} is no backup of agentbus`);
    if (schema > SCHEMA_VERSION) {
      throw unavailable(
        `${file} is of a newer agentbus (schema ${schema}, this one knows ${SCHEMA_VERSION}): use that version`,
      );
    }
    const faults = db.query<{ integrity_check: string }, []>("PRAGMA integrity_check(3)").all();
    const found = faults.map(({ integrity_check }) => integrity_check).filter((line) => line !== "ok");
    if (found.length > 0) throw unavailable(`${file} is damaged: ${found.join("; ")}`);
    const count = (table: string): number =>
      db?.query<{ n: number }, []>(`SELECT COUNT(*) AS n FROM ${table}`).get()?.n ?? 0;
    return { bytes: statSync(file).size, sessions: count("sessions"), messages: count("messages"), schema };
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw unavailable(`${file} cannot be read as a backup: ${describeError(error)}`, error);
  } finally {
    db?.close(true);
  }
}

/** The next start draws every epoch anew. */
function prepare(file: string, revision: Revision): void {
  const db = new Database(file, { readwrite: true, strict: true });
  try {
    const put = db.query("UPDATE records SET data = ? WHERE place = ?");
    const found = db
      .query<RecordColumns, [string]>(
        "SELECT place, collection, id, data FROM records WHERE collection IN (SELECT value FROM json_each(?))",
      )
      .all(JSON.stringify(revision.collections));
    for (const { place, collection, id, data } of found) {
      const revised = revision.revise(collection, id, data);
      if (revised !== data) put.run(revised, place);
    }
    db.query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, '1')").run(RESTORED);
  } finally {
    db.close(true);
  }
  for (const rest of ["-wal", "-shm"]) rmSync(`${file}${rest}`, { force: true });
}

function unavailable(message: string, cause?: unknown): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "backup" }, cause });
}
