import type { Database } from "bun:sqlite";
import { SQLiteError } from "bun:sqlite";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { GatewayError } from "../../protocol/errors.ts";
import { describeError } from "./database.ts";

/** Small, and needed by everything: looked through at every start. */
const LOOKED_THROUGH = ["meta", "quotas", "records", "sessions"];
const HEADER_BYTES = 100;
/** Faults that are named. */
const FAULTS = 3;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

/**
 * Whether a database is whole: a look that takes no time at a start, or (`all`) every page and index of it.
 * @throws GatewayError UNAVAILABLE {kind:"damaged"} where it is not; what SQLite throws where it cannot be looked at
 */
export function checkAtStart(db: Database, path: string, all: boolean): void {
  const fault = faultOf(db, all);
  if (fault !== null) throw damaged(path, fault);
}

function damaged(path: string, fault: string): GatewayError {
  return new GatewayError(
    "UNAVAILABLE",
    `${path} is damaged (${fault}): put a backup in its place with agentbus restore FILE, or save what can be read of it with agentbus repair`,
    { details: { kind: "damaged" } },
  );
}

function faultOf(db: Database, all: boolean): string | null {
  try {
    const tables = db
      .query<{ name: string }, []>(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'",
      )
      .all()
      .map(({ name }) => name);
    // Nothing is in it yet, or what somebody else put there, which is told when the schema is brought up to date.
    if (!tables.includes("meta")) return null;
    for (const name of tables) db.query(`SELECT 1 FROM "${name}" NOT INDEXED LIMIT 1`).get();
    const looks = all
      ? [`PRAGMA integrity_check(${FAULTS})`]
      : LOOKED_THROUGH.map((name) => `PRAGMA quick_check(${name})`);
    const said = looks.flatMap((sql) => db.query<Record<string, string>, []>(sql).values().flat());
    const faults = said.map(String).filter((line) => line !== "ok");
    return faults.length === 0 ? null : faults.slice(0, FAULTS).join("; ");
  } catch (error) {
    if (error instanceof SQLiteError && [CORRUPT, NOT_A_DATABASE].includes(error.errno & 0xff))
      return describeError(error);
    throw error;
  }
}

/**
 * A file that was cut off is told apart from one whose log holds what it lacks. Before anything of this process has it open: to
 * close it would take away the locks on it. @throws GatewayError UNAVAILABLE {kind:"damaged"}
 */
export function checkLength(path: string): void {
  const { bytes, expected } = lengthOf(path);
  if (bytes < expected) throw damaged(path, `the file has ${bytes} bytes of ${expected}`);
}

/** How long a file is and says it is; 0 where nothing is said, or a log holds what it lacks. */
export function lengthOf(path: string): { bytes: number; expected: number } {
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const hasLog = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
  if (bytes < HEADER_BYTES || hasLog) return { bytes, expected: 0 };
  const header = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, "r");
  try {
    readSync(file, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(file);
  }
  if (!header.toString("latin1").startsWith("SQLite format 3")) return { bytes, expected: 0 };
  const page = header.readUInt16BE(16);
  return { bytes, expected: header.readUInt32BE(28) * (page === 1 ? 65_536 : page) };
}
