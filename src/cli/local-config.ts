import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { LoadedConfig } from "../config.ts";
import { ConfigError, NamedFileError } from "../config/error.ts";
import type { Input } from "./args.ts";
import { readConfig } from "./configuration.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { readRunning } from "./running.ts";
import type { ServicePlace } from "./service-place.ts";
import { servicePlace } from "./service-place.ts";
import { dataDirOf, serviceKeys } from "./service-environment.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** Flags that say which gateway is meant, besides the ones that name the file and the data. */
const NAMING = ["host", "port"];
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
  const isSaid = input.text("data-dir") !== undefined || Boolean(io.env[DATA_DIR]);
  const place = isSaid ? null : serviceHere(io);
  // Its file says neither where the data is nor which keys there are.
  if (place !== null && fileOf(input, io) === place.config) return ofService(place, input, io);
  const loaded = { ...readConfig(input, io), isService: false };
  if (place === null || loaded.file !== null) return loaded;
  if (NAMING.some((flag) => input.text(flag) !== undefined)) return loaded;
  return isOwn(loaded.config.server.data_dir, place) ? loaded : ofService(place, input, io);
}

/** The file that is named, or is here, if any is. */
function fileOf(input: Input, io: Io): string {
  return resolve(io.cwd, input.text("config") ?? (io.env["AGENTBUS_CONFIG"] || "agentbus.toml"));
}

/** As systemd has it: what is in the file with its keys comes last. @throws ConfigError */
function ofService(place: ServicePlace, input: Input, io: Io): LocalConfig {
  const env = {
    ...io.env,
    [DATA_DIR]: dataDirOf(place),
    ...serviceKeys(),
    AGENTBUS_CONFIG: place.config,
  };
  try {
    return { ...readConfig(input, { ...io, env }), isService: true };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const Kind = error instanceof NamedFileError ? NamedFileError : ConfigError;
    throw new Kind(`of the service (${place.config}, ${SYSTEM.environment}): ${error.message}`, {
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
