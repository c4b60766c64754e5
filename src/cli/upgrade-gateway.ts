import { VERSION } from "../build.ts";
import { copyBefore } from "../database-check.ts";
import type { Input } from "./args.ts";
import type { Config } from "./configuration.ts";
import type { Io } from "./io.ts";
import { harmless } from "./markdown.ts";
import type { Running } from "./running.ts";
import { readRunning } from "./running.ts";
import { localTarget } from "./target.ts";
import { trustFor, trustingFetch } from "./trust.ts";
import type { Way } from "./upgrade-restart.ts";
import { restart, waitReady, wayToRestart } from "./upgrade-restart.ts";
import { previousOf, swap } from "./upgrade-swap.ts";

export interface Installed {
  readonly executable: string;
  readonly version: string;
  /** It was put in place just now, and the one before is kept. */
  readonly isNew: boolean;
}

export interface UpgradeContext {
  readonly config: Config;
  readonly input: Input;
  readonly io: Io;
  readonly readyMs: number;
}

export interface Done {
  readonly restarted: boolean;
  /** What went wrong, and what is the case now; null: nothing. */
  readonly failed: string | null;
}

/** Whether the gateway of a configuration still runs what was in this executable's place before. */
export function isLeftBehind(executable: string, { server }: Config): boolean {
  const running = readRunning(server.data_dir);
  if (running === null || running.version === VERSION) return false;
  return wayToRestart(running, executable).kind !== "none";
}

/** Restarts the gateway of this configuration with what was put in place, or puts back what was there before. */
export async function startAnew(
  { executable, version, isNew }: Installed,
  context: UpgradeContext,
): Promise<Done> {
  const { config, input, io } = context;
  const before = readRunning(config.server.data_dir);
  if (before === null) {
    io.err(`no gateway runs on ${config.server.data_dir} (another one is named by --config or --data-dir)`);
    return { restarted: false, failed: null };
  }
  const way = wayToRestart(before, executable);
  if (input.on("no-restart") || way.kind === "none") {
    const why = way.kind === "none" ? way.why : `the gateway (process ${before.pid}) runs on as it was`;
    io.err(why);
    return { restarted: false, failed: null };
  }
  io.err(`restarting the gateway (${way.kind === "systemd" ? way.unit : `process ${before.pid}`})`);
  const told = restart(way, before.pid, executable);
  const wrong = told
    ? await ready(before, version, way, context)
    : `this user may not restart it: sudo kill -USR2 ${before.pid} does`;
  if (wrong === null) return { restarted: true, failed: null };
  if (!told) return { restarted: false, failed: wrong };
  if (!isNew) return { restarted: false, failed: harmless(`${version} is not ready (${wrong})`) };
  swap(executable, previousOf(executable));
  const back = await revive({ before, executable, way }, context);
  const kept = `${version} is not ready (${wrong}): ${VERSION} is back in its place`;
  return { restarted: false, failed: harmless(`${kept}, ${back}`) };
}

/** Has what was put back run again; answers how that went. */
async function revive(
  { before, executable, way }: { before: Running; executable: string; way: Way },
  context: UpgradeContext,
): Promise<string> {
  const { config } = context;
  const now = readRunning(config.server.data_dir);
  // One that hangs before it listens ends by it; whoever looks after it starts it again.
  const pid = now?.pid ?? before.pid;
  restart(way, pid, pid === before.pid ? null : executable);
  const wrong = await ready(
    { ...before, started_at: now?.started_at ?? before.started_at },
    VERSION,
    way,
    context,
  );
  if (wrong === null) return "and runs again";
  return `but does not run (${wrong}). ${copyBefore(config.server.data_dir) ?? "Start it as it was started before"}`;
}

function ready(before: Running, version: string, way: Way, context: UpgradeContext): Promise<string | null> {
  const { config, input, io, readyMs } = context;
  const { data_dir, shutdown_delay_secs, shutdown_grace_secs } = config.server;
  const trust = trustFor(input, io, () => localTarget(config).trust);
  return waitReady({
    running: () => readRunning(data_dir),
    version,
    after: before.started_at,
    pid: before.pid,
    way,
    // Answers that are being written have their time first.
    ms: readyMs + (shutdown_delay_secs + shutdown_grace_secs) * 1_000,
    fetch: trustingFetch(trust),
  });
}
