import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { LoadedConfig } from "../config.ts";
import { ConfigError } from "../config/error.ts";
import type { Input } from "./args.ts";
import { readConfig } from "./configuration.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { readRunning } from "./running.ts";
import type { ServicePlace } from "./service-place.ts";
import { servicePlace } from "./service-place.ts";
import { dataDirOf, environmentIn } from "./service-environment.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** Flags that say which gateway is meant, besides the one that names the file. */
const NAMING = ["data-dir", "host", "port"];
const DATABASE = "agentbus.db";
const DATA_DIR = "AGENTBUS_SERVER_DATA_DIR";

export interface LocalConfig extends LoadedConfig {
  /** It is that of the service of the machine. */
  readonly isService: boolean;
}

/**
 * The configuration of the gateway of this machine, for what is asked of it or done to it. Where root says nothing about which one,
 * and none of root's own runs, it is the service of the machine, if one is installed. @throws ConfigError
 */
export function readLocalConfig(input: Input, io: Io): LocalConfig {
  return unlessOwn(input, io, (data_dir) => readRunning(data_dir) !== null);
}

/**
 * As readLocalConfig, for what is done to the files of a gateway that does not run. @throws ConfigError, CommandError where two
 * could be meant
 */
export function readStoppedConfig(input: Input, io: Io): LocalConfig {
  return unlessOwn(input, io, (data_dir, service) => {
    if (!existsSync(join(data_dir, DATABASE))) return false;
    throw new CommandError(
      `${data_dir} has a database, and there is a service, too: say which one is meant with --data-dir ${data_dir} or --config ${service.config}`,
    );
  });
}

function unlessOwn(
  input: Input,
  io: Io,
  isOwn: (data_dir: string, service: ServicePlace) => boolean,
): LocalConfig {
  const loaded = { ...readConfig(input, io), isService: false };
  const isSaid = NAMING.some((flag) => input.text(flag) !== undefined) || Boolean(io.env[DATA_DIR]);
  const place = isSaid || loaded.file !== null ? null : serviceHere(io);
  if (place === null || isOwn(loaded.config.server.data_dir, place)) return loaded;
  // As systemd has it: what is in the file comes last.
  const keys = existsSync(SYSTEM.environment) ? environmentIn(readFileSync(SYSTEM.environment, "utf8")) : {};
  const env = { ...io.env, [DATA_DIR]: dataDirOf(place), ...keys, AGENTBUS_CONFIG: place.config };
  try {
    return { ...readConfig(input, { ...io, env }), isService: true };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(`of the service (${place.config}, ${SYSTEM.environment}): ${error.message}`, {
      cause: error,
    });
  }
}

/** Null: there is none, or whoever asks is not root. */
function serviceHere(io: Io): ServicePlace | null {
  if (process.platform !== "linux" || process.geteuid?.() !== 0) return null;
  const place = servicePlace(io, "systemd");
  return existsSync(place.file) && existsSync(place.config) ? place : null;
}
