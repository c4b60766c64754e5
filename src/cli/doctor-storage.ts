import { accessSync, constants, existsSync, statSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Finding } from "./doctor.ts";
import { obstacleOf } from "./doctor-rights.ts";
import type { ServiceUser } from "./service-user.ts";

const MIB = 1024 * 1024;
const DISK_WARNS_BYTES = 1024 * MIB;

/** `user`: as whom the gateway runs, where that is not whoever looks. */
export function checkDataDir(data_dir: string, user: ServiceUser | null = null): Finding {
  const check = "data directory";
  if (!existsSync(data_dir)) {
    const parent = existing(data_dir);
    const finding = `${data_dir} is not there yet`;
    if (user !== null) return missingOf(user, data_dir, finding);
    if (isWritable(parent)) return { check, state: "ok", finding: `${finding}; the first start makes it` };
    const advice = `let this user write in ${parent}, or set server.data_dir to a directory of its own`;
    return { check, state: "failed", finding: `${finding} and cannot be made`, advice };
  }
  const stat = statSync(data_dir);
  if (!stat.isDirectory()) {
    return {
      check,
      state: "failed",
      finding: `${data_dir} is no directory`,
      advice: "set server.data_dir to another path",
    };
  }
  const closed = user === null ? null : closedTo(user, data_dir);
  if (closed !== null) return closed;
  if (!isWritable(data_dir)) {
    const advice = `chown it to this user, or set server.data_dir to a directory of its own`;
    return { check, state: "failed", finding: `${data_dir} cannot be written`, advice };
  }
  if (isOthers(stat.uid)) {
    const advice = `run agentbus as that user, or chown -R it to this one`;
    return { check, state: "failed", finding: `${data_dir} belongs to another user (${stat.uid})`, advice };
  }
  if (isOpen(stat.mode)) {
    return {
      check,
      state: "warning",
      finding: `others can look into ${data_dir}`,
      advice: `chmod 700 '${data_dir}'`,
    };
  }
  return { check, state: "ok", finding: `${data_dir}, writable and private` };
}

function closedTo(user: ServiceUser, data_dir: string): Finding | null {
  const obstacle = obstacleOf(data_dir, "write", user);
  if (obstacle === null) return null;
  const finding = `${data_dir} cannot be written by ${user.name}, as whom the service runs: ${obstacle.why}`;
  const advice = obstacle.isItself === true ? `chown -R ${user.name}: '${data_dir}'` : obstacle.advice;
  return { check: "data directory", state: "failed", finding, advice };
}

/** systemd makes the directory that the unit names; nobody else makes one for the service. */
function missingOf({ name, made }: ServiceUser, data_dir: string, finding: string): Finding {
  const check = "data directory";
  if (made.includes(data_dir))
    return { check, state: "ok", finding: `${finding}; the first start of the service makes it` };
  const advice = `install -d -o ${name} -g ${name} -m 700 '${data_dir}', and ReadWritePaths=${data_dir} (systemctl edit agentbus)`;
  return { check, state: "failed", finding: `${finding}, and the service does not make it`, advice };
}

export function checkToken(data_dir: string): Finding {
  const check = "token";
  const path = join(data_dir, "token");
  if (!existsSync(path)) return { check, state: "ok", finding: "none yet; the first start makes one" };
  const stat = statSync(path);
  const { uid } = statSync(data_dir);
  if (stat.uid !== uid) {
    const advice = `chown ${uid} '${path}': the gateway runs as whom the data directory belongs to`;
    return { check, state: "failed", finding: `${path} belongs to another user (${stat.uid})`, advice };
  }
  if (!isOpen(stat.mode)) return { check, state: "ok", finding: `${path}, private` };
  const advice = `chmod 600 '${path}', then agentbus token rotate if somebody might have read it`;
  return { check, state: "warning", finding: `others can read ${path}`, advice };
}

export function checkDisk(data_dir: string, least: number): Finding {
  const check = "disk";
  const { bavail, bsize } = statfsSync(existing(data_dir));
  const free = bavail * bsize;
  const room = `${Math.floor(free / MIB)} MiB free`;
  const finding = free < least ? `${room}, fewer than storage.min_free_bytes: /ready says so` : room;
  const advice = "make room, set storage.retention_days, or move server.data_dir to another disk";
  if (free < least) return { check, state: "failed", finding, advice };
  return free < DISK_WARNS_BYTES
    ? { check, state: "warning", finding, advice }
    : { check, state: "ok", finding };
}

/** The path, or the nearest directory above it that is there. */
function existing(path: string): string {
  let nearest = path;
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  return nearest;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The superuser may be anybody. */
function isOthers(uid: number): boolean {
  const own = process.getuid?.() ?? uid;
  return own !== 0 && own !== uid;
}

function isOpen(mode: number): boolean {
  return process.platform !== "win32" && (mode & 0o077) !== 0;
}

/** When the database was written last; null: there is none. */
export function writtenAt(data_dir: string): number | null {
  const files = ["agentbus.db", "agentbus.db-wal"].map((name) => join(data_dir, name));
  const times = files.filter((file) => existsSync(file)).map((file) => statSync(file).mtimeMs);
  return times.length === 0 ? null : Math.max(...times);
}
