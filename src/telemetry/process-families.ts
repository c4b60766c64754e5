import { readdirSync, readFileSync } from "node:fs";
import type { Family } from "./family.ts";
import { one } from "./family.ts";

/** The process itself, by the names that every exporter uses for these. */
export function processFamilies(): Family[] {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return [
    one("counter", "process_cpu_seconds", "Processor time used.", (user + system) / 1e6),
    one("gauge", "process_resident_memory_bytes", "Memory in use.", rss),
    one("gauge", "agentbus_heap_bytes", "Memory of it that holds JavaScript's objects.", heapUsed),
    one("gauge", "process_open_fds", "Open files and sockets.", openFiles()),
    one("gauge", "process_max_fds", "How many there may be.", maxFiles()),
    one("gauge", "process_start_time_seconds", "When it was started, seconds since 1970.", STARTED_SECS),
  ];
}

const STARTED_SECS = Math.round(performance.timeOrigin) / 1_000;

/** Null: this system does not tell. */
function openFiles(): number | null {
  try {
    // One of them is the directory that is read.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return null;
  }
}

function maxFiles(): number | null {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}
