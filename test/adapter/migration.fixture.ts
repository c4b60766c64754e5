import { SQL } from "bun";
import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { MigrationOptions } from "../../src/store/migration/migration.ts";
import { migrateStore } from "../../src/store/migration/migration.ts";
import { SCHEMA } from "../../src/store/postgres/schema.ts";
import { openWritable } from "../../src/store/sqlite/database.ts";
import { migrate } from "../../src/store/sqlite/schema.ts";
import { testDatabase } from "../support/postgres.ts";
import { temporaryDirectory } from "./store.sqlite.ts";

/** What an encoding of rows may stumble over. */
const TEXTS = [
  "",
  "plain",
  "ü 👩‍👧 \u2028\ufffd",
  String.raw`"quoted" 'and' \slashed\ {a,b},(c)`,
  "NULL",
  "null",
  "tab\t, line\n and \u0001",
  "Ł".repeat(1_000),
];

interface ColumnInfo {
  readonly name: string;
  readonly type: "TEXT" | "INTEGER" | "BLOB";
  readonly notnull: number;
  readonly pk: number;
}

export const SESSIONS = 7;
const PIECE = 20_000;
const FILES = 4;

/** Tables with what is kept, as they are in a file: not those of the index of the search. */
export function keptTables(db: Database): string[] {
  return db
    .query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .all()
    .map(({ name }) => name)
    .filter((name) => !/^(?:sqlite_|search|meta$)/.test(name));
}

export function columnsOf(db: Database, table: string): ColumnInfo[] {
  return db
    .query<ColumnInfo, [string]>('SELECT name, type, "notnull", pk FROM pragma_table_info(?)')
    .all(table);
}

function pieceOf(file: number, n: number): Uint8Array {
  return Uint8Array.from({ length: PIECE + n }, (_, at) => (at * 31 + file * 7 + n) % 256);
}

function sha256Of(file: number): string {
  const hash = createHash("sha256");
  for (const n of [0, 1]) hash.update(pieceOf(file, n));
  return hash.digest("hex");
}

/** The value of a column in the i-th row, from 0 on: of whatever table a schema has. */
function valueOf(
  table: string,
  { name, type, notnull }: ColumnInfo,
  i: number,
): string | number | Uint8Array | null {
  const session = (i % SESSIONS) + 1;
  if (name === "session_key") return table === "sessions" || table === "copies" ? i + 1 : session;
  if (name === "seq" && table === "events") return Math.floor(i / SESSIONS) + 1;
  if (name === "id" && table === "sessions") return `ses_${i + 1}`;
  if (name === "state") return ["live", "live", "copying", "deleting"][i % 4] ?? "live";
  if (name === "floor") return 0;
  if (name === "head") return 1_000 + i;
  if (name === "name" && table === "sessions") return i % 3 === 0 ? null : `Name É ${i}`;
  if (name === "skip") return JSON.stringify(TEXTS.slice(0, i % 5));
  if (name === "content_key") return table === "pieces" ? Math.floor(i / 2) + 1 : (i % FILES) + 1;
  if (name === "n") return i % 2;
  if (name === "sha256") return i === FILES - 1 ? null : sha256Of(i);
  if (name === "status") return ["complete", "streaming", "running"][i % 3] ?? "";
  if (name === "role") return ["user", "assistant", "tool"][i % 3] ?? "";
  if (type === "BLOB") return pieceOf(Math.floor(i / 2), i % 2);
  if (type === "INTEGER") {
    if (name === "archived") return i % 2;
    return notnull === 0 && i % 3 === 1 ? null : i + (name.endsWith("_at") ? 1_763_776_800_000 : 0);
  }
  if (name === "data" && table === "messages") return JSON.stringify({ content: `word${i} ${TEXTS[i % 8]}` });
  if (/id$|^key$|^user$|^model$|^day$/.test(name)) return `${name}-${i}-${TEXTS[(i * 3) % 4]}`;
  return notnull === 0 && i % 3 === 2 ? null : `${TEXTS[i % TEXTS.length]}`;
}

const ROWS: Readonly<Record<string, number>> = {
  sessions: SESSIONS,
  copies: 5,
  contents: FILES,
  pieces: 2 * FILES,
};

