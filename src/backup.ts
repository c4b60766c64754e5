import { readdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RestoredAutomation } from "./automation/restored.ts";
import { createRestoredAutomation } from "./automation/restored.ts";
import type { Config } from "./config.ts";
import type { Clock } from "./core/ports.ts";
import { GatewayError } from "./protocol/errors.ts";
import type { BackupFacts, Restored } from "./store/sqlite/backup.ts";
import { backUpBeside } from "./store/sqlite/backup-thread.ts";
import { withinDataDir } from "./store/sqlite/data-dir.ts";
import { restore } from "./store/sqlite/backup.ts";
import type { Salvaged } from "./store/sqlite/salvage.ts";
import { salvage } from "./store/sqlite/salvage.ts";

export interface Backup extends BackupFacts {
  readonly file: string;
  /** Older ones that were removed. */
  readonly removed: readonly string[];
}

const NAME = /^agentbus-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2})-(\d{3})Z\.db$/;

/**
 * Backs the gateway of a configuration up, whether it runs or not. Into a directory, it gets a name by the time, and with `keep` only
 * so many of that kind stay. @throws GatewayError
 */
export async function createBackup(
  config: Config,
  where: string,
  clock: Clock,
  keep: number | null,
): Promise<Backup> {
  refuseDatabase(config, "pg_dump --format=custom --schema=agentbus");
  const path = resolve(where);
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const file = isDirectory ? backupFile(path, clock.now()) : path;
  const facts = await backUpBeside(config.server.data_dir, file, clock).made;
  return { file, ...facts, removed: isDirectory && keep !== null ? pruneBackups(path, keep) : [] };
}

export interface RestoredBackup extends Restored, Pick<RestoredAutomation, "active" | "locked"> {
  /** Whether what was active is off now. */
  readonly turned_off: boolean;
}

/** `turn_off`: nothing happens by itself then, until somebody turns it on again. @throws GatewayError */
export async function restoreBackup(
  config: Config,
  file: string,
  turn_off: boolean,
  now: number,
): Promise<RestoredBackup> {
  refuseDatabase(config, "pg_restore");
  const { data_dir } = config.server;
  return withinDataDir(data_dir, () => {
    const automation = createRestoredAutomation(data_dir, turn_off);
    const done = restore(data_dir, resolve(file), automation, now);
    return { ...done, active: automation.active, turned_off: turn_off, locked: automation.locked };
  });
}

/** What is in a database of PostgreSQL is not in the data directory. @throws GatewayError */
function refuseDatabase({ storage }: Config, tool: string): void {
  if (storage.url === "") return;
  throw new GatewayError(
    "INVALID_REQUEST",
    `everything is in the database of storage.url, not in server.data_dir: use ${tool}; ` +
      "a gateway that finds another server behind it has every client start anew",
    { details: { kind: "database" } },
  );
}

export async function repairDatabase(config: Config, now: number): Promise<Salvaged> {
  refuseDatabase(config, "the tools of PostgreSQL");
  const { data_dir } = config.server;
  return withinDataDir(data_dir, () => salvage(data_dir, now));
}

export function backupFile(directory: string, now: number): string {
  return join(directory, `agentbus-${new Date(now).toISOString().replaceAll(/[:.]/g, "-")}.db`);
}

/** When the newest backup of a directory was made, by its name; null: there is none. Throws where it cannot be read. */
export function newestBackup(directory: string): number | null {
  const name = backupsIn(directory).at(-1);
  return name === undefined ? null : Date.parse(name.replace(NAME, "$1T$2:$3:$4.$5Z"));
}

/** Removes the oldest until so many are left. Their names are in the order of time. */
export function pruneBackups(directory: string, keep: number): string[] {
  const backups = backupsIn(directory);
  const old = backups.slice(0, Math.max(0, backups.length - keep)).map((name) => join(directory, name));
  for (const file of old) rmSync(file);
  return old;
}

function backupsIn(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => NAME.test(name))
    .toSorted();
}
