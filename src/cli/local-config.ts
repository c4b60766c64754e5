import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import type { LoadedConfig } from "../config.ts";
import type { Input } from "./args.ts";
import { readConfig } from "./configuration.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { readRunning } from "./running.ts";
import type { ServicePlace } from "./service-place.ts";
import { installedPlace } from "./service-place.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** Flags that say which gateway is meant. */
const NAMING = ["config", "data-dir", "host", "port"];
const DATABASE = "agentbus.db";
const DATA_DIR = "AGENTBUS_SERVER_DATA_DIR";

/**
 * The configuration of the gateway of this machine, for what is asked of it or done to it. Where nothing says which one and none
 * runs that this user started, it is the service that is installed here, if this user may read what it reads. @throws ConfigError
 */
export function readLocalConfig(input: Input, io: Io): LoadedConfig {
  return unlessOwn(input, io, (data_dir) => readRunning(data_dir) !== null);
}

/**
 * As readLocalConfig, for what is done to the files of a gateway that does not run. @throws ConfigError, CommandError where two
 * could be meant
 */
export function readStoppedConfig(input: Input, io: Io): LoadedConfig {
  return unlessOwn(input, io, (data_dir, service) => {
    if (!existsSync(join(data_dir, DATABASE))) return false;
    if (service === null || service.data_dir === data_dir) return true;
    throw new CommandError(
      `${data_dir} has a database, and the service has ${service.data_dir}: say which one is meant with --data-dir DIR`,
    );
  });
}

type IsOwn = (data_dir: string, service: ServicePlace | null) => boolean;

function unlessOwn(input: Input, io: Io, isOwn: IsOwn): LoadedConfig {
  const loaded = readConfig(input, io);
  const isSaid = NAMING.some((flag) => input.text(flag) !== undefined) || Boolean(io.env[DATA_DIR]);
  if (isSaid || loaded.file !== null) return loaded;
  const place = serviceHere(io);
  if (isOwn(loaded.config.server.data_dir, place) || place === null) return loaded;
  const env = { ...keysOf(place), ...io.env, AGENTBUS_CONFIG: place.config };
  // As the unit has it.
  return readConfig(input, {
    ...io,
    env: place.kind === "systemd" ? { ...env, [DATA_DIR]: place.data_dir } : env,
  });
}

/** Null: there is none, or its configuration is not this user's to read. */
function serviceHere(io: Io): ServicePlace | null {
  try {
    const place = installedPlace(io);
    if (!existsSync(place.file)) return null;
    readFileSync(place.config);
    return place;
  } catch {
    return null;
  }
}

/** What systemd gives the service of the machine besides. */
function keysOf({ kind }: ServicePlace): Record<string, string | undefined> {
  const { environment } = SYSTEM;
  return kind === "systemd" && existsSync(environment) ? parseEnv(readFileSync(environment, "utf8")) : {};
}
