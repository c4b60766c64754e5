import type { ServicePlace } from "./service-place.ts";
import { callSystem } from "./system-call.ts";

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
  return (double ?? value).replaceAll(/\\(.)/g, "$1");
}

/** Where the unit, with what was added to it, says that its data is. */
export function dataDirOf({ data_dir }: ServicePlace): string {
  if (!Bun.which("systemctl")) return data_dir;
  const { ok, said } = callSystem([
    "systemctl",
    "show",
    "agentbus.service",
    "--property=Environment",
    "--value",
  ]);
  const found = ok ? /(?:^| )AGENTBUS_SERVER_DATA_DIR=(\S+)/.exec(said)?.[1] : undefined;
  return found ?? data_dir;
}
