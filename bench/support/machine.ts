import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { ms, quantiles } from "./numbers.ts";

const SYNCS = 100;
const PAGE = Buffer.alloc(4_096, 1);

/** What the figures were measured on, in one line; `directory` is on the disk that is measured. */
export function machineLine(directory: string): string {
  const gib = Math.round(totalmem() / 1024 ** 3);
  const { p50, p99 } = quantiles(syncTimes(directory));
  const cpu = cpus()[0]?.model.trim() ?? "unknown processor";
  return [
    `${cpu}, ${availableParallelism()} cores, ${gib} GiB`,
    `${type()} ${release()}`,
    `Bun ${Bun.version}`,
    `fdatasync of 4 KiB p50 ${ms(p50)}, p99 ${ms(p99)}`,
    `load before ${loadAverage()}`,
  ].join(" · ");
}

function loadAverage(): string {
  return readFileSync("/proc/loadavg", "utf8").split(" ", 1)[0] ?? "unknown";
}

function syncTimes(directory: string): number[] {
  const file = openSync(join(directory, "sync"), "w");
  const times = Array.from({ length: SYNCS }, () => {
    const start = performance.now();
    writeSync(file, PAGE);
    fdatasyncSync(file);
    return performance.now() - start;
  });
  closeSync(file);
  return times;
}