/** A database of a gateway that was stopped, with `rows` rows in every table, apart from those of `more`. */
export function fillSqlite(
  data_dir: string,
  rows: number,
  more: Readonly<Record<string, number>> = {},
): void {
  const db = openWritable(join(data_dir, "agentbus.db"), 0);
  db.run("PRAGMA synchronous = OFF");
  migrate(db);
  db.run("BEGIN");
  for (const table of keptTables(db)) {
    const columns = columnsOf(db, table);
    // Its own choice of them is a value, too.
    const marks = columns.map(() => "?").join(", ");
    const put = db.prepare(`INSERT INTO ${table} VALUES (${marks})`);
    for (let i = 0; i < ({ ...ROWS, ...more }[table] ?? rows); i++)
      put.run(...columns.map((column) => valueOf(table, column, i)));
    put.finalize();
  }
  db.run("INSERT INTO meta (name, value) VALUES ('server_id', 'the-gateway')");
  db.run("UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'audit'");
  db.run("COMMIT");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  db.close(true);
}

export interface Dump {
  readonly schema: unknown;
  readonly sequence: unknown;
  readonly meta: unknown;
  readonly queue: unknown;
  readonly rows: Readonly<Record<string, unknown[]>>;
}

/** All that a file has, apart from the epochs of sessions and the index of the search. */
export function dump(data_dir: string): Dump {
  const db = new Database(join(data_dir, "agentbus.db"), { readonly: true });
  const rows = keptTables(db).map((table) => {
    const columns = columnsOf(db, table).map(({ name }) => `"${name}"`);
    const all = db.query(`SELECT * FROM ${table} ORDER BY ${columns.join(", ")}`).all();
    if (table === "sessions") for (const row of all) delete (row as { epoch?: string }).epoch;
    return [table, all] as const;
  });
  const ask = (sql: string): unknown => db.query(sql).all();
  const found = {
    schema: ask("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"),
    sequence: ask("SELECT name, seq FROM sqlite_sequence"),
    meta: ask("SELECT name, value FROM meta ORDER BY name"),
    queue: ask("SELECT session_key, message_id FROM search_queue ORDER BY message_id"),
    rows: Object.fromEntries(rows),
  };
  db.close(true);
  return found;
}

export function epochsOf(data_dir: string): string[] {
  const db = new Database(join(data_dir, "agentbus.db"), { readonly: true });
  const rows = db.query<{ epoch: string }, []>("SELECT epoch FROM sessions ORDER BY session_key").all();
  db.close(true);
  return rows.map(({ epoch }) => epoch);
}

export function move(
  options: Pick<MigrationOptions, "data_dir" | "from" | "url"> & Partial<MigrationOptions>,
) {
  return migrateStore({ restart: false, onProgress: () => undefined, ...options });
}

/** As a run that ends before a table is verified: nothing of it is finished. */
export async function interrupted(
  options: Parameters<typeof move>[0],
  at: { readonly step: "copy" | "verify"; readonly table: string },
): Promise<void> {
  const stop = new Error("interrupted by the test");
  const stopped = await move({
    ...options,
    onProgress({ step, table }) {
      if (step === at.step && table === at.table) throw stop;
    },
  }).catch((error: unknown) => error);
  if (!(stopped instanceof Error) || stopped.cause !== stop) throw stopped;
}

/** A stopped gateway on SQLite, and an empty database of PostgreSQL. */
export async function filled(
  rows = 60,
  more: Readonly<Record<string, number>> = {},
): Promise<AsyncDisposable & { data_dir: string; url: string; sql: SQL }> {
  const directory = await temporaryDirectory();
  const database = await testDatabase();
  const sql = new SQL(database.url, { max: 1, connection: { search_path: SCHEMA } });
  fillSqlite(directory.path, rows, more);
  return {
    data_dir: directory.path,
    url: database.url,
    sql,
    async [Symbol.asyncDispose]() {
      await sql.close({ timeout: 1 });
      await database[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** What was migrated from makes room for what comes back. */
export function setAside(data_dir: string): void {
  const file = join(data_dir, "agentbus.db");
  for (const rest of ["", "-wal", "-shm"])
    if (existsSync(`${file}${rest}`)) renameSync(`${file}${rest}`, join(data_dir, `old.db${rest}`));
}

/** Behind the back of a gateway that was stopped. */
export function change(data_dir: string, sql: string): void {
  const db = new Database(join(data_dir, "agentbus.db"), { readwrite: true });
  db.run(sql);
  db.close(true);
}
