import type { Append, Published } from "./append.ts";
import { settleAppend } from "./append.ts";
import type { Queued } from "./journal-queue.ts";
import { isLoad, JournalQueue, weigh } from "./journal-queue.ts";
import type { Histogram } from "./histogram.ts";
import type { Limits } from "./limits.ts";
import type { AppendItem, GroupResult, ItemResult, StorageRefusal, StoreItem } from "./operation.ts";
import { gatewayStops, Outage } from "./outage.ts";
import type { Owed } from "./owed.ts";
import type { Clock, Logger } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import type { Store } from "./store.ts";
import type { Shared } from "./shared-tails.ts";
import type { Load } from "./slot.ts";
import { Tails } from "./tails.ts";

export interface JournalOptions extends Published {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** Storage began (a reason) or stopped (null) to refuse. */
  readonly onStorage: (reason: string | null) => void;
  /** Takes the seconds from an append to the moment its events were published, for each event. */
  readonly lag?: Histogram;
  /** Absent: no other node writes logs of the store. */
  readonly shared?: Shared | null;
  /** Whose rows say that webhooks are owed something of an operation. */
  readonly owed?: Pick<Owed, "mark">;
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
  readonly #queue: JournalQueue;
  /** Runs an operation of which failed: nothing more is taken of them but their end. */
  readonly #broken = new Set<string>();
  #flying = false;
  #scheduled = false;
  #outage: Outage | null = null;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#queue = new JournalQueue(options.limits);
    const elsewhere = (session: string): void => this.#elsewhere(session);
    const log = { load: (session: SessionRef, load: Load) => this.#load(session, load), elsewhere };
    this.tails = new Tails(options.limits, log, options.shared);
  }

  /** Why storage refuses now, and since when (monotonic ms); null when it does not. */
  get refused(): { readonly reason: string; readonly since: number } | null {
    return this.#outage;
  }
  get limits(): Limits {
    return this.#options.limits;
  }
  get queue_bytes(): number {
    return this.#queue.bytes;
  }
  get queue_length(): number {
    return this.#queue.loads + this.#queue.writes;
  }

