import type { Database } from "bun:sqlite";
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { describeError, openReadonly } from "./database.ts";
import { checkRoom, createDraft, sync, syncDirectory } from "./draft.ts";
import { knownVersion, migrate, SCHEMA_VERSION } from "./schema.ts";

/** Databases as they were before an upgrade that are kept. */
const KEPT = 2;

/** Whether this program could open a database that another process has open. @throws GatewayError UNAVAILABLE when it is newer */
export function checkVersion(path: string): void {
  if (!existsSync(path)) return;
  const db = openReadonly(path);
  try {
    knownVersion(db);
  } finally {
    db.close(true);
  }
}

/**
 * Brings the schema up to date, after a copy of a database of an older version was put beside it; which one and where. `tell` is
 * told what may take long before it begins.
 * @throws GatewayError UNAVAILABLE when it is newer than this program, or there is no room for the copy
 */
export function bringUpToDate(
  db: Database,
  path: string,
  tell: (doing: string) => void,
): { from: number; kept: string } | null {
  const from = knownVersion(db);
  // Of an upgrade that was cut short, whichever version began it: the database is still what it was.
  for (const name of beside(path, /^\d+\.part(?:-journal)?$/)) rmSync(name);
  if (from === 0 || from === SCHEMA_VERSION) {
    migrate(db);
    return null;
  }
  tell(`copying the database, which has schema ${from}, before it is brought to schema ${SCHEMA_VERSION}`);
  const kept = keepCopy(db, path, from);
  tell(`bringing the database from schema ${from} to schema ${SCHEMA_VERSION}`);
  migrate(db);
  return { from, kept };
}

/** Where a newer version keeps a database of that schema. */
export function keptCopy(path: string, schema: number): string {
  return `${path}.schema-${schema}`;
}

function keepCopy(db: Database, path: string, version: number): string {
  const kept = keptCopy(path, version);
  const draft = `${kept}.part`;
  try {
    checkRoom(dirname(path), statSync(path).size);
    createDraft(draft);
    db.query("VACUUM INTO ?").run(draft);
    sync(draft);
    renameSync(draft, kept);
    syncDirectory(dirname(path));
  } catch (error) {
    rmSync(draft, { force: true });
    const reason = error instanceof GatewayError ? error.message : describeError(error);
    throw new GatewayError(
      "UNAVAILABLE",
      `${path} has schema ${version} and this agentbus wants ${SCHEMA_VERSION}, but the copy that is kept of it cannot be made: ${reason}`,
      { details: { kind: "schema", found: version, known: SCHEMA_VERSION }, cause: error },
    );
  }
  forgetOlder(path);
  return kept;
}

function forgetOlder(path: string): void {
  const versionOf = (kept: string): number => Number(kept.slice(kept.lastIndexOf("-") + 1));
  const kept = beside(path, /^\d+$/).toSorted((a, b) => versionOf(b) - versionOf(a));
  for (const each of kept.slice(KEPT)) rmSync(each);
}

/** Files of upgrades whose names end so. */
function beside(path: string, end: RegExp): string[] {
  const prefix = `${basename(path)}.schema-`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && end.test(name.slice(prefix.length)))
    .map((name) => join(dirname(path), name));
}
