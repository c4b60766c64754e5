import type { ResultFor } from "../client/methods.ts";
import { day } from "../certificate.ts";
import { tellAlive } from "./alive.ts";
import type { Command } from "./args.ts";
import { EXIT } from "./exit.ts";
import { outJson } from "./io.ts";
import { visible } from "./table.ts";
import { TARGET_OPTIONS, connectTo, findTarget } from "./target.ts";
import type { Shown } from "./trust.ts";

export const status: Command = {
  name: "status",
  summary: "how the gateway is",
  usage: "",
  args: [0, 0],
  options: {
    json: { summary: "as JSON" },
    alive: { summary: "only whether it answers, or opens its database, however full or degraded it is" },
    ...TARGET_OPTIONS,
  },
  run: async (input, io) => {
    if (input.on("alive")) return tellAlive(input, io);
    const target = findTarget(input, io);
    let certificate: Shown | null = null;
    const client = await connectTo(target, { shown: (each) => (certificate = each) });
    try {
      const state = await client.request("system.status", {});
      const version = client.hello?.server_info.version;
      if (input.on("json"))
        outJson(io, { url: target.url, version, ...(certificate !== null && { certificate }), ...state });
      else for (const line of describe(state, target.url, version, certificate)) io.out(visible(line));
      return state.status === "healthy" ? EXIT.ok : EXIT.failed;
    } finally {
      client.disconnect();
    }
  },
};

function describe(
  state: ResultFor<"system.status">,
  url: string,
  version: string | undefined,
  certificate: Shown | null,
): string[] {
  const { storage, backup, providers, plugins, runs, configuration } = state;
  const tls =
    certificate === null
      ? []
      : [`  certificate   SHA-256 ${certificate.fingerprint}, until ${day(certificate.expires_at)}`];
  return [
    `agentbus ${version} at ${url}: ${state.status}`,
    ...tls,
    `  up            ${duration(state.uptime)}`,
    `  connections   ${state.connections}`,
    `  runs          ${runs.active} active, ${runs.queued} queued`,
    `  memory        ${Math.round(state.memory_usage / 2 ** 20)} MiB`,
    `  storage       ${storage.kind}, ${storage.reason ?? (storage.ok ? "ok" : "refuses")}${roomOf(storage)}`,
    ...(backup === undefined ? [] : [`  backup        ${backupLine(backup)}`]),
    ...providers.map(
      ({ name, ready, reason }) => `  provider      ${name}, ${ready ? "ready" : (reason ?? "not ready")}`,
    ),
    ...toldOf(configuration),
    ...plugins.map(
      ({ name, state, reason }) =>
        `  plug-in       ${name}, ${state}${reason === undefined ? "" : `: ${reason}`}`,
    ),
  ];
}

/** How full a bounded database is, behind a comma; nothing where it has no bound. */
export function roomOf({ used_bytes, max_bytes }: ResultFor<"system.status">["storage"]): string {
  if (used_bytes === undefined || max_bytes === undefined) return "";
  const mib = (bytes: number): string => String(Math.round((bytes / 2 ** 20) * 10) / 10);
  const percent = Math.floor((used_bytes / max_bytes) * 100);
  return `, ${mib(used_bytes)} of ${mib(max_bytes)} MiB used (${percent} % of storage.max_bytes)`;
}

export function backupLine(backup: NonNullable<ResultFor<"system.status">["backup"]>): string {
  const at = (time: number): string => new Date(time).toISOString().slice(0, 16).replace("T", " ");
  const last = backup.last_at === undefined ? "none yet" : `the last ${at(backup.last_at)}`;
  if (backup.reason !== undefined) return `failed: ${backup.reason} (${last})`;
  return `${last}, the next ${at(backup.next_at)} UTC`;
}

/** Nothing where it is as it was read. */
function toldOf({ failure, restart_needed }: ResultFor<"system.status">["configuration"]): string[] {
  const waits = restart_needed.join(", ");
  return [
    ...(failure === undefined ? [] : [`  configuration the last one that was right: ${failure.reason}`]),
    ...(waits === "" ? [] : [`  configuration ${waits}: from the next start on`]),
  ];
}

/** Seconds as a person says them, in the two largest units. */
function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const units: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3_600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = units.findIndex(([count]) => count > 0);
  const shown = units.slice(first === -1 ? 3 : first).slice(0, 2);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(" ");
}
