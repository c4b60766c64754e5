import { GatewayError } from "../protocol/errors.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { Limits } from "./limits.ts";
import type {
  AppendItem,
  GroupResult,
  IdempotencyRow,
  ItemResult,
  NewEvent,
  Refusal,
  RowChange,
  StoreItem,
} from "./operation.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Store } from "./store.ts";
import type { SessionRef } from "./session.ts";
import type { Tail } from "./tail.ts";
import { Tails } from "./tails.ts";

/** What an append came to, told inside the block that publishes its events, before them. */
export type Appended =
  | { readonly ok: true; readonly first_seq: number; readonly epoch: string; readonly tail: Tail | null }
  | {
      readonly ok: false;
      readonly reason: Refusal | "storage" | "overloaded" | "stopped";
      readonly what?: string;
      readonly prior?: IdempotencyRow;
    };

export interface Append {
  readonly session: SessionRef | null;
  /** The run it belongs to; null for a command. Commands fail when storage refuses, operations of a run are kept. */
  readonly run: string | null;
  readonly ack: boolean;
  readonly events: readonly NewEvent[];
  readonly rows: readonly RowChange[];
  /** The end a run is owed: taken although an earlier operation of the run failed. */
  readonly final?: boolean;
  /** Called exactly once, synchronously with the publication; must not throw. */
  readonly settle: (outcome: Appended) => void;
}

interface Queued {
  readonly item: StoreItem;
  readonly session: SessionRef | null;
  readonly run: string | null;
  readonly bytes: number;
  /** Kept and tried again when storage refuses: everything but commands. */
  readonly keep: boolean;
  readonly settle: (result: ItemResult | "storage" | "skipped" | "stopped") => void;
}

export interface JournalOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** Every event, in the block that publishes it, after it was put in the tail. Must not throw. */
  readonly publish: (session: SessionRef, tail: Tail, event: StoredEvent) => void;
  /** Storage began (a reason) or stopped (null) to refuse. */
  readonly onStorage: (reason: string | null) => void;
  /** The outcome of a group is unknown, or an invariant broke: nothing may be published any more. */
  readonly fatal: (error: unknown) => void;
}

/**
 * The only writer. Operations queue; one group is in flight; its answer is worked off in one synchronous block:
 * per operation the caller is told, the tail takes the events, they are published.
 */
