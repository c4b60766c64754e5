import { closeSync, existsSync, fsyncSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "./doctor.ts";

const WRITES = 20;
const BYTES = 4_096;
/** Everybody who waits for an acknowledgement waits for this. */
const SLOW_MS = 50;

/** How long the disk takes to keep something for good, by a file that is gone afterwards; nothing where none can be written. */
export function checkDiskSpeed(data_dir: string): Finding[] {
  const check = "disk speed";
  if (!existsSync(data_dir) || !statSync(data_dir).isDirectory()) return [];
  try {
    const took = measure(join(data_dir, `.doctor-${process.pid}`)).toSorted((a, b) => a - b);
    const [half, most] = [took[WRITES / 2] ?? 0, took.at(-1) ?? 0];
    const finding = `${half.toFixed(1)} ms to keep a page for good, ${most.toFixed(1)} ms at the most, of ${WRITES}`;
    if (half <= SLOW_MS) return [{ check, state: "ok", finding }];
    const advice =
      'every acknowledged message waits for that: move server.data_dir to a faster disk, or set storage.durability to "normal"';
    return [{ check, state: "warning", finding, advice }];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice = code === "ENOSPC" ? "make room on the disk of server.data_dir" : "see the data directory";
    return [{ check, state: "failed", finding: `nothing can be written in ${data_dir} (${code})`, advice }];
  }
}

function measure(path: string): number[] {
  const file = openSync(path, "wx", 0o600);
  try {
    const page = Buffer.alloc(BYTES, 1);
    return Array.from({ length: WRITES }, () => {
      const began = performance.now();
      writeSync(file, page);
      fsyncSync(file);
      return performance.now() - began;
    });
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}
