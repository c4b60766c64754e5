import { VERSION } from "../build.ts";
import { SCHEMAS, wayBack } from "../database-check.ts";
import type { Input } from "./args.ts";
import type { Config } from "./configuration.ts";
import { processMark } from "../process-mark.ts";
import { CommandError } from "./exit.ts";
import type { Io } from "./io.ts";
import { harmless } from "./markdown.ts";
import type { Running } from "./running.ts";
import { readOpening, readRunning } from "./running.ts";
import { localTarget } from "./target.ts";
import { trustFor, trustingFetch } from "./trust.ts";
import type { Way } from "./upgrade-restart.ts";
import { restart, waitReady, wayToRestart } from "./upgrade-restart.ts";
import type { Facts } from "./upgrade-swap.ts";
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
  /** The version that is in place. */
  readonly to: string;
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

/** @throws CommandError where a gateway opens its database: it has to do that with the executable that it began with */
export function refuseWhileOpening({ server }: Config): void {
  const opens = readOpening(server.data_dir);
  if (opens === null) return;
  throw new CommandError(
    `the gateway (process ${opens.pid}) is ${opens.doing}: wait until it listens (agentbus status); nothing was changed`,
  );
}

/** @throws CommandError where an executable, once it is in place, could not read the database */
export async function refuseUnreadable({ version, schemas }: Facts, config: Config): Promise<void> {
  const back = schemas === null ? null : await wayBack(config, schemas);
  if (back === null) return;
  throw new CommandError(
    `the database was brought up to date, and ${version} cannot read that: nothing was changed. To go back, without what was ` +
      `said since: stop the gateway, then the same with --no-restart, then ${back}`,
  );
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
    return { to: version, restarted: false, failed: null };
  }
  const way = wayToRestart(before, executable);
  if (input.on("no-restart") || way.kind === "none") {
    const why = way.kind === "none" ? way.why : `the gateway (process ${before.pid}) runs on as it was`;
    io.err(why);
    return { to: version, restarted: false, failed: null };
  }
  const mark = processMark(before.pid);
  io.err(`restarting the gateway (${way.kind === "systemd" ? way.unit : `process ${before.pid}`})`);
  const told = restart(way, before.pid, executable);
  const wrong = told
    ? await ready(before, version, way, context)
    : `this user may not restart it: sudo kill -USR2 ${before.pid} does`;
  if (wrong === null) return { to: version, restarted: true, failed: null };
  if (!told) return { to: version, restarted: false, failed: wrong };
  const failed = `${version} is not ready (${wrong})`;
  if (!isNew) return { to: version, restarted: false, failed: harmless(failed) };
  const { isBack, says } = await goBack({ before, mark, executable, way }, context);
  return { to: isBack ? VERSION : version, restarted: false, failed: harmless(`${failed}${says}`) };
}

interface Restarted {
  readonly before: Running;
  /** Of its process. */
  readonly mark: string | null;
  readonly executable: string;
  readonly way: Way;
}

interface Outcome {
  readonly isBack: boolean;
  /** What is the case now. */
  readonly says: string;
}

/** Puts back what was in the executable's place, and has it run again, unless it could not read the database any more. */
async function goBack(restarted: Restarted, context: UpgradeContext): Promise<Outcome> {
  const { executable } = restarted;
  const stays = await whyStays(context.config);
  if (stays !== null) return { isBack: false, says: stays };
  swap(executable, previousOf(executable));
  const wrong = await revive(restarted, context);
  // It may have come to that while it was replaced.
  const late = wrong === null ? null : await whyStays(context.config);
  if (late !== null) {
    swap(executable, previousOf(executable));
    return { isBack: false, says: late };
  }
  const how =
    wrong === null ? ", and runs again" : `, but does not run (${wrong}). Start it as it was started before`;
  return { isBack: true, says: `: ${VERSION} is back in its place${how}` };
}

/** Null: this version can read the database. */
async function whyStays(config: Config): Promise<string | null> {
  const back = await wayBack(config, SCHEMAS);
  if (back === null) return null;
  return (
    ` and stays in its place, for it brought the database up to date, and ${VERSION} cannot read that. Mend what is wrong and ` +
    `start the gateway. To go back, without what was said since: stop it, agentbus upgrade --rollback --no-restart, then ${back}`
  );
}

/** Has what was put back run again; null, or what was the matter. */
async function revive(
  { before, mark, executable, way }: Restarted,
  context: UpgradeContext,
): Promise<string | null> {
  const { config } = context;
  const now = readRunning(config.server.data_dir);
  // One that hangs before it listens ends by it; whoever looks after it starts it again.
  const pid = now?.pid ?? before.pid;
  const isSame = pid === before.pid && processMark(pid) === mark;
  restart(way, pid, isSame ? null : executable);
  return ready({ ...before, started_at: now?.started_at ?? before.started_at }, VERSION, way, context);
}

function ready(before: Running, version: string, way: Way, context: UpgradeContext): Promise<string | null> {
  const { config, input, io, readyMs } = context;
  const { data_dir, shutdown_delay_secs, shutdown_grace_secs } = config.server;
  const trust = trustFor(input, io, () => localTarget(config).trust);
  return waitReady({
    running: () => readRunning(data_dir),
    opening: () => readOpening(data_dir),
    tell: (line) => io.err(line),
    version,
    after: before.started_at,
    pid: before.pid,
    way,
    // Answers that are being written have their time first.
    ms: readyMs + (shutdown_delay_secs + shutdown_grace_secs) * 1_000,
    fetch: trustingFetch(trust),
  });
}
