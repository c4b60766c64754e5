import { existsSync } from "node:fs";
import type { Finding } from "./doctor.ts";
import { explain } from "./explain.ts";
import type { Io } from "./io.ts";
import { agentLog, agentState } from "./launchd.ts";
import type { LocalConfig } from "./local-config.ts";
import type { Running } from "./running.ts";
import { dataDirOf } from "./service-environment.ts";
import type { ServicePlace } from "./service-place.ts";
import { servicePlace } from "./service-place.ts";
import type { ServiceState } from "./systemd.ts";
import { lastWords, unitState } from "./systemd.ts";
import { visible } from "./table.ts";

const CHECK = "gateway";
const WORDS = 8;
const WORDS_CHARS = 300;

/** The service that runs the gateway of this configuration, where one is installed; null: somebody starts it. */
export function serviceOf({ config, file, isService }: LocalConfig, io: Io): ServicePlace | null {
  const { data_dir } = config.server;
  const isRoot = process.geteuid?.() === 0;
  if (isRoot && process.platform === "linux") {
    const place = servicePlace(io, "systemd");
    if (isService) return place;
    const isNamed = existsSync(place.file) && (file === place.config || data_dir === dataDirOf(place));
    return isNamed ? place : null;
  }
  if (isRoot || !["linux", "darwin"].includes(process.platform)) return null;
  const own = servicePlace(io);
  return existsSync(own.file) && own.data_dir === data_dir ? own : null;
}

/** Why the gateway of a service does not run. */
export function checkStopped(place: ServicePlace, io: Io): Finding {
  const { start, restart, enable, log } = wordsFor(place, io);
  let service: ServiceState;
  try {
    service = stateOf(place);
  } catch (error) {
    const finding = `it does not run, and its service (${place.file}) cannot be asked: ${explain(error)}`;
    return {
      check: CHECK,
      state: "warning",
      finding,
      advice: "start it with what looks after services here",
    };
  }
  const { state, running, enabled, pid } = service;
  if (running) {
    const finding = `its service runs (pid ${pid}), and no gateway.json in the data directory says where it listens`;
    return { check: CHECK, state: "failed", finding, advice: `${log} says more; then ${restart}` };
  }
  if (state.startsWith("activating (start"))
    return {
      check: CHECK,
      state: "warning",
      finding: `its service is starting: ${state}`,
      advice: `wait for it: ${log} says what it does`,
    };
  if (!enabled && state.startsWith("inactive")) {
    const finding = `it does not run: its service is stopped, and does not start with the machine`;
    return { check: CHECK, state: "warning", finding, advice: `${enable} starts it, now and from then on` };
  }
  const finding = [`its service does not run: ${state}`, ...wordsOf(place)].join("\n");
  const advice = state.startsWith("inactive")
    ? `${start} starts it; ${log} says why it was stopped`
    : `${log} says more: mend that, then ${start}`;
  return { check: CHECK, state: "failed", finding, advice };
}

/** Whether it is the service that runs the gateway, where there is a service. */
export function checkStarter(place: ServicePlace | null, { pid }: Running, io: Io): Finding[] {
  if (place === null) return [];
  try {
    const service = stateOf(place);
    if (service.pid === pid) return [];
    const finding = `the gateway that runs (pid ${pid}) is not that of the service, which is ${service.state}`;
    const advice = `stop it (kill ${pid}), then ${wordsFor(place, io).start}`;
    return [{ check: CHECK, state: "warning", finding, advice }];
  } catch {
    // No systemd, such as in a container: it is somebody else who starts it.
    return [];
  }
}

function stateOf(place: ServicePlace): ServiceState {
  return place.kind === "launchd" ? agentState(place) : unitState(place);
}

function wordsOf(place: ServicePlace): string[] {
  const words = place.kind === "launchd" ? "" : lastWords(place);
  return words
    .split("\n")
    .filter((line) => line !== "")
    .slice(-WORDS)
    .map((line) => visible(line).slice(0, WORDS_CHARS));
}

function wordsFor({ kind }: ServicePlace, io: Io) {
  if (kind === "launchd") {
    const again = "agentbus service install";
    return { start: again, restart: again, enable: again, log: agentLog(io) };
  }
  const systemctl = kind === "systemd" ? "systemctl" : "systemctl --user";
  return {
    start: `${systemctl} start agentbus`,
    restart: `${systemctl} restart agentbus`,
    enable: `${systemctl} enable --now agentbus`,
    log: kind === "systemd" ? "journalctl -u agentbus" : "journalctl --user -u agentbus",
  };
}
