import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { loadConfig } from "../config.ts";
import { ConfigError } from "../config/error.ts";
import type { Io } from "./io.ts";
import { dataDirOf, serviceKeys } from "./service-environment.ts";
import type { ServicePlace } from "./service-place.ts";
import { mustCall } from "./system-call.ts";
import { SYSTEM } from "./systemd-unit.ts";

const TEXT =
  "# The configuration of the service. What counts without a restart counts as soon as it is written.\n";
const OF_SYSTEM = `${TEXT}# Its data is in ${SYSTEM.data_dir}: the unit says so, and comes before this file.\n`;

/** A file to write options into, which others cannot read: it may hold keys. One that is there stays as it is. */
export function prepareConfig({ kind, config }: ServicePlace): void {
  const isSystem = kind === "systemd";
  const made = mkdirSync(dirname(config), { recursive: true, mode: 0o700 });
  // The service comes through it, whatever the umask of who installs it.
  if (isSystem && made !== undefined) chmodSync(dirname(config), 0o755);
  if (!existsSync(config)) writeFileSync(config, isSystem ? OF_SYSTEM : TEXT, { mode: 0o600 });
  if (!isSystem) return;
  chownSync(config, 0, idOf("-g"));
  chmodSync(config, 0o640);
}

/** A place for backups, for nobody but the service. One that is there stays as it is. */
export function prepareBackups(): void {
  if (existsSync(SYSTEM.backups)) return;
  const made = mkdirSync(dirname(SYSTEM.backups), { recursive: true });
  if (made !== undefined) chmodSync(dirname(SYSTEM.backups), 0o755);
  mkdirSync(SYSTEM.backups, { mode: 0o700 });
  chownSync(SYSTEM.backups, idOf("-u"), idOf("-g"));
}

/** Where the configuration has backups made; "": nowhere. What the unit overrules is told. */
export function backupsOf(place: ServicePlace, io: Io): string {
  const env = { HOME: SYSTEM.data_dir, ...serviceKeys() };
  try {
    const { config, sources } = loadConfig({ file: place.config, env, cwd: SYSTEM.data_dir });
    const data_dir = dataDirOf(place);
    if (sources.get("server.data_dir") === "file" && config.server.data_dir !== data_dir)
      io.err(
        `warning: server.data_dir in ${place.config} is not used, for the unit says ${data_dir}: another one takes a drop-in (systemctl edit agentbus)`,
      );
    return config.backup.directory;
  } catch (error) {
    // The service says it, as soon as it starts.
    if (error instanceof ConfigError) return "";
    throw error;
  }
}

/** The number of the service's user or group. */
export function idOf(which: "-u" | "-g"): number {
  return Number(mustCall(["id", which, SYSTEM.user]));
}
