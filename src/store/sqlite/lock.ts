import { Database, SQLiteError } from "bun:sqlite";
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { describeError } from "./database.ts";

/**
 * A data directory, held for one process. `db` keeps the lock: it must stay reachable, or the garbage collector closes
 * it, and nothing else in the process may open or even read its file, which would drop the lock.
 */
export interface Lock {
  readonly db: Database;
  readonly pid_file: string;
}

/** @throws GatewayError UNAVAILABLE {kind:"locked"} when another process holds the directory. */
export function takeLock(data_dir: string, pid: number): Lock {
  const path = join(data_dir, "lock.db");
  const pid_file = join(data_dir, "pid");
  let db: Database | null = null;
  try {
    // One that can only be read would be opened so, and then be no lock.
    if (existsSync(path)) accessSync(path, constants.W_OK);
    db = new Database(path, { create: true, readwrite: true });
    db.run("BEGIN EXCLUSIVE");
  } catch (error) {
    db?.close(true);
    if (error instanceof SQLiteError && (error.errno & 0xff) === 5)
      throw locked(data_dir, readPid(pid_file), error);
    const advice = (error as { code?: string }).code === "EACCES" ? ": let this user own it" : "";
    throw new GatewayError("UNAVAILABLE", `cannot lock ${data_dir}: ${describeError(error)}${advice}`, {
      details: { kind: "data_dir" },
      cause: error,
    });
  }
  try {
    writeFileSync(pid_file, `${pid}\n`, { mode: 0o600 });
  } catch {
    // Only a second process misses it, in its message. What keeps it from being written is told when the database opens.
  }
  return { db, pid_file };
}

export function releaseLock({ db, pid_file }: Lock): void {
  rmSync(pid_file, { force: true });
  db.close(true);
}

export function isLocked(error: unknown): error is GatewayError {
  return error instanceof GatewayError && (error.details as { kind?: string } | undefined)?.kind === "locked";
}

function locked(data_dir: string, pid: number | null, cause: unknown): GatewayError {
  const who = pid === null ? "" : ` (pid ${pid})`;
  return new GatewayError(
    "UNAVAILABLE",
    `${data_dir} is in use by another agentbus process${who}: stop that one, or choose another server.data_dir`,
    { details: { kind: "locked", ...(pid !== null && { pid }) }, cause },
  );
}

/** The holder's pid; null where it did not come to writing it. */
function readPid(pid_file: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(pid_file, "utf8"), 10);
    return Number.isSafeInteger(pid) && pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
