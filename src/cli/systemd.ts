import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { backupsOf, prepareBackups, prepareConfig } from "./service-config.ts";
import type { ServicePlace } from "./service-place.ts";
import { callSystem, mustCall } from "./system-call.ts";
import { MARK, SYSTEM, systemdUnit } from "./systemd-unit.ts";

const UNIT = "agentbus.service";
/** Lines of the log that are shown where it does not start. */
const LOG_LINES = "15";

/** How a service is, as its manager tells it. */
export interface ServiceState {
  readonly installed: boolean;
  /** It starts with the machine, or the login. */
  readonly enabled: boolean;
  /** It is ready. */
  readonly running: boolean;
  /** In the words of the manager. */
  readonly state: string;
  /** Null: it does not run. */
  readonly pid: number | null;
  /** Starts after a failure, since it was started; null: not counted. */
  readonly restarts: number | null;
  /** What it says of itself. */
  readonly says: string;
}

/** Writes the unit, and has it started now and with the machine. @throws CommandError */
export function installUnit(place: ServicePlace, program: string, io: Io): void {
  requireSystemd(place);
  refuseForeign(place.file);
  const isSystem = place.kind === "systemd";
  if (isSystem) {
    mustCall(["systemd-sysusers", "--inline", `u ${SYSTEM.user} - "agentbus gateway" ${SYSTEM.data_dir}`]);
    prepareBackups();
  }
  prepareConfig(place);
  const backups = isSystem ? backupsOf(place, io) : "";
  const scope = isSystem ? "system" : "user";
  const unit = systemdUnit({ program, config: place.config, scope, backups });
  mkdirSync(dirname(place.file), { recursive: true });
  writeFileSync(place.file, unit, { mode: 0o644 });
  mustCall(systemctl(place, "daemon-reload"));
  mustCall(systemctl(place, "enable", UNIT));
  io.out(`wrote ${place.file}`);
  // Returns once it is ready, or has failed.
  const { ok, said } = callSystem(systemctl(place, "restart", UNIT));
  if (!ok)
    throw new CommandError(
      `it does not start; systemd tries again, unless the configuration is wrong. Mend it and run this again: ${said}\n${lastWords(place)}`,
    );
}

/** Whether there was one. @throws CommandError */
export function uninstallUnit(place: ServicePlace): boolean {
  if (!existsSync(place.file)) return false;
  requireSystemd(place);
  refuseForeign(place.file);
  mustCall(systemctl(place, "disable", "--now", UNIT));
  rmSync(place.file);
  mustCall(systemctl(place, "daemon-reload"));
  // Fails where nothing failed.
  callSystem(systemctl(place, "reset-failed", UNIT));
  return true;
}

/** @throws CommandError */
export function unitState(place: ServicePlace): ServiceState {
  const installed = existsSync(place.file);
  requireSystemd(place);
  const names = ["ActiveState", "SubState", "UnitFileState", "Result", "MainPID", "NRestarts", "StatusText"];
  const text = mustCall(systemctl(place, "show", UNIT, `--property=${names.join(",")}`));
  const value = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? "";
  const failure = value("ActiveState") === "failed" ? `, ${value("Result")}` : "";
  const pid = Number(value("MainPID"));
  return {
    installed,
    enabled: value("UnitFileState").startsWith("enabled"),
    running: value("ActiveState") === "active",
    state: `${value("ActiveState")} (${value("SubState")}${failure})`,
    pid: pid > 0 ? pid : null,
    restarts: Number(value("NRestarts")),
    says: value("StatusText"),
  };
}

/** How its log is read. */
export function logCommand({ kind }: ServicePlace): string {
  return kind === "systemd" ? "journalctl -u agentbus -f" : "journalctl --user -u agentbus -f";
}

function systemctl({ kind }: ServicePlace, ...argv: readonly string[]): string[] {
  return ["systemctl", ...(kind === "systemd-user" ? ["--user"] : []), "--no-pager", ...argv];
}

function requireSystemd(place: ServicePlace): void {
  if (existsSync("/run/systemd/system")) {
    if (place.kind === "systemd" || callSystem(systemctl(place, "show", "--property=Version")).ok) return;
    throw new CommandError("there is no systemd of this user: log in as that user, not by way of su or sudo");
  }
  throw new CommandError(
    `systemd does not run here: \`agentbus service print ${place.kind}\` shows the unit, for ${place.file}`,
  );
}

function refuseForeign(file: string): void {
  if (!existsSync(file) || readFileSync(file, "utf8").startsWith(MARK)) return;
  throw new CommandError(`${file} was not written by this command: move it away first`);
}

/** The end of its log; "" where it has none. */
export function lastWords(place: ServicePlace): string {
  if (Bun.which("journalctl") === null) return "";
  const { kind } = place;
  // What was said a moment ago may be on its way; only root can have it hurried.
  callSystem(["journalctl", "--sync"]);
  const whose = kind === "systemd-user" ? ["--user", `--user-unit=${UNIT}`] : [`--unit=${UNIT}`];
  return callSystem(["journalctl", ...whose, "--no-pager", "-o", "cat", "-n", LOG_LINES]).said;
}
