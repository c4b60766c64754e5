import { existsSync, readFileSync } from "node:fs";
import type { ServicePlace } from "./service-place.ts";
import { callSystem } from "./system-call.ts";
import { SYSTEM } from "./systemd-unit.ts";

/** The variables of the service's environment file, which root can read. */
export function serviceKeys(): Record<string, string> {
  return existsSync(SYSTEM.environment) ? environmentIn(readFileSync(SYSTEM.environment, "utf8")) : {};
}

/** Those that the service which runs does not have as its environment file says: it is read at a start. No values, for they are keys. */
export function staleKeys(): string[] {
  const pid = Number(showUnit("MainPID"));
  if (!(pid > 0)) return [];
  let environ: string;
  try {
    environ = readFileSync(`/proc/${pid}/environ`, "utf8");
  } catch {
    // It has ended meanwhile.
    return [];
  }
  const has = new Set(environ.split("\0"));
  return Object.entries(serviceKeys()).flatMap(([name, value]) => (has.has(`${name}=${value}`) ? [] : name));
}

/** The variables of an environment file, as systemd reads one: `NAME=value`, quoted or not; `#` begins a comment only a line. */
export function environmentIn(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, name, value = ""] = /^\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line) ?? [];
    if (name !== undefined) variables[name] = unquoted(value.trim());
  }
  return variables;
}

function unquoted(value: string): string {
  const single = /^'([^']*)'$/.exec(value)?.[1];
  if (single !== undefined) return single;
  const double = /^"((?:[^"\\]|\\.)*)"$/.exec(value)?.[1];
  return double === undefined ? value.replaceAll(/\\(.)/g, "$1") : double.replaceAll(/\\(["\\`$])/g, "$1");
}

/** Where the unit, with what was added to it, says that its data is. */
export function dataDirOf({ data_dir }: ServicePlace): string {
  return /(?:^| )AGENTBUS_SERVER_DATA_DIR=(\S+)/.exec(showUnit("Environment"))?.[1] ?? data_dir;
}

/** A property of the service of the machine; "" where systemd does not tell. */
function showUnit(property: string): string {
  if (!Bun.which("systemctl")) return "";
  const { ok, said } = callSystem([
    "systemctl",
    "show",
    "agentbus.service",
    `--property=${property}`,
    "--value",
  ]);
  return ok ? said : "";
}
