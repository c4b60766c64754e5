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
 * Brings the schema up to date, after a copy of a database of an older version was put beside it; which one and where.
 * @throws GatewayError UNAVAILABLE when it is newer than this program, or there is no room for the copy
 */
export function bringUpToDate(db: Database, path: string): { from: number; kept: string } | null {
  const from = knownVersion(db);
  const kept = from > 0 && from < SCHEMA_VERSION ? keepCopy(db, path, from) : null;
  migrate(db);
  return kept === null ? null : { from, kept };
}

/** Where a newer version keeps a database that this one left. */
export function keptCopy(path: string): string {
  return `${path}.schema-${SCHEMA_VERSION}`;
}

function keepCopy(db: Database, path: string, version: number): string {
  const kept = `${path}.schema-${version}`;
  const draft = `${kept}.part`;
  try {
    // Of an upgrade that was cut short: the database is still what it was.
    rmSync(draft, { force: true });
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
  const prefix = `${basename(path)}.schema-`;
  const versions = readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)))
    .toSorted((a, b) => b - a);
  for (const version of versions.slice(KEPT)) rmSync(join(dirname(path), `${prefix}${version}`));
}
