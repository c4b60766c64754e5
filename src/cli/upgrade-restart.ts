import { readFileSync, readlinkSync, realpathSync } from "node:fs";
import type { FetchLike } from "../client/options.ts";
import type { Opening, Running } from "./running.ts";
import { isAlive } from "./running.ts";
import { previousOf } from "./upgrade-swap.ts";

const POLL_MS = 100;
const ASK_MS = 5_000;
/** What a start does for longer than this is said. */
const LONG_MS = 2_000;
/** Processes in a row that are given all the time they need to open the database: one that fails at its end begins anew for ever. */
const OPENERS = 3;
/** How long whoever looks after a process that ended has to start it again. */
const SUPERVISOR_MS = 15_000;

/** How a gateway that runs is made to start anew. */
export type Way =
  | { readonly kind: "systemd"; readonly unit: string; readonly user: boolean }
  | { readonly kind: "signal" }
  /** `why` ends a sentence that says what has to be done by hand. */
  | { readonly kind: "none"; readonly why: string };

/** How to have the gateway start the executable anew. */
export function wayToRestart(running: Running, executable: string): Way {
  const { pid } = running;
  if (running.executable === null || !same(running.executable, executable))
    return {
      kind: "none",
      why: `the gateway that runs (process ${pid}) is not this executable: restart it yourself`,
    };
  if (!isRunBy(pid, executable))
    return {
      kind: "none",
      why: `the process ${pid}, which the data directory names, is not this executable: restart the gateway yourself`,
    };
  const service = serviceOf(pid);
  if (service !== null) return { kind: "systemd", ...service };
  if (process.platform === "win32")
    return {
      kind: "none",
      why: `the gateway (process ${pid}) still is the previous one: stop it and start it again`,
    };
  return { kind: "signal" };
}

/**
 * Whether a process runs the executable, which may have been replaced meanwhile. Who may write the data directory chooses the
 * pid that stands there: root signals, and has systemd restart, nothing else by it.
 */
function isRunBy(pid: number, executable: string): boolean {
  if (process.platform !== "linux") return process.getuid?.() !== 0;
  try {
    const path = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
    return same(path, executable) || path === previousOf(executable);
  } catch {
    // Another user's: it takes root to signal it, too.
    return process.getuid?.() !== 0;
  }
}

function same(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return false;
  }
}

/** The systemd service a process is the main one of. */
function serviceOf(pid: number): { unit: string; user: boolean } | null {
  if (process.platform !== "linux" || Bun.which("systemctl") === null) return null;
  let cgroups: string;
  try {
    cgroups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  } catch {
    return null;
  }
  const service = unitIn(cgroups);
  if (service === null) return null;
  const shown = systemctl(service, "show", "--property=MainPID", "--value", service.unit);
  return shown === String(pid) ? service : null;
}

/** The service that /proc/PID/cgroup names; null: it is in none, or in one that is not systemd's. */
export function unitIn(cgroups: string): { unit: string; user: boolean } | null {
  const path = /^(?:0|1:name=systemd|\d+:name=systemd):{1,2}(\/.*)$/m.exec(cgroups)?.[1] ?? "";
  const unit = /\/([^/]+\.service)$/.exec(path)?.[1];
  if (unit === undefined || /^user@\d+\.service$/.test(unit)) return null;
  return { unit, user: /\/user@\d+\.service\//.test(path) };
}

/** What it printed; null where it failed. */
function systemctl({ user }: { user: boolean }, ...argv: string[]): string | null {
  const cmd = ["systemctl", ...(user ? ["--user"] : []), "--no-ask-password", ...argv];
  const { success, stdout } = Bun.spawnSync(cmd, { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  return success ? stdout.toString().trim() : null;
}

/** Has it start anew; false: it cannot be told to. @param executable null: the process was looked at already */
export function restart(way: Way, pid: number, executable: string | null): boolean {
  if (way.kind === "systemd") {
    systemctl(way, "reset-failed", way.unit);
    if (systemctl(way, "restart", "--no-block", way.unit) !== null) return true;
  }
  if (way.kind === "none" || (executable !== null && !isRunBy(pid, executable))) return false;
  try {
    process.kill(pid, "SIGUSR2");
    return true;
  } catch {
    return false;
  }
}

interface Awaited {
  /** What the gateway says of itself now. */
  readonly running: () => Running | null;
  /** The gateway that opens its database now. */
  readonly opening: () => Opening | null;
  /** Told, a line, of what is waited for. */
  readonly tell: (line: string) => void;
  readonly version: string;
  /** When the one before began; it does not count. */
  readonly after: number;
  readonly pid: number;
  readonly way: Way;
  readonly ms: number;
  readonly fetch: FetchLike;
}

/**
 * Null once the gateway takes work in this version; else what was the matter when the time was over. While a gateway opens its
 * database no time passes, but for one that ended there time and again: what it begins there is not to be cut off, and shows only at its end whether it can be used.
 */
export async function waitReady({
  running,
  opening,
  tell,
  version,
  after,
  pid,
  way,
  ms,
  fetch,
}: Awaited): Promise<string | null> {
  const tellLong = longOnly(tell);
  const openers = new Set<number>();
  let deadline = performance.now() + ms;
  let gone = false;
  for (let said = "it did not start"; ;) {
    const now = running();
    if (now !== null && now.started_at !== after) {
      if (now.version !== version)
        said = `what started is ${now.version ?? "another version"}, not ${version}`;
      else said = (await unready(now.url, fetch)) ?? "";
      if (said === "") return null;
    }
    // Nobody has to look after it: then there is no use in waiting as long.
    if (!gone && way.kind === "signal" && !isAlive(pid)) {
      gone = true;
      said = "it ended";
      deadline = Math.min(deadline, performance.now() + SUPERVISOR_MS);
    }
    const opens = opening();
    tellLong(opens);
    if (opens !== null) openers.add(opens.pid);
    const hasTime = opens !== null && openers.size <= OPENERS;
    if (performance.now() > deadline && !hasTime) return said;
    const began = performance.now();
    await Bun.sleep(POLL_MS);
    if (hasTime) deadline += performance.now() - began;
  }
}

/** Tells, once, what a gateway does for longer than a moment. */
function longOnly(tell: (line: string) => void): (opens: Opening | null) => void {
  let told = "";
  let began = 0;
  return (opens) => {
    const line = opens === null ? "" : `process ${opens.pid} is ${opens.doing}: waiting for it`;
    if (line !== told) {
      told = line;
      began = performance.now();
    } else if (line !== "" && performance.now() - began > LONG_MS) {
      tell(line);
      began = Number.POSITIVE_INFINITY;
    }
  };
}

async function unready(url: string, fetch: FetchLike): Promise<string | null> {
  try {
    const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(ASK_MS) });
    if (response.ok) return null;
    return `/ready says ${response.status}: ${(await response.text()).slice(0, 500)}`;
  } catch (error) {
    return `/ready does not answer (${error instanceof Error ? error.message : String(error)})`;
  }
}
