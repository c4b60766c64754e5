import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import type { Environment } from "./expand.ts";

/** Where data goes unless the configuration says otherwise. */
export function defaultDataDir(env: Environment, platform: NodeJS.Platform): string {
  if (platform === "win32")
    return join(env["LOCALAPPDATA"] || join(home(env), "AppData", "Local"), "agentbus");
  if (platform === "darwin") return join(home(env), "Library", "Application Support", "agentbus");
  const xdg = env["XDG_DATA_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home(env), ".local", "share"), "agentbus");
}

/** Where a user of this machine keeps what the commands need to reach gateways; never a gateway's data directory. */
export function userConfigDir(env: Environment, platform: NodeJS.Platform): string {
  if (platform === "win32") return join(env["APPDATA"] || join(home(env), "AppData", "Roaming"), "agentbus");
  const xdg = env["XDG_CONFIG_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home(env), ".config"), "agentbus");
}

/** A path as somebody wrote it: `~` is the home directory, relative ones begin at `base`. */
export function resolvePath(path: string, base: string, env: Environment): string {
  if (path === "~" || path.startsWith("~/")) return join(home(env), path.slice(1));
  return resolve(base, path);
}

function home(env: Environment): string {
  return env["HOME"] || env["USERPROFILE"] || homedir();
}
