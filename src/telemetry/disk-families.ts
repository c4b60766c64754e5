import { statfsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Family } from "./family.ts";
import { by, one } from "./family.ts";

export interface DiskParts {
  readonly data_dir: string;
  /** Files of the data directory, by what they are. */
  readonly files: Readonly<Record<string, string>>;
  /** storage.max_bytes; 0: no bound. */
  readonly max_bytes: number;
  /** How full a bounded store is; null: it has no bound. */
  readonly room: () => { readonly used_bytes: number } | null;
}

/** The room that what is kept takes, and has. */
export function diskFamilies({ data_dir, files, max_bytes, room }: DiskParts): Family[] {
  const sizes = Object.entries(files).map(([what, name]) => [what, sizeOf(join(data_dir, name))] as const);
  return [
    by("gauge", "agentbus_store_bytes", "What is kept, as files.", "file", sizes),
    one("gauge", "agentbus_store_max_bytes", "Largest database; 0: no bound.", max_bytes),
    one(
      "gauge",
      "agentbus_store_used_bytes",
      "What of agentbus_store_max_bytes is used, looked at every 30 s.",
      room()?.used_bytes ?? null,
    ),
    one("gauge", "agentbus_disk_free_bytes", "Free space where the data directory is.", freeIn(data_dir)),
  ];
}

/** Null: there is no such file, as with another kind of store. */
function sizeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.size ?? null;
}

function freeIn(directory: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}
