import type { Limits } from "./limits.ts";
import type { ItemResult, RowChange } from "./operation.ts";
import { gatewayStops, servedElsewhere, storageRefuses } from "./outage.ts";
import type { SessionRef } from "./session.ts";
import type { Shared } from "./shared-tails.ts";
import { SharedTails } from "./shared-tails.ts";
import type { Slot, TailLog } from "./slot.ts";
import { isIdle, newSlot, NoSuchSession } from "./slot.ts";
import { Tail } from "./tail.ts";

/** Operations between two sweeps for idle tails. */
const SWEEP_EVERY = 256;

/** The tails in memory, least recently used first. One with readers or queued operations is never dropped. */
export class Tails {
  readonly #slots = new Map<string, Slot>();
  readonly #limits: Limits;
  readonly #log: TailLog;
  readonly #touched = new Set<Slot>();
  /** Null: no other node shares the store. */
  readonly #shared: SharedTails | null;
  #bytes = 0;
  #landed = 0;

  constructor(limits: Limits, log: TailLog, shared: Shared | null = null) {
    this.#limits = limits;
    this.#log = log;
    this.#shared =
      shared === null
        ? null
        : new SharedTails(shared, {
            all: () => this.#slots.values(),
            find: (id) => this.#slots.get(id),
            ...log,
            fill: (slot, tail) => this.#fill(slot, tail),
            grew: (slot) => this.#grew(slot),
            fail: (slot, error) => this.#fail(slot, error),
            dropForgotten: (slot) => this.#dropForgotten(slot),
          });
  }

