import type { Database } from "bun:sqlite";
import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { folded } from "../postgres/session-row.ts";
import { suspicionIn } from "../sqlite/data-dir.ts";
import type { Held } from "../sqlite/database.ts";
import { DATABASE_FILE, hold, openReadonly, openWritable } from "../sqlite/database.ts";
import { checkRoom, publish } from "../sqlite/draft.ts";
import { migrate, SCHEMA_VERSION, userVersion } from "../sqlite/schema.ts";
import { checkAtStart, checkLength } from "../sqlite/start-check.ts";
import type { Batch, End, Target } from "./end.ts";
import { BATCH, SEARCHABLE } from "./end.ts";
import type { Key, Row, Table } from "./tables.ts";
import { keyOf, placeOf, sqliteName, TABLES } from "./tables.ts";
import { draftPath, MARKER } from "./unfinished.ts";

/** Pages in the log after which they are moved into the file. */
const CHECKPOINT_PAGES = 4_000;

type Value = string | number | null | Uint8Array;

/** The database of a data directory, which is not changed. @throws GatewayError UNAVAILABLE */
export function openSqliteSource(data_dir: string): End {
  const path = join(data_dir, DATABASE_FILE);
  if (!existsSync(path)) throw refuse(`there is nothing to migrate: ${path} does not exist`);
  checkLength(path);
  const db = openReadonly(path);
  try {
    checkAtStart(db, path, suspicionIn(data_dir).exists());
    const schema = userVersion(db);
    if (schema > SCHEMA_VERSION)
      throw refuse(`${path} is of a newer agentbus (schema ${schema}, this one knows ${SCHEMA_VERSION})`);
    if (schema < SCHEMA_VERSION) {
      throw refuse(
        `${path} has schema ${schema}, and this agentbus wants ${SCHEMA_VERSION}: start the gateway on it once, and stop it`,
      );
    }
    return endOf(db, path, path);
  } catch (error) {
    db.close(true);
    throw error;
  }
}

/** What is to become the database of a data directory, in which there is none; `bytes`: what it will take, about. @throws GatewayError */
export function openSqliteTarget(data_dir: string, bytes: number): Target {
  const path = join(data_dir, DATABASE_FILE);
  for (const name of [path, `${path}-wal`]) {
    // What reads a database may leave an empty log beside it.
    const isThere = name === path ? existsSync(name) : existsSync(name) && statSync(name).size > 0;
    if (!isThere) continue;
    throw new GatewayError(
      "CONFLICT",
      `there is a database already: move ${name} away, with what else begins with ${DATABASE_FILE}, or choose another server.data_dir`,
      { details: { kind: "exists" } },
    );
  }
  const draft = draftPath(path);
  if (!existsSync(draft)) checkRoom(data_dir, bytes);
  const db = openDraft(draft);
  return {
    ...endOf(db, draft, path),
    async isEmpty() {
      return !TABLES.some(({ name }) => db.query(`SELECT 1 FROM ${name} LIMIT 1`).get() !== null);
    },
    async begin(meta, clear) {
      db.run("BEGIN IMMEDIATE");
      if (clear) for (const { name } of TABLES) db.run(`DELETE FROM ${name}`);
      for (const [name, value] of Object.entries(meta)) putMeta(db, name, value);
      db.run("COMMIT");
    },
    write: createWrite(db),
    async finish(audit) {
      makeWhole(db, audit);
      db.close(true);
      for (const rest of ["-wal", "-shm"]) rmSync(`${path}${rest}`, { force: true });
      publish(draft, path);
    },
  };
}

function openDraft(draft: string): Database {
  const db = openWritable(draft, 0);
  try {
    // A batch that is lost with the power is copied again: its mark is lost with it.
    db.run("PRAGMA synchronous = NORMAL");
    db.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    // A sort of all messages is not for memory.
    db.run("PRAGMA temp_store = FILE");
    migrate(db);
    return db;
  } catch (error) {
    db.close(true);
    throw error;
  }
}

/** From here on nothing is left to be done but to give it its name. */
function makeWhole(db: Database, audit: number): void {
  db.run("PRAGMA synchronous = FULL");
  db.run("BEGIN IMMEDIATE");
  db.run("DELETE FROM search_queue");
  db.run(SEARCHABLE);
  // Its numbers are never given again.
  db.run("DELETE FROM sqlite_sequence WHERE name = 'audit'");
  db.query("INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ?)").run(audit);
  db.query("DELETE FROM meta WHERE name = ?").run(MARKER);
  db.run("COMMIT");
  // All of it is in the one file then.
  const mode = db.query<{ journal_mode: string }, []>("PRAGMA journal_mode = DELETE").get()?.journal_mode;
  if (mode !== "delete")
    throw refuse("somebody else has the new database open: close that, and run it again");
}

