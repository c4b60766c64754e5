import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { LABEL, launchdPlist } from "./launchd-plist.ts";
import type { ServicePlace } from "./service-place.ts";
import { callSystem } from "./system-call.ts";
import type { ServiceState } from "./systemd.ts";

/** Writes the property list, and has it started now and with the login. @throws CommandError */
export function installAgent(place: ServicePlace, program: string, io: Io): void {
  const log = agentLog(io);
  for (const path of [place.file, place.config, log]) mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(place.config))
    writeFileSync(place.config, "# The configuration of the service.\n", { mode: 0o600 });
  writeFileSync(place.file, launchdPlist({ program, config: place.config, log }), { mode: 0o644 });
  io.out(`wrote ${place.file}`);
  // Fails where there was none; one that is loaded is not read again.
  callSystem(["launchctl", "bootout", target()]);
  const { ok, said } = callSystem(["launchctl", "bootstrap", domain(), place.file]);
  if (!ok) throw new CommandError(`it does not start: ${said}; its log is ${log}`);
}

/** Whether there was one. */
export function uninstallAgent(place: ServicePlace): boolean {
  if (!existsSync(place.file)) return false;
  callSystem(["launchctl", "bootout", target()]);
  rmSync(place.file);
  return true;
}

export function agentState(place: ServicePlace): ServiceState {
  const { ok, said } = callSystem(["launchctl", "print", target()]);
  const value = (name: string): string => new RegExp(`^\\s*${name} = (.*)$`, "m").exec(said)?.[1] ?? "";
  const pid = Number(value("pid"));
  return {
    installed: existsSync(place.file),
    enabled: existsSync(place.file),
    running: ok && value("state") === "running",
    state: ok ? value("state") : "not loaded",
    pid: pid > 0 ? pid : null,
    restarts: null,
    says: "",
  };
}

export function agentLog(io: Io): string {
  return join(io.env["HOME"] || homedir(), "Library/Logs/agentbus.log");
}

function domain(): string {
  return `gui/${userInfo().uid}`;
}

function target(): string {
  return `${domain()}/${LABEL}`;
}