export class Journal {
  readonly tails: Tails;
  readonly #options: JournalOptions;
  readonly #broken = new Set<string>();
  #queue: Queued[] = [];
  #queueBytes = 0;
  #flying = false;
  #scheduled = false;
  #refused: { reason: string; since: number; delay: number } | null = null;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: JournalOptions) {
    this.#options = options;
    this.tails = new Tails(options.limits, (session, settle) => {
      this.#enqueue({
        item: { kind: "load", session: session.id },
        session,
        run: null,
        bytes: 64,
        keep: true,
        settle,
      });
    });
  }

  /** Why storage refuses now, and since when (monotonic ms); null when it does not. */
  get refused(): { readonly reason: string; readonly since: number } | null {
    return this.#refused;
  }
  get queue_bytes(): number {
    return this.#queueBytes;
  }
  get queue_length(): number {
    return this.#queue.length;
  }

  append(append: Append): void {
    const { session, run } = append;
    if (this.#stopped) return append.settle({ ok: false, reason: "stopped" });
    if (run === null && this.#refused !== null) return append.settle({ ok: false, reason: "storage" });
    if (run === null && this.#queueBytes > this.#options.limits.journal_queue_bytes) {
      return append.settle({ ok: false, reason: "overloaded" });
    }
    if (run !== null && this.#broken.has(run)) {
      if (append.final !== true) return append.settle({ ok: false, reason: "skipped" });
      this.#broken.delete(run);
    }
    if (session !== null) this.tails.expect(session, append.rows);
    const item: AppendItem = {
      kind: "append",
      session: session?.id ?? null,
      run,
      ack: append.ack,
      events: append.events,
      rows: append.rows,
    };
    const settle = (result: ItemResult | "storage" | "skipped" | "stopped"): void =>
      this.#settleAppend(append, result);
    this.#enqueue({ item, session, run, bytes: weigh(item), keep: run !== null, settle });
    return undefined;
  }

  /** Any other item (trim, erase, copy), kept when storage refuses. Rejects only when the journal stops first. */
  run(item: Exclude<StoreItem, AppendItem>): Promise<ItemResult> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) return reject(new GatewayError("UNAVAILABLE", "the gateway is stopping"));
      this.#enqueue({
        item,
        session: null,
        run: null,
        bytes: 128,
        keep: true,
        settle: (result) => {
          if (typeof result === "string")
            return reject(new GatewayError("UNAVAILABLE", "the gateway is stopping"));
          if (item.kind === "trim" && result.ok && "floor" in result)
            this.tails.trimmed(item.session, result.floor);
          return resolve(result);
        },
      });
      return undefined;
    });
  }

  /** Resolves when nothing is queued or in flight. */
  drained(): Promise<void> {
    if (!this.#flying && this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Takes nothing more; what is queued fails "stopped". Call after drained(). */
  stop(): void {
    this.#stopped = true;
    for (const queued of this.#take(this.#queue.length)) queued.settle("stopped");
  }

  #enqueue(queued: Queued): void {
    this.#queue.push(queued);
    this.#queueBytes += queued.bytes;
    if (queued.session !== null) this.tails.queued(queued.session, 1);
    this.#schedule();
  }

  /** One turn of the microtask queue later, so that what the same tick appends shares the group. */
  #schedule(): void {
    if (this.#flying || this.#scheduled || this.#refused !== null || this.#queue.length === 0) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => {
      this.#scheduled = false;
      return this.#fly();
    });
  }

  async #fly(): Promise<void> {
    if (this.#flying || this.#stopped || this.#queue.length === 0) return;
    const group = this.#take(this.#groupSize());
    this.#flying = true;
    let result: GroupResult;
    try {
      result = await this.#options.store.commit(group.map((queued) => queued.item));
      this.#flying = false;
      if (result.ok) this.#land(group, result.results);
      else this.#refuse(group, result.refused);
    } catch (error) {
      // Either the outcome of the group is unknown or a contiguous log is no longer certain: publish nothing more.
      this.#stopped = true;
      this.#options.fatal(error);
      return;
    }
    this.#schedule();
    if (!this.#flying && this.#queue.length === 0) {
      for (const wake of this.#idle.splice(0)) wake();
    }
  }

  #groupSize(): number {
    const { group_operations, group_bytes } = this.#options.limits;
    let count = 0;
    let bytes = 0;
    for (const queued of this.#queue) {
      bytes += queued.bytes;
      if (count > 0 && (bytes > group_bytes || count >= group_operations)) break;
      count++;
    }
    return count;
  }

  #take(count: number): Queued[] {
    const taken = this.#queue.splice(0, count);
    for (const queued of taken) this.#queueBytes -= queued.bytes;
    return taken;
  }

  /** The synchronous block: no await, timer or microtask between an operation's answer and its events. */
  #land(group: readonly Queued[], results: readonly ItemResult[]): void {
    if (this.#refused !== null) {
      this.#refused = null;
      this.#options.onStorage(null);
    }
    for (let i = 0; i < group.length; i++) {
      const queued = group[i];
      const result = results[i];
      if (queued === undefined || result === undefined)
        throw new Error("the store answered a group with a hole");
      if (!result.ok && queued.run !== null) this.#break(queued.run);
      queued.settle(result);
      if (queued.session !== null) this.tails.queued(queued.session, -1);
    }
    this.tails.shrink();
  }

  #settleAppend(append: Append, result: ItemResult | "storage" | "skipped" | "stopped"): void {
    if (typeof result === "string") return append.settle({ ok: false, reason: result });
    if (!result.ok) return append.settle(result);
    if (!("first_seq" in result)) throw new Error("the store answered an append with another result");
    const { session, events } = append;
    const { first_seq, epoch } = result;
    if (session === null) return append.settle({ ok: true, first_seq, epoch, tail: null });
    const tail = this.tails.landed(session, append.rows, epoch);
    append.settle({ ok: true, first_seq, epoch, tail });
    for (let i = 0; i < events.length; i++) {
      const event = events[i];
      if (event === undefined) continue;
      const stored: StoredEvent = { ...event, seq: first_seq + i };
      tail.push(stored);
      this.#options.publish(session, tail, stored);
    }
    return undefined;
  }

  /** Later operations of a run whose operation failed fail with it: their offsets would not fit. */
  #break(run: string): void {
    this.#broken.add(run);
    const kept: Queued[] = [];
    const failed: Queued[] = [];
    for (const queued of this.#queue) (queued.run === run ? failed : kept).push(queued);
    if (failed.length === 0) return;
    this.#queue = kept;
    for (const queued of failed) {
      this.#queueBytes -= queued.bytes;
      queued.settle("skipped");
      if (queued.session !== null) this.tails.queued(queued.session, -1);
    }
  }

  /** A run that ended needs no mark any more. */
  forget(run: string): void {
    this.#broken.delete(run);
  }

  /** Storage refused the group: commands are told, the rest goes back to the front and is tried again. */
  #refuse(group: readonly Queued[], reason: string): void {
    const { clock, limits, log, onStorage } = this.#options;
    const before = this.#refused;
    const delay = Math.min(
      before === null ? limits.storage_retry_min_ms : before.delay * 2,
      limits.storage_retry_max_ms,
    );
    this.#refused = { reason, since: before?.since ?? clock.monotonic(), delay };
    if (before === null) {
      log.error({ reason }, "storage refuses writes: new messages are turned away, running answers are held");
      onStorage(reason);
    }
    const all = [...group, ...this.#queue];
    this.#queue = all.filter((queued) => queued.keep);
    this.#queueBytes = this.#queue.reduce((sum, queued) => sum + queued.bytes, 0);
    for (const queued of all) {
      if (queued.keep) continue;
      queued.settle("storage");
      if (queued.session !== null) this.tails.queued(queued.session, -1);
    }
    clock.after(delay, () => void this.#retry());
  }

  async #retry(): Promise<void> {
    if (this.#stopped || this.#flying) return;
    if (this.#queue.length > 0) return this.#fly();
    this.#flying = true;
    let works = true;
    try {
      await this.#options.store.probe();
    } catch {
      // Still refusing: the answer is another try later, which #refuse arranges.
      works = false;
    }
    this.#flying = false;
    if (works) this.#land([], []);
    else this.#refuse([], this.#refused?.reason ?? "full");
    this.#schedule();
  }
}

function weigh(item: AppendItem): number {
  let bytes = 128;
  for (const event of item.events) bytes += event.payload.length + 64;
  for (const row of item.rows) bytes += "data" in row ? row.data.length + 64 : 256;
  return bytes;
}
