import { readFileSync } from "node:fs";

/** How many fields of /proc/PID/stat stand between the name, which may have anything in it, and the time of the start. */
const FIELDS_BEFORE_START = 19;

/**
 * What tells a process from the others that get its pid: the tick of its start. No clock is in it, for that may be set, and not the id of
 * the machine's start either, for within the sandbox of a service that may be another than outside (systemd-nspawn hides the real one
 * from what has no /proc of its own). Null where the system does not say, or not to this user.
 */
export function processMark(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[FIELDS_BEFORE_START] ?? null;
  } catch {
    return null;
  }
}
