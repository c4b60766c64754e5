import type { ResultFor } from "../client/methods.ts";
import { VERSION } from "../build.ts";
import type { ListenAt } from "../listeners.ts";
import { listenersOf } from "../listeners.ts";
import type { Config } from "./configuration.ts";
import type { Finding } from "./doctor.ts";
import { checkStarter, checkStopped } from "./doctor-unit.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { backupLine, roomOf } from "./status.ts";
import { readRunning } from "./running.ts";
import type { ServicePlace } from "./service-place.ts";
import type { ServiceUser } from "./service-user.ts";
import { connectTo, localTarget, localUrl } from "./target.ts";

type Running = ResultFor<"system.status">;

/** Whether every port of the configuration can be listened on, by whom the service runs as, or is our own gateway's. */
export async function checkPorts(config: Config, user: ServiceUser | null): Promise<Finding[]> {
  const check = "port";
  const running = readRunning(config.server.data_dir);
  if (running !== null)
    return [{ check, state: "ok", finding: `in use by this gateway (pid ${running.pid})` }];
  return Promise.all(listenersOf(config).map(async (at) => closedPort(at, user) ?? checkPort(config, at)));
}

/** One that root may take, and the user of the service may not; null: it may. */
function closedPort({ port, option }: ListenAt, user: ServiceUser | null): Finding | null {
  if (user === null || port === 0 || port >= user.least_port) return null;
  const finding = `${user.name}, as whom the service runs, may not take port ${port}`;
  const advice = `set ${option} to ${user.least_port} or above, with a proxy before it, or give the service CAP_NET_BIND_SERVICE (docs/deploy.md)`;
  return { check: "port", state: "failed", finding, advice };
}

async function checkPort(config: Config, { host, port, option }: ListenAt): Promise<Finding> {
  const check = "port";
  if (port === 0) return { check, state: "ok", finding: "any free one" };
  const shown = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const refusal = tryListen(host, port);
  if (refusal === null) return { check, state: "ok", finding: `${shown} is free` };
  if (refusal === "EADDRINUSE") {
    const other = (await isGateway(localUrl(config)))
      ? "a gateway with another data directory"
      : "another program";
    const advice = `stop it, or set ${option} to another ${option === "server.port" ? "number" : "address"}`;
    return { check, state: "failed", finding: `${shown} is in use by ${other}`, advice };
  }
  const advice =
    option === "server.port"
      ? "set server.host to an address of this machine and server.port to one this user may take"
      : `set ${option} to an address of this machine and a port that this user may take`;
  return { check, state: "failed", finding: `cannot listen on ${shown} (${refusal})`, advice };
}

/** How the gateway of this configuration is, where it runs. `place`: of the service that has to run it, if any. */
export async function checkRunning(config: Config, place: ServicePlace | null, io: Io): Promise<Finding[]> {
  const check = "gateway";
  const running = readRunning(config.server.data_dir);
  if (running === null) {
    if (place !== null) return [checkStopped(place, io)];
    return [{ check, state: "ok", finding: "not running; agentbus serve starts it" }];
  }
  return [...(await askRunning(config)), ...checkStarter(place, running, io)];
}

async function askRunning(config: Config): Promise<Finding[]> {
  const check = "gateway";
  try {
    const client = await connectTo(localTarget(config));
    try {
      const { status, storage, configuration, backup } = await client.request("system.status", {});
      const version = client.hello?.server_info.version ?? "";
      const backups = backup === undefined ? [] : [checkBackup(backup)];
      const others = [
        ...checkVersion(version),
        ...checkReloaded(configuration),
        ...checkRoom(storage),
        ...backups,
      ];
      const finding = `${status} at ${localUrl(config)}, version ${version}`;
      if (status === "healthy") return [{ check, state: "ok", finding }, ...others];
      const why = storage.reason ?? (storage.ok ? null : "storage refuses");
      const advice = "agentbus status tells more";
      const shown = why === null ? finding : `${finding}: ${why}`;
      return [{ check, state: "warning", finding: shown, advice }, ...others];
    } finally {
      client.disconnect();
    }
  } catch (error) {
    return [{ check, state: "failed", finding: explain(error), advice: "its log says why; restart it" }];
  }
}

/** Whether a bounded database is about to refuse. */
function checkRoom(storage: Running["storage"]): Finding[] {
  if (storage.max_bytes === undefined) return [];
  const check = "room";
  const finding = `the database has ${roomOf(storage).slice(2)}`;
  if (storage.nearly_full !== true) return [{ check, state: "ok", finding }];
  const advice = "raise storage.max_bytes, set storage.retention_days, or delete sessions";
  return [{ check, state: "warning", finding, advice }];
}

/** One that failed is tried again; without a newer one there is only what the line says. */
function checkBackup(backup: NonNullable<Running["backup"]>): Finding {
  const check = "backup";
  const finding = backupLine(backup);
  if (backup.reason === undefined) return { check, state: "ok", finding };
  const advice = "mend what it says; agentbus backup makes one by hand";
  return { check, state: "failed", finding, advice };
}

/** Whether what runs is what this executable would start. */
function checkVersion(running: string): Finding[] {
  if (running === VERSION) return [];
  const finding = `the gateway that runs is ${running}, this is ${VERSION}`;
  return [{ check: "version", state: "warning", finding, advice: "restart the gateway to run this one" }];
}

/** Whether the gateway runs with what is in the file now. */
function checkReloaded({ file, failure, restart_needed }: Running["configuration"]): Finding[] {
  const check = "configuration";
  const waits = restart_needed.join(", ");
  const findings: Finding[] = [];
  if (failure !== undefined) {
    const since = new Date(failure.at).toISOString();
    const finding = `the gateway goes on with the last one that was right: ${failure.reason} (${since})`;
    findings.push({
      check,
      state: "failed",
      finding,
      advice: `mend ${file ?? "it"}: it is read by itself then`,
    });
  }
  if (waits !== "") {
    const finding = `the gateway does not go by its file for ${waits}`;
    findings.push({ check, state: "warning", finding, advice: "restart it, or put back what it was" });
  }
  return findings;
}

/** Null, or the code of what the system says against it. */
function tryListen(hostname: string, port: number): string | null {
  try {
    const socket = { data: () => undefined };
    Bun.listen({ hostname, port, exclusive: true, socket }).stop(true);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  }
}

async function isGateway(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(2_000) });
    return ((await response.json()) as { name?: unknown }).name === "agentbus";
  } catch {
    return false;
  }
}