  append(append: Append): void {
    const { session, run } = append;
    if (this.#stopped) return append.settle({ ok: false, reason: "stopped" });
    if (run === null && this.#outage !== null) return append.settle({ ok: false, reason: "storage" });
    if (run === null && this.#queue.bytes > this.#options.limits.journal_queue_bytes) {
      return append.settle({ ok: false, reason: "overloaded" });
    }
    if (run !== null && this.#broken.has(run)) {
      if (append.final !== true) return append.settle({ ok: false, reason: "skipped" });
      this.#broken.delete(run);
    }
    // Whatever is written by another node is not written here, and is known to be refused.
    if (session !== null && this.tails.isElsewhere(session.id))
      return append.settle({ ok: false, reason: "elsewhere" });
    if (session !== null) this.tails.expect(session, append.rows);
    const owed = this.#options.owed?.mark(session, append.events) ?? null;
    const began = this.#options.clock.monotonic();
    const item: AppendItem = {
      kind: "append",
      session: session?.id ?? null,
      run,
      ack: append.ack,
      events: append.events,
      rows: owed === null ? append.rows : [...append.rows, ...owed.rows],
    };
    this.#enqueue({
      item,
      run,
      bytes: weigh(item),
      keep: run !== null,
      settle: (result) => {
        settleAppend(append, result, this.tails, this.#options);
        owed?.settled(typeof result !== "string" && result.ok);
        const { lag, clock } = this.#options;
        if (append.events.length > 0 && typeof result !== "string" && result.ok)
          lag?.observe((clock.monotonic() - began) / 1_000, append.events.length);
      },
      leave: session === null ? () => undefined : this.tails.enter(session),
    });
    return undefined;
  }

  /** Any other item (trim, erase, copy), kept when storage refuses. Rejects only when the journal stops first. */
  run(item: Exclude<StoreItem, AppendItem>): Promise<ItemResult> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) return reject(gatewayStops());
      this.#enqueue({
        item,
        run: null,
        bytes: 128,
        keep: true,
        settle: (result) => {
          if (typeof result === "string") return reject(gatewayStops());
          if (item.kind === "trim" && result.ok && "floor" in result)
            this.tails.trimmed(item.session, result.floor);
          return resolve(result);
        },
        leave: () => undefined,
      });
      return undefined;
    });
  }

  /** Resolves when nothing is queued or in flight, or the journal is stopped. */
  drained(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Takes nothing more; what is queued fails "stopped". Call after drained(). */
  stop(): void {
    this.#stopped = true;
    this.#outage?.end();
    this.#settleAll(this.#queue.clear(), "stopped");
    this.#wakeIdle();
  }

  /** A run that ended needs no mark any more. */
  forget(run: string): void {
    this.#broken.delete(run);
  }

  #load(session: SessionRef, { settle, refused }: Load): void {
    if (this.#stopped) return settle("stopped");
    const item = { kind: "load" as const, session: session.id };
    const leave = this.tails.enter(session);
    this.#enqueue({ item, run: null, bytes: 64, keep: true, settle, refused, leave });
    if (this.#outage?.refusesLoads === true) refused();
    return undefined;
  }

  #enqueue(queued: Queued): void {
    this.#queue.push(queued);
    this.#schedule();
  }

  /** One turn of the microtask queue later, so that what the same tick appends shares the group. */
  #schedule(): void {
    if (this.#scheduled || this.#next() === null) return;
    this.#scheduled = true;
    void Promise.resolve().then(() => {
      this.#scheduled = false;
      return this.#fly();
    });
  }

  /** What may be written now. While storage refuses, tails are still loaded: that writes nothing, and proves nothing. */
  #next(): "all" | "loads" | "writes" | "trims" | "probe" | null {
    if (this.#flying || this.#stopped) return null;
    const { loads, writes } = this.#queue;
    if (this.#outage === null) return loads + writes > 0 ? "all" : null;
    if (this.#outage.isDue) return this.#queue.trims ? "trims" : writes > 0 ? "writes" : "probe";
    return loads > 0 && !this.#outage.refusesLoads ? "loads" : null;
  }

  async #fly(): Promise<void> {
    const what = this.#next();
    if (what === null) return;
    const group = what === "probe" ? [] : what === "trims" ? this.#queue.takeTrims() : this.#queue.take(what);
    this.#flying = true;
    try {
      const result = await (what === "probe" ? this.#probe() : this.#commit(group));
      this.#flying = false;
      if (!result.ok) this.#refuse(group, result.refused);
      else {
        if (what !== "loads") this.#recovered();
        this.#land(group, result.results);
      }
    } catch (error) {
      // Either the outcome of the group is unknown or a contiguous log is no longer certain: publish nothing more.
      this.#stopped = true;
      this.#options.fatal(error);
      return;
    }
    this.#schedule();
    if (this.#isIdle()) this.#wakeIdle();
  }

  #commit(group: readonly Queued[]): Promise<GroupResult> {
    return this.#options.store.commit(group.map((queued) => queued.item));
  }

  async #probe(): Promise<GroupResult> {
    try {
      await this.#options.store.probe();
      return { ok: true, results: [] };
    } catch {
      // Still refusing: the answer is another try later, which #refuse arranges.
      return { ok: false, refused: this.#outage?.reason ?? "full" };
    }
  }

  /** The synchronous block: no await, timer or microtask between an operation's answer and its events. */
  #land(group: readonly Queued[], results: readonly ItemResult[]): void {
    for (let i = 0; i < group.length; i++) {
      const queued = group[i];
      const result = results[i];
      if (queued === undefined || result === undefined)
        throw new Error("the store answered a group with a hole");
      this.#answer(queued, result);
    }
    this.tails.shrink();
  }

  #answer(queued: Queued, result: ItemResult): void {
    const { run } = queued;
    if (!result.ok && run !== null) this.#broken.add(run);
    queued.settle(result);
    queued.leave();
    if (!result.ok && run !== null) this.#skip(run);
  }

  /** By its turn what is queued could find the session free, and would be written without a tail that goes to its end. */
  #elsewhere(session: string): void {
    const queued = this.#queue.remove(({ item }) => item.kind === "append" && item.session === session);
    for (const each of queued) this.#answer(each, { ok: false, reason: "elsewhere" });
  }

  /** What is queued of a run whose operation failed fails with it, its end too: their offsets would not fit. */
  #skip(run: string): void {
    const rest = this.#queue.remove((queued) => queued.run === run);
    this.#settleAll(rest, "skipped");
  }

  /** Storage refused a group, or a probe: commands are told, the rest goes back to the front and is tried again. */
  #refuse(group: readonly Queued[], reason: StorageRefusal): void {
    if (this.#stopped) return this.#settleAll(group, "stopped");
    const { clock, limits, log, onStorage } = this.#options;
    const isNew = this.#outage === null;
    const outage = (this.#outage ??= new Outage(clock, limits, reason));
    outage.reason = reason;
    if (isNew) {
      log.error({ reason }, "storage refuses writes: new messages are turned away, running answers are held");
      onStorage(reason);
    }
    const onlyLoads = group.length > 0 && group.every(isLoad);
    if (isNew || !onlyLoads) outage.wait(() => this.#schedule());
    this.#queue.putBack(group);
    const commands = this.#queue.remove((queued) => !queued.keep);
    this.#settleAll(commands, "storage");
    if (!onlyLoads) return undefined;
    outage.refusesLoads = true;
    for (const queued of group) queued.refused?.();
    return undefined;
  }

  #recovered(): void {
    if (this.#outage === null) return;
    this.#outage.end();
    this.#outage = null;
    this.#options.onStorage(null);
  }

  #settleAll(all: readonly Queued[], how: "storage" | "skipped" | "stopped"): void {
    for (const queued of all) {
      queued.settle(how);
      queued.leave();
    }
  }

  #isIdle(): boolean {
    return !this.#flying && this.queue_length === 0;
  }

  #wakeIdle(): void {
    for (const wake of this.#idle.splice(0)) wake();
  }
}
