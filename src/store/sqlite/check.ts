import { Database } from "bun:sqlite";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { RecordRow } from "../../core/record.ts";
import { draftPath } from "../migration/unfinished.ts";
import { DATABASE_FILE, describeError, openReadonly } from "./database.ts";
import { SCHEMA_VERSION, userVersion } from "./schema.ts";

/** How the database of a data directory is. */
export interface DatabaseCheck {
  readonly file: string;
  readonly bytes: number;
  /** Its pages were read; false: there are more than `most_bytes` of them. */
  readonly read: boolean;
  /** What is wrong, a few of it; empty: nothing is. */
  readonly faults: readonly string[];
}

const FAULTS = 3;

/** The schema of a database, which may be that of a newer version; 0: none yet, or it cannot be read. */
export function schemaOf(path: string): number {
  if (!isFile(path)) return 0;
  let db: Database | null = null;
  try {
    db = openReadonly(path);
    return userVersion(db);
  } catch {
    return 0;
  } finally {
    db?.close(true);
  }
}

/**
 * Reads a database beside whoever writes it, who waits for nothing meanwhile. `deep`: indexes are compared with their tables, too,
 * and it is read however large it is. Null: there is none yet.
 */
export function checkDatabase(data_dir: string, deep: boolean, most_bytes: number): DatabaseCheck | null {
  const file = join(data_dir, DATABASE_FILE);
  const draft = draftPath(file);
  if (existsSync(draft)) {
    const fault = "it is a migration that was not finished";
    return { file: draft, bytes: statSync(draft).size, read: false, faults: [fault] };
  }
  if (!existsSync(file)) return null;
  const bytes = statSync(file).size;
  if (!isFile(file)) return { file, bytes, read: false, faults: ["it is no file"] };
  const read = deep || bytes <= most_bytes;
  let db: Database | null = null;
  try {
    db = new Database(file, { readonly: true, strict: true });
    const schema = userVersion(db);
    if (schema > SCHEMA_VERSION) {
      const fault = `it is of a newer agentbus (schema ${schema}, this one knows ${SCHEMA_VERSION})`;
      return { file, bytes, read: false, faults: [fault] };
    }
    return { file, bytes, read, faults: read ? faultsIn(db, deep) : [] };
  } catch (error) {
    return { file, bytes, read, faults: [describeError(error)] };
  } finally {
    db?.close(true);
  }
}

/** Of a pipe in its place everybody would wait who opens it. */
function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** Records of a database, read beside whoever writes it; none where it cannot be read, which checkDatabase tells. */
export function recordsIn(data_dir: string, collections: readonly string[]): RecordRow[] {
  const file = join(data_dir, DATABASE_FILE);
  if (!isFile(file)) return [];
  let db: Database | null = null;
  try {
    db = openReadonly(file);
    const sql = `SELECT collection, id, owner, data, expires_at FROM records
      WHERE collection IN (SELECT value FROM json_each(?)) ORDER BY collection, id`;
    return db.query<RecordRow, [string]>(sql).all(JSON.stringify(collections));
  } catch {
    return [];
  } finally {
    db?.close(true);
  }
}

function faultsIn(db: Database, deep: boolean): string[] {
  const pragma = deep ? "integrity_check" : "quick_check";
  const rows = db.query<Record<string, string>, []>(`PRAGMA ${pragma}(${FAULTS})`).all();
  return rows.flatMap((row) => Object.values(row)).filter((line) => line !== "ok");
}
