import { statfsSync } from "node:fs";
import type { Config } from "./config.ts";
import type { Clock } from "./core/ports.ts";

/** How long an answer of the file system is believed. */
const TTL_MS = 5_000;
const MIB = 1024 * 1024;

/** Why there is too little room on the disk of the data directory; null: there is enough. `config` is read each time. */
export function lowDisk(config: Config, clock: Clock): () => string | null {
  const freeOf = createFree(config.server.data_dir, clock);
  return () => {
    const free = freeOf();
    const least = config.storage.min_free_bytes;
    if (typeof free === "string") return `server.data_dir cannot be looked at (${free})`;
    if (free >= least) return null;
    const wanted = `storage.min_free_bytes is ${Math.ceil(least / MIB)} MiB`;
    return `${Math.floor(free / MIB)} MiB free in server.data_dir, ${wanted}`;
  };
}

/** Bytes that are free where a directory is, as of a moment ago; text: why nobody knows. */
function createFree(directory: string, clock: Clock): () => number | string {
  let last: { readonly at: number; readonly free: number | string } | null = null;
  const look = (): number | string => {
    try {
      const { bavail, bsize } = statfsSync(directory);
      return bavail * bsize;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    }
  };
  return () => {
    const now = clock.monotonic();
    if (last === null || now - last.at > TTL_MS) last = { at: now, free: look() };
    return last.free;
  };
}
