import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A plug-in that let nothing else happen in its gateway. */
export interface Blocked {
  /** Where it comes from, as the gateway calls it. */
  readonly source: string;
  readonly name: string;
  /** Of its files, as they were. */
  readonly digest: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly blocked_ms: number;
  /** The process was ended for it. */
  readonly ended: boolean;
  /** It was seen on the stack all the time; otherwise it was only at work then. */
  readonly seen: boolean;
}

function fileOf(data_dir: string): string {
  return join(data_dir, "plugins-blocked.json");
}

/** Those that are written down, by source. A file that cannot be read has none. */
export function readBlocked(data_dir: string): Map<string, Blocked> {
  try {
    const list = JSON.parse(readFileSync(fileOf(data_dir), "utf8")) as readonly Blocked[];
    return new Map(list.map((each) => [each.source, each]));
  } catch {
    return new Map();
  }
}

/** Renamed into place: the process may be ended at any moment. */
export function writeBlocked(data_dir: string, blocked: ReadonlyMap<string, Blocked>): void {
  const path = fileOf(data_dir);
  if (blocked.size === 0) return rmSync(path, { force: true });
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify([...blocked.values()], null, 2)}\n`, { mode: 0o600 });
  return renameSync(draft, path);
}

/** What people are told of it. */
export function blockedText({ blocked_ms, ended, seen }: Blocked): string {
  const what = seen ? "let nothing else happen" : "was at work while nothing else happened";
  const then = ended ? ", and the gateway had to be ended" : "";
  return `it ${what} for ${(blocked_ms / 1_000).toFixed(1)} s${then}`;
}
