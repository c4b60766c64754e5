import { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { lengthOf } from "./start-check.ts";
import { DATABASE_FILE, describeError } from "./database.ts";
import { createDraft, sync, syncDirectory } from "./draft.ts";
import { releaseLock, takeLock } from "./lock.ts";
import { putAside } from "./put-aside.ts";
import { migrate } from "./schema.ts";
import { RESTORED } from "./start.ts";

/** What was saved of a table; `whole`: all that was in it. */
export interface SavedTable {
  readonly table: string;
  readonly rows: number;
  readonly whole: boolean;
}

export interface Salvaged {
  /** Where the damaged database is kept. */
  readonly kept: string;
  readonly tables: readonly SavedTable[];
}

/** What is made anew from the rest, or is of no use without what is gone. */
const LEFT_OUT = /^(?:sqlite_|search|events$|copies$|quotas$)/;

/**
 * Puts what can be read of the database of a data directory, which no process may hold, into a new one in its place. The logs begin
 * anew, as after a restore. @throws GatewayError UNAVAILABLE
 */
export function salvage(data_dir: string, now: number): Salvaged {
  const target = join(data_dir, DATABASE_FILE);
  if (!existsSync(target))
    throw new GatewayError("UNAVAILABLE", `there is nothing to repair: ${target} does not exist`);
  const lock = takeLock(data_dir, process.pid);
  const draft = `${target}.repairing`;
  try {
    rmSync(draft, { force: true });
    createDraft(draft);
    // SQLite reads nothing of a file that is shorter than it says.
    const { bytes, expected } = lengthOf(target);
    if (bytes < expected) truncateSync(target, expected);
    const tables = copyReadable(target, draft);
    sync(draft);
    const kept = putAside(target, "before-repair", now);
    renameSync(draft, target);
    rmSync(join(data_dir, "suspect"), { force: true });
    syncDirectory(data_dir);
    return { kept, tables };
  } catch (error) {
    for (const rest of ["", "-wal", "-shm", "-journal"]) rmSync(`${draft}${rest}`, { force: true });
    if (error instanceof GatewayError) throw error;
    throw new GatewayError("UNAVAILABLE", `${target} cannot be repaired: ${describeError(error)}`, {
      cause: error,
    });
  } finally {
    releaseLock(lock);
  }
}

function copyReadable(damaged: string, draft: string): SavedTable[] {
  const from = new Database(damaged, { readwrite: true, strict: true });
  const into = new Database(draft, { readwrite: true, strict: true });
  try {
    from.run("PRAGMA cell_size_check = ON");
    into.run("PRAGMA auto_vacuum = INCREMENTAL");
    into.run("PRAGMA journal_mode = DELETE");
    migrate(into);
    into.run("BEGIN");
    const tables = tablesOf(into).map((table) => copyTable(from, into, table));
    mend(into);
    into.run("COMMIT");
    return tables.filter(({ rows, whole }) => rows > 0 || !whole);
  } finally {
    into.close(true);
    try {
      from.close(true);
    } catch {
      // What is damaged may not even close.
    }
  }
}

function tablesOf(db: Database): string[] {
  return db
    .query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'table'")
    .all()
    .map(({ name }) => name)
    .filter((name) => !LEFT_OUT.test(name));
}

/** From its beginning up to what cannot be read, then from its end back to there. */
function copyTable(from: Database, into: Database, table: string): SavedTable {
  const known = columnsOf(from, table);
  const columns = columnsOf(into, table).filter(({ name }) => known.some((each) => each.name === name));
  if (columns.length === 0) return { table, rows: 0, whole: true };
  const names = columns.map(({ name }) => `"${name}"`).join(", ");
  const marks = columns.map(() => "?").join(", ");
  const put = into.prepare(`INSERT OR IGNORE INTO "${table}" (${names}) VALUES (${marks})`);
  // As it lies in the file: a sort would read all of it first.
  const keys = columns.filter(({ pk }) => pk > 0).toSorted((a, b) => a.pk - b.pk);
  const places = hasRowid(into, table) ? ["rowid"] : keys.map(({ name }) => `"${name}"`);
  const order = (way: string): string => ` ORDER BY ${places.map((place) => `${place} ${way}`).join(", ")}`;
  let rows = 0;
  const pass = (sql: string): boolean => {
    try {
      for (const row of from.query(sql).iterate() as Iterable<Record<string, never>>) {
        rows += put.run(...columns.map(({ name }) => row[name] as never)).changes > 0 ? 1 : 0;
      }
      return true;
    } catch {
      // What comes after it cannot be read from this side.
      return false;
    }
  };
  const whole = pass(`SELECT ${names} FROM "${table}" NOT INDEXED${order("ASC")}`);
  if (!whole) pass(`SELECT ${names} FROM "${table}" NOT INDEXED${order("DESC")}`);
  put.finalize();
  return { table, rows, whole };
}

function hasRowid(db: Database, table: string): boolean {
  return db.query<{ wr: number }, [string]>("SELECT wr FROM pragma_table_list(?)").get(table)?.wr === 0;
}

function columnsOf(db: Database, table: string): { name: string; pk: number }[] {
  try {
    return db
      .query<{ name: string; pk: number }, [string]>("SELECT name, pk FROM pragma_table_info(?)")
      .all(table);
  } catch {
    return [];
  }
}

/** What belongs to a session that is gone goes, and what is counted is counted anew. */
function mend(db: Database): void {
  db.run("UPDATE sessions SET state = 'deleting' WHERE state = 'copying'");
  for (const table of ["messages", "runs", "attachments", "usage_sessions"]) {
    db.run(`DELETE FROM ${table} WHERE session_key NOT IN (SELECT session_key FROM sessions)`);
  }
  db.run("DELETE FROM attachments WHERE content_key NOT IN (SELECT content_key FROM contents)");
  db.run("DELETE FROM uploads WHERE content_key NOT IN (SELECT content_key FROM contents)");
  db.run(`UPDATE sessions SET floor = MAX(head, COALESCE(last, 0)), head = MAX(head, COALESCE(last, 0)), message_count = n
    FROM (SELECT s.session_key AS key, MAX(m.seq) AS last, COUNT(m.seq) AS n
          FROM sessions AS s LEFT JOIN messages AS m USING (session_key) GROUP BY s.session_key)
    WHERE session_key = key`);
  db.run("UPDATE messages SET status = 'partial' WHERE status = 'streaming'");
  db.run(`UPDATE sessions SET active_run_id = NULL WHERE active_run_id NOT IN (SELECT run_id FROM runs)`);
  db.run("DELETE FROM holders");
  db.run(`INSERT INTO holders (user, content_key, uses)
    SELECT user, content_key, COUNT(*) FROM (
      SELECT s.owner AS user, a.content_key FROM attachments AS a JOIN sessions AS s USING (session_key)
      UNION ALL SELECT user, content_key FROM uploads) GROUP BY user, content_key`);
  db.run(`INSERT INTO quotas (user, session_count, key_count, attachment_count, attachment_bytes)
    SELECT u.user,
      (SELECT COUNT(*) FROM sessions WHERE owner = u.user AND state = 'live'),
      (SELECT COUNT(*) FROM idempotency WHERE user = u.user),
      (SELECT COALESCE(SUM(uses), 0) FROM holders WHERE user = u.user),
      (SELECT COALESCE(SUM(bytes), 0) FROM holders JOIN contents USING (content_key) WHERE holders.user = u.user)
    FROM (SELECT owner AS user FROM sessions UNION SELECT user FROM idempotency UNION SELECT user FROM holders) AS u`);
  db.query("INSERT OR REPLACE INTO meta (name, value) VALUES (?, '1')").run(RESTORED);
}
