import type { Limits } from "./limits.ts";
import type { AppendItem, ItemResult, StoreItem } from "./operation.ts";

/** What an operation came to. */
export type Settled = ItemResult | "storage" | "skipped" | "stopped";

export interface Queued {
  readonly item: StoreItem;
  readonly run: string | null;
  readonly bytes: number;
  /** Kept and tried again when storage refuses: everything but commands. */
  readonly keep: boolean;
  readonly settle: (result: Settled) => void;
  /** A load that storage refused: it is tried again later. */
  readonly refused?: () => void;
  /** Called once, after `settle`: its session's tail waits for one operation less. */
  readonly leave: () => void;
}

/**
 * What waits to be written, in order. Loads stand apart and go first: a tail is loaded before anything of its session
 * is queued, so no load can be before an append that it follows.
 */
export class JournalQueue {
  readonly #limits: Limits;
  #loads: Queued[] = [];
  #writes: Queued[] = [];
  #bytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }
  get loads(): number {
    return this.#loads.length;
  }
  get writes(): number {
    return this.#writes.length;
  }

  push(queued: Queued): void {
    (isLoad(queued) ? this.#loads : this.#writes).push(queued);
    this.#bytes += queued.bytes;
  }

  /** The next group: as many from the front as the bounds allow, the first whatever its size. */
  take(what: "all" | "loads" | "writes"): Queued[] {
    const { group_operations, group_bytes } = this.#limits;
    const bounds = { count: group_operations, bytes: group_bytes };
    const group = what === "writes" ? [] : takeFront(this.#loads, bounds);
    if (what !== "loads" && this.#loads.length === 0) {
      const bytes = group_bytes - bytesOf(group);
      group.push(...takeFront(this.#writes, { count: group_operations - group.length, bytes }, group.length));
    }
    this.#bytes -= bytesOf(group);
    return group;
  }

  /** Whether there is something that makes room. */
  get trims(): boolean {
    return this.#writes.some(isTrim);
  }

  /** What makes room, before everything that needs some: it takes events away that nothing in the queue depends on. */
  takeTrims(): Queued[] {
    return this.remove(isTrim);
  }

  /** A group that changed nothing, to the front again. */
  putBack(group: readonly Queued[]): void {
    this.#loads.unshift(...group.filter(isLoad));
    this.#writes.unshift(...group.filter((queued) => !isLoad(queued)));
    this.#bytes += bytesOf(group);
  }

  /** Takes out the writes that match, in order. */
  remove(matches: (queued: Queued) => boolean): Queued[] {
    const removed = this.#writes.filter(matches);
    if (removed.length === 0) return removed;
    this.#writes = this.#writes.filter((queued) => !matches(queued));
    this.#bytes -= bytesOf(removed);
    return removed;
  }

  /** Takes out everything. */
  clear(): Queued[] {
    const all = [...this.#loads, ...this.#writes];
    this.#loads = [];
    this.#writes = [];
    this.#bytes = 0;
    return all;
  }
}

export function isLoad({ item }: Queued): boolean {
  return item.kind === "load";
}

function isTrim({ item }: Queued): boolean {
  return item.kind === "trim";
}

/** Bytes an append counts for, roughly. */
export function weigh(item: AppendItem): number {
  let bytes = 128;
  for (const event of item.events) bytes += event.payload.length + 64;
  for (const row of item.rows) bytes += "data" in row ? row.data.length + 64 : 256;
  return bytes;
}

function takeFront(queue: Queued[], bounds: { count: number; bytes: number }, before = 0): Queued[] {
  let count = 0;
  let bytes = 0;
  for (const queued of queue) {
    bytes += queued.bytes;
    const isFirst = before + count === 0;
    if (!isFirst && (bytes > bounds.bytes || count >= bounds.count)) break;
    count++;
  }
  return queue.splice(0, count);
}

function bytesOf(group: readonly Queued[]): number {
  return group.reduce((sum, { bytes }) => sum + bytes, 0);
}
