import { existsSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { defaultDataDir, userConfigDir } from "../config/data-dir.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { LABEL } from "./launchd-plist.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** Where a service is installed, and what it has. */
export interface ServicePlace {
  readonly kind: "systemd" | "systemd-user" | "launchd";
  /** The file that makes it one. */
  readonly file: string;
  readonly config: string;
  readonly data_dir: string;
}

export const KINDS = ["systemd", "systemd-user", "launchd"] as const;

/** root has the service of the machine, everybody else one of their own. @throws CommandError where there is none */
export function servicePlace(io: Io, kind: ServicePlace["kind"] = kindHere()): ServicePlace {
  const home = io.env["HOME"] || homedir();
  const config = join(userConfigDir(io.env, "linux"), "agentbus.toml");
  if (kind === "systemd") {
    const { config: file, data_dir } = SYSTEM;
    return { kind, file: "/etc/systemd/system/agentbus.service", config: file, data_dir };
  }
  if (kind === "launchd") {
    const data_dir = defaultDataDir(io.env, "darwin");
    return { kind, file: join(home, "Library/LaunchAgents", `${LABEL}.plist`), config, data_dir };
  }
  const units = join(io.env["XDG_CONFIG_HOME"] || join(home, ".config"), "systemd/user");
  return { kind, file: join(units, "agentbus.service"), config, data_dir: defaultDataDir(io.env, "linux") };
}

/** The service there is: that of the machine where somebody who is not root has none of their own. @throws CommandError */
export function installedPlace(io: Io): ServicePlace {
  const own = servicePlace(io);
  if (own.kind !== "systemd-user" || existsSync(own.file)) return own;
  const machine = servicePlace(io, "systemd");
  return existsSync(machine.file) ? machine : own;
}

function kindHere(): ServicePlace["kind"] {
  const isRoot = userInfo().uid === 0;
  if (process.platform === "linux") return isRoot ? "systemd" : "systemd-user";
  if (process.platform !== "darwin")
    throw new CommandError("services are installed on Linux (systemd) and macOS (launchd) only");
  if (!isRoot) return "launchd";
  throw new CommandError("on macOS the service is a user's own: run this without sudo");
}