function endOf(db: Database, file: string, place: string): End {
  const reads = new Map<string, (after: Key | null) => Batch>();
  return {
    kind: "sqlite",
    place,
    schema: userVersion(db),
    async meta(name) {
      return (
        db.query<{ value: string }, [string]>("SELECT value FROM meta WHERE name = ?").get(name)?.value ??
        null
      );
    },
    async read(table, after) {
      const known = reads.get(table.name) ?? createRead(db, table);
      reads.set(table.name, known);
      return known(after);
    },
    async count({ name }) {
      return db.query<{ n: number }, []>(`SELECT COUNT(*) AS n FROM ${name}`).get()?.n ?? 0;
    },
    async ask(sql) {
      return db.query<Record<string, string>, []>(sql).values().flat().map(String).join(" ");
    },
    async size() {
      return statSync(file).size;
    },
    async highestAudit() {
      const row = db.query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").get();
      return row?.seq ?? 0;
    },
    async close() {
      db.close(true);
    },
  };
}

/** Text of which PostgreSQL would not take a character is read as it takes it. */
function createRead(db: Database, table: Table): (after: Key | null) => Batch {
  const kept = keptColumns(table);
  const order = table.key.map((column) => `"${sqliteName(column)}"`).join(", ");
  const marks = table.key.map(() => "?").join(", ");
  const select = `SELECT ${kept.map(({ sql }) => sql).join(", ")} FROM ${table.name}`;
  const first = hold<Record<string, Value>>(db, `${select} ORDER BY ${order} LIMIT ?`);
  const later = hold<Record<string, Value>>(
    db,
    `${select} WHERE (${order}) > (${marks}) ORDER BY ${order} LIMIT ?`,
  );
  const columns = Object.entries(table.columns);
  const toRow = (found: Record<string, Value>): Row =>
    columns.map(([column, type]) => {
      if (type === "folded") return foldedOf(found[column.slice(0, -"_folded".length)]);
      const value = found[sqliteName(column)] ?? null;
      return typeof value === "string" && value.includes("\0") ? value.replaceAll("\0", "\uFFFD") : value;
    });
  return (after) => {
    const rows: Row[] = [];
    let bytes = 0;
    const found = after === null ? first.iterate(BATCH.rows) : later.iterate(...after, BATCH.rows);
    for (const each of found) {
      const row = toRow(each);
      rows.push(row);
      bytes += bytesOf(row);
      if (bytes >= BATCH.bytes) break;
    }
    const last = rows.at(-1);
    return { rows, bytes, next: last === undefined ? null : keyOf(table, last) };
  };
}

function foldedOf(value: Value | undefined): string | null {
  return typeof value === "string" ? folded(value) : null;
}

/** About what a row takes. */
function bytesOf(row: Row): number {
  let bytes = 0;
  for (const value of row)
    bytes += typeof value === "string" ? value.length : value instanceof Uint8Array ? value.length : 8;
  return bytes;
}

function createWrite(db: Database): Target["write"] {
  const puts = new Map<string, { readonly put: Held<never>; readonly places: readonly number[] }>();
  const putOf = (table: Table): { readonly put: Held<never>; readonly places: readonly number[] } => {
    const kept = keptColumns(table);
    const names = kept.map(({ sql }) => sql).join(", ");
    const put = hold(db, `INSERT INTO ${table.name} (${names}) VALUES (${kept.map(() => "?").join(", ")})`);
    return { put, places: kept.map(({ column }) => placeOf(table, column)) };
  };
  return async (table, rows, marker) => {
    const known = puts.get(table.name) ?? putOf(table);
    puts.set(table.name, known);
    const { put, places } = known;
    db.run("BEGIN IMMEDIATE");
    try {
      for (const row of rows) put.run(...places.map((place) => row[place] ?? null));
      putMeta(db, MARKER, marker);
      db.run("COMMIT");
    } catch (error) {
      if (db.inTransaction) db.run("ROLLBACK");
      throw error;
    }
  };
}

/** Those that SQLite keeps. */
function keptColumns({ columns }: Table): { readonly column: string; readonly sql: string }[] {
  return Object.keys(columns)
    .filter((column) => columns[column] !== "folded")
    .map((column) => ({ column, sql: `"${sqliteName(column)}"` }));
}

function putMeta(db: Database, name: string, value: string): void {
  db.query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)").run(name, value);
}

function refuse(message: string): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" } });
}
