import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Limits } from "../../core/limits.ts";
import type { StorageRefusal } from "../../core/operation.ts";
import type { Durability } from "./group-writer.ts";
import type { PackedGroup } from "./packing.ts";

/** What the main thread asks of the writer. Answers come in the order of the requests. */
export type WriterRequest =
  | {
      readonly op: "open";
      readonly path: string;
      readonly limits: Limits;
      readonly durability: Durability;
      readonly max_bytes: number;
      readonly boot_id: string | null;
      readonly pid: number;
      readonly suspect: boolean;
    }
  | { readonly op: "commit"; readonly group: PackedGroup }
  | { readonly op: "expire"; readonly now: number; readonly max_rows: number }
  | { readonly op: "index"; readonly max_messages: number }
  | { readonly op: "scrub" }
  | { readonly op: "probe" }
  | { readonly op: "answer" }
  /** Other limits from here on. */
  | { readonly op: "limits"; readonly limits: Limits }
  | { readonly op: "close" };

/** What the main thread asks of the reader. */
export type ReaderRequest =
  | { readonly op: "open"; readonly path: string }
  /** Of a thread that does nothing else. */
  | { readonly op: "backup"; readonly data_dir: string; readonly file: string }
  | { readonly op: "read"; readonly method: string; readonly args: readonly unknown[] }
  | { readonly op: "close" };

/** A request that failed and left everything as it was. */
export interface Fault {
  /** For the log, or for a person to read where `details` is set: those of an UNAVAILABLE error. */
  readonly message: string;
  readonly details: Record<string, unknown> | null;
  /** Set where storage refused. */
  readonly refused: StorageRefusal | null;
}

export type Reply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly fault: Fault }
  /** What it does before it answers, and that may take long. */
  | { readonly doing: string }
  /** Nothing this thread did or does can be relied on any more. May come unasked. */
  | { readonly lost: string };

/** Where the workers lie beside the one place all modules have: in our executable, in the package, in an executable made with it. */
const PLACES = [
  "./store/sqlite/NAME.ts",
  "./store/sqlite/NAME.js",
  "./node_modules/agentbus/lib/store/sqlite/NAME.js",
];

/** Where a worker's code is. */
export function workerUrl(worker: "writer" | "reader"): URL {
  const here = import.meta.url;
  if (here.endsWith("/threads.ts")) return new URL(`./${worker}.ts`, here);
  const urls = PLACES.map((place) => new URL(place.replace("NAME", worker), here));
  const found = urls.find((url) => existsSync(fileURLToPath(url))) ?? urls[0];
  if (found === undefined) throw new Error(`there is no code for the ${worker}`);
  return found;
}