  get size(): number {
    return this.#slots.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a tail is in memory, or will be: it is loaded, or its session is being made. */
  has(id: string): boolean {
    return this.#slots.has(id);
  }

  /** Whether something of a session is on its way into the log. */
  isBusy(id: string): boolean {
    return (this.#slots.get(id)?.queued ?? 0) > 0;
  }

  /** The tail if it is in memory. */
  peek(id: string): Tail | undefined {
    return this.#slots.get(id)?.tail ?? undefined;
  }

  /** Whether the log of a session is written by another node, as far as is known here. */
  isElsewhere(id: string): boolean {
    const slot = this.#slots.get(id);
    return slot !== undefined && (slot.feed !== null || slot.isFollowing);
  }

  /** Another node writes the logs of these from now on. */
  lose(ids: readonly string[]): void {
    for (const id of ids) {
      const slot = this.#slots.get(id);
      if (slot !== undefined && slot.tail !== null && slot.feed === null) this.#shared?.feed(slot, slot.tail);
    }
  }

  /** What another node wrote of a session comes into what is in memory of it, as far as it can be read. */
  async readOn(id: string): Promise<void> {
    if (!this.isBusy(id)) this.lose([id]);
    await this.#slots.get(id)?.feed?.wake();
  }

  /** As lose, of all that are in memory but those with something on its way into the log, and `but`. */
  loseAll(but: ReadonlySet<string>): void {
    const ids = [...this.#slots].flatMap(([id, { queued }]) => (queued > 0 || but.has(id) ? [] : [id]));
    this.lose(ids);
  }

  /**
   * As pin, for what only the node does that has the session: it is taken where no node that lives has it, and what was left
   * in it is ended first. @throws NoSuchSession, GatewayError UNAVAILABLE {kind:"elsewhere"}
   */
  async own(session: SessionRef): Promise<Tail> {
    const tail = await this.pin(session, "run");
    const slot = this.#slots.get(session.id);
    const isElse = slot !== undefined && slot.feed !== null;
    if (isElse && (await this.#shared?.take(slot)) !== true) {
      this.release(session.id);
      throw servedElsewhere();
    }
    await slot?.settling;
    return tail;
  }

  /** Pins the tail if it is in memory; release it once. */
  pinNow(id: string): Tail | undefined {
    const slot = this.#slots.get(id);
    if (slot?.tail === null || slot === undefined) return undefined;
    slot.pins++;
    return slot.tail;
  }

  /**
   * Loads the tail if need be and pins it; release it once. While storage refuses to load it, a reader is turned away
   * and a run waits. @throws NoSuchSession, GatewayError UNAVAILABLE
   */
  async pin(session: SessionRef, as: "reader" | "run" = "reader"): Promise<Tail> {
    const slot = this.#slot(session);
    if (slot.failed !== null) throw slot.failed;
    slot.pins++;
    if (slot.tail !== null) return slot.tail;
    try {
      if (slot.isRefused && as === "reader") throw storageRefuses();
      return await new Promise<Tail>((resolve, reject) => slot.waiting.push({ resolve, reject, as }));
    } catch (error) {
      slot.pins--;
      throw error;
    }
  }

  release(id: string): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    slot.pins--;
    this.#dropForgotten(slot);
  }

  /** An operation is about to be queued: its tail is loaded first, unless the operation makes the session. */
  expect(session: SessionRef, rows: readonly RowChange[]): void {
    if (this.#slots.has(session.id)) return;
    if (rows.some((row) => row.kind === "session.create")) this.#add(session);
    else this.#slot(session);
  }

  /** An operation is queued; call what is answered once, after it was settled. */
  enter(session: SessionRef): () => void {
    const slot = this.#slots.get(session.id);
    if (slot === undefined) return () => undefined;
    slot.queued++;
    return () => {
      slot.queued--;
      // What would have made the session failed, so that there is nothing to wait for.
      if (slot.queued <= 0 && slot.tail === null && !slot.isFollowing)
        this.#fail(slot, new NoSuchSession(session.id));
      this.#dropForgotten(slot);
    };
  }

  /** The tail that takes the events of an operation that succeeded. */
  landed(session: SessionRef, rows: readonly RowChange[], epoch: string): Tail {
    const slot = this.#slots.get(session.id) ?? this.#add(session);
    this.#slots.delete(session.id);
    this.#slots.set(session.id, slot);
    this.#touched.add(slot);
    if (slot.tail !== null) return slot.tail;
    const create = rows.find((row) => row.kind === "session.create");
    if (create === undefined) throw new Error(`no tail for ${session.id}`);
    const { owner, name, title, model, system_prompt, metadata, created_at } = create;
    const row = { id: session.id, owner, name, epoch, title, model, system_prompt, metadata, created_at };
    const state = {
      floor: 0,
      head: 0,
      updated_at: created_at,
      message_count: 0,
      archived: false,
      active_run_id: null,
    };
    this.#fill(slot, new Tail({ session: { ...row, ...state }, open: [], approvals: [] }));
    return slot.tail as unknown as Tail;
  }

  trimmed(id: string, floor: number): void {
    const tail = this.peek(id);
    if (tail !== undefined && floor > tail.floor) tail.row.floor = floor;
  }

  /** After a group: per-session bounds, then the bound in all, idle tails first. */
  shrink(): void {
    const { tail_events, tail_bytes, tails_bytes, tails_idle } = this.#limits;
    for (const slot of this.#touched) {
      slot.tail?.shrink(tail_events, tail_bytes);
      this.#bytes += (slot.tail?.bytes ?? 0) - slot.counted;
      slot.counted = slot.tail?.bytes ?? 0;
    }
    this.#landed += this.#touched.size;
    this.#touched.clear();
    if (this.#bytes <= tails_bytes && this.#slots.size <= tails_idle) return;
    // The sweep looks at every tail: with many of them in use it is worth its cost only now and then.
    if (this.#bytes <= tails_bytes && this.#landed < SWEEP_EVERY) return;
    this.#landed = 0;
    let bytes = 0;
    let idle = 0;
    for (const slot of this.#slots.values()) {
      bytes += slot.tail?.bytes ?? 0;
      if (isIdle(slot)) idle++;
    }
    for (const slot of this.#slots.values()) {
      if (bytes <= tails_bytes && idle <= tails_idle) break;
      if (!isIdle(slot)) continue;
      bytes -= slot.tail?.bytes ?? 0;
      idle--;
      this.#drop(slot);
    }
    for (const slot of this.#slots.values()) {
      if (bytes <= tails_bytes) break;
      bytes -= slot.tail?.bytes ?? 0;
      slot.tail?.shrink(0, 0);
      slot.counted = 0;
    }
    this.#bytes = bytes;
  }

  /** Forgets a session that was erased, once nobody uses its tail. Its readers were told before. */
  forget(id: string): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    slot.isForgotten = true;
    this.#dropForgotten(slot);
  }

  #slot(session: SessionRef): Slot {
    const known = this.#slots.get(session.id);
    if (known !== undefined) return known;
    const slot = this.#add(session);
    this.#log.load(session, {
      settle: (result) => {
        if (typeof result === "string") this.#fail(slot, gatewayStops());
        else if (result.ok && "tail" in result) {
          this.#fill(slot, new Tail(result.tail));
          this.#shared?.settle(slot, result.tail);
        } else if (!result.ok && result.reason === "elsewhere" && this.#shared !== null) {
          void this.#shared.follow(slot);
        } else this.#fail(slot, noTail(session, result));
      },
      refused: () => this.#refused(slot),
    });
    return slot;
  }

  #add(session: SessionRef): Slot {
    const slot = newSlot(session);
    this.#slots.set(session.id, slot);
    return slot;
  }

  #fill(slot: Slot, tail: Tail): void {
    slot.tail = tail;
    slot.isRefused = false;
    this.#touched.add(slot);
    for (const waiter of slot.waiting.splice(0)) waiter.resolve(tail);
  }

  #grew(slot: Slot): void {
    this.#touched.add(slot);
    this.shrink();
  }

  #refused(slot: Slot): void {
    slot.isRefused = true;
    const { waiting } = slot;
    slot.waiting = waiting.filter(({ as }) => as === "run");
    for (const waiter of waiting) if (waiter.as === "reader") waiter.reject(storageRefuses());
  }

  /** There will be no tail. The slot goes at once: who comes later must not wait for it. */
  #fail(slot: Slot, error: Error): void {
    slot.failed ??= error;
    this.#drop(slot);
    for (const waiter of slot.waiting.splice(0)) waiter.reject(error);
  }

  #dropForgotten(slot: Slot): void {
    if (slot.isForgotten && slot.queued <= 0 && slot.pins <= 0) this.#drop(slot);
  }

  #drop(slot: Slot): void {
    const { id } = slot.session;
    this.#touched.delete(slot);
    this.#bytes -= slot.counted;
    slot.counted = 0;
    if (this.#slots.get(id) === slot) this.#slots.delete(id);
    this.#shared?.dropped(slot, slot.queued <= 0 && !this.#slots.has(id));
  }
}

function noTail({ id }: SessionRef, result: ItemResult): Error {
  return !result.ok && result.reason === "elsewhere" ? servedElsewhere() : new NoSuchSession(id);
}
