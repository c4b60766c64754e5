import { SQLiteError } from "bun:sqlite";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../protocol/errors.ts";
import { describeFailure } from "../postgres/failures.ts";
import { prepareDataDir } from "../sqlite/data-dir.ts";
import { DATABASE_FILE, describeError } from "../sqlite/database.ts";
import { releaseLock, takeLock } from "../sqlite/lock.ts";
import type { Progress } from "./copy.ts";
import { copy } from "./copy.ts";
import type { End, Target } from "./end.ts";
import { findMarker, firstMarker } from "./marker.ts";
import { openPostgresSource, openPostgresTarget } from "./postgres-end.ts";
import { openSqliteSource, openSqliteTarget } from "./sqlite-end.ts";
import { keyOfDirectory, META, putKey } from "./secret.ts";
import { tableNamed } from "./tables.ts";
import { draftPath, MARKER } from "./unfinished.ts";
import type { Verified, VerifiedTable } from "./verify.ts";
import { verify } from "./verify.ts";

export interface MigrationOptions {
  /** Held for the time it takes; SQLite is in it, and the key that secrets are kept with. */
  readonly data_dir: string;
  /** Where everything is. */
  readonly from: "sqlite" | "postgres";
  /** postgres://…, of the other of the two. */
  readonly url: string;
  /** What an interrupted run left is thrown away. */
  readonly restart: boolean;
  readonly onProgress: (progress: MigrationProgress) => void;
}

export interface MigrationProgress extends Progress {
  /** Rows of the table in the source. */
  readonly count: () => Promise<number>;
}

export interface Migrated {
  readonly from: string;
  readonly to: string;
  /** Rows that an interrupted run had copied; null: it began here. */
  readonly resumed_after: number | null;
  /** Copied in all, and about how much that was. */
  readonly rows: number;
  readonly bytes: number;
  /** By this run. */
  readonly copy_seconds: number;
  readonly verify_seconds: number;
  readonly tables: readonly VerifiedTable[];
  readonly files: number;
  readonly damaged_files: number;
}

/**
 * Copies everything a gateway keeps from SQLite to PostgreSQL or back, compares the two, and only then lets a gateway open the
 * copy. What was cut short goes on where it stopped. The source is not changed. @throws GatewayError that says what to do
 */
export async function migrateStore(options: MigrationOptions): Promise<Migrated> {
  const { data_dir, from } = options;
  const database = join(data_dir, DATABASE_FILE);
  if (from === "sqlite" && !existsSync(database))
    throw refuse(`there is nothing to migrate: ${database} does not exist`);
  prepareDataDir(data_dir);
  const lock = takeLock(data_dir, process.pid);
  const ends: End[] = [];
  try {
    if (options.restart && from === "postgres")
      for (const rest of ["", "-wal", "-shm"]) rmSync(`${draftPath(database)}${rest}`, { force: true });
    const { source, target } = await openBoth(options, ends);
    return await migrate(options, source, target);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const reason = error instanceof SQLiteError ? describeError(error) : describeFailure(error);
    throw refuse(`the migration stopped: ${reason}; run it again, it goes on where it stopped`, error);
  } finally {
    for (const end of ends) await end.close();
    releaseLock(lock);
  }
}

async function openBoth(
  { data_dir, from, url }: MigrationOptions,
  ends: End[],
): Promise<{ source: End; target: Target }> {
  const opened = <E extends End>(end: E): E => {
    ends.push(end);
    return end;
  };
  const place = { url, node_key: nodeKey(data_dir) };
  if (from === "sqlite") {
    const source = opened(openSqliteSource(data_dir));
    return { source, target: opened(await openPostgresTarget(place)) };
  }
  const source = opened(await openPostgresSource(place));
  return { source, target: opened(openSqliteTarget(data_dir, await source.size())) };
}

/** Of the node of this directory; "": it never was one. */
function nodeKey(data_dir: string): string {
  const path = join(data_dir, "node");
  return existsSync(path) ? readFileSync(path, "utf8").trim() : "";
}

async function migrate(
  { restart, onProgress, data_dir, from }: MigrationOptions,
  source: End,
  target: Target,
): Promise<Migrated> {
  const tell = (progress: Progress): void =>
    onProgress({ ...progress, count: () => source.count(tableNamed(progress.table)) });
  const first = await firstMarker(source, target);
  const isOurs = restart && (await target.meta(MARKER)) !== null;
  const { marker, isWhole } = isOurs ? { marker: null, isWhole: false } : await findMarker(target, first);
  const key = from === "sqlite" ? keyOfDirectory(data_dir) : null;
  if (marker === null && !isWhole) {
    const secret = key === null ? {} : { [META]: key };
    await target.begin({ server_id: first.source, ...secret, [MARKER]: JSON.stringify(first) }, isOurs);
  }
  const began = performance.now();
  const copied = isWhole ? null : await copy(source, target, marker ?? first, tell);
  const compared = performance.now();
  const verified = await verify(source, target, tell);
  assertSame(verified);
  const shared = from === "postgres" ? await source.meta(META) : null;
  if (shared !== null) putKey(data_dir, shared);
  await target.finish(await source.highestAudit());
  const rows = verified.tables.reduce((sum, table) => sum + table.rows, 0);
  return {
    from: source.place,
    to: target.place,
    resumed_after: isWhole ? rows : (marker?.rows ?? null),
    rows,
    bytes: copied?.bytes ?? 0,
    copy_seconds: (compared - began) / 1_000,
    verify_seconds: (performance.now() - compared) / 1_000,
    tables: verified.tables,
    files: verified.files,
    damaged_files: verified.damaged,
  };
}

/** @throws GatewayError UNAVAILABLE {kind:"differs"} */
function assertSame({ differences, differing }: Verified): void {
  if (differing === 0) return;
  const more = differing > differences.length ? ` and ${differing - differences.length} more` : "";
  throw new GatewayError(
    "UNAVAILABLE",
    `the copy is not the same as the source, and no gateway opens it: ${differences.join("; ")}${more}. ` +
      "Copy it anew: agentbus migrate … --restart",
    { details: { kind: "differs", differences } },
  );
}

function refuse(message: string, cause?: unknown): GatewayError {
  return new GatewayError("UNAVAILABLE", message, { details: { kind: "migration" }, cause });
}
