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
  | { readonly op: "probe" }
  | { readonly op: "close" };

/** What the main thread asks of the reader. */
export type ReaderRequest =
  | { readonly op: "open"; readonly path: string }
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
  /** Nothing this thread did or does can be relied on any more. May come unasked. */
  | { readonly lost: string };

/**
 * Where a worker's code is. In an executable, and in a bundle, all modules have one place, and entry points lie beside it by
 * their path below `src/`: as they were written in an executable, as JavaScript in a bundle.
 */
export function workerUrl(worker: "writer" | "reader"): URL {
  const here = import.meta.url;
  if (here.endsWith("/threads.ts")) return new URL(`./${worker}.ts`, here);
  return new URL(`./store/sqlite/${worker}.${here.endsWith(".js") ? "js" : "ts"}`, here);
}
