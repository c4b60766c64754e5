import { readFileSync } from "node:fs";

/** How many fields of /proc/PID/stat stand between the name, which may have anything in it, and the time of the start. */
const FIELDS_BEFORE_START = 19;

/**
 * What tells a process from every other that has had, or will have, its pid: the start of the machine and the tick of its own. No
 * clock is in it, for that may be set. Null where the system does not say, or not to this user.
 */
export function processMark(pid: number): string | null {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const start = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[FIELDS_BEFORE_START];
    return start === undefined ? null : `${boot} ${start}`;
  } catch {
    return null;
  }
}
