import type { Limits } from "./limits.ts";
import type { ItemResult, RowChange } from "./operation.ts";
import type { SessionRef } from "./session.ts";
import { Tail } from "./tail.ts";

interface Slot {
  readonly session: SessionRef;
  tail: Tail | null;
  /** Readers attached. */
  pins: number;
  /** Operations queued or in flight. */
  queued: number;
  /** Bytes of the tail as they were last added to the sum. */
  counted: number;
  waiting: { resolve: (tail: Tail) => void; reject: (error: Error) => void }[];
}

/** Operations between two sweeps for idle tails. */
const SWEEP_EVERY = 256;

/** The session of a tail that was asked for does not exist (any more). */
export class NoSuchSession extends Error {}

type Load = (
  session: SessionRef,
  settle: (result: ItemResult | "storage" | "skipped" | "stopped") => void,
) => void;

/** The tails in memory, least recently used first. One with readers or queued operations is never dropped. */
export class Tails {
  readonly #slots = new Map<string, Slot>();
  readonly #limits: Limits;
  readonly #load: Load;
  readonly #touched = new Set<Slot>();
  #bytes = 0;
  #landed = 0;

  constructor(limits: Limits, load: Load) {
    this.#limits = limits;
    this.#load = load;
  }

  get size(): number {
    return this.#slots.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** The tail if it is in memory. */
  peek(id: string): Tail | undefined {
    return this.#slots.get(id)?.tail ?? undefined;
  }

  /** Pins the tail if it is in memory; release it once. */
  pinNow(id: string): Tail | undefined {
    const slot = this.#slots.get(id);
    if (slot?.tail === null || slot === undefined) return undefined;
    slot.pins++;
    return slot.tail;
  }

  /** Loads the tail if need be and pins it; release it once. @throws NoSuchSession */
  async pin(session: SessionRef): Promise<Tail> {
    const slot = this.#slot(session);
    slot.pins++;
    if (slot.tail !== null) return slot.tail;
    try {
      return await new Promise<Tail>((resolve, reject) => slot.waiting.push({ resolve, reject }));
    } catch (error) {
      slot.pins--;
      this.#dropIfUnused(slot);
      throw error;
    }
  }

  release(id: string): void {
    const slot = this.#slots.get(id);
    if (slot !== undefined) slot.pins--;
  }

  /** An operation is about to be queued: its tail is loaded first, unless the operation makes the session. */
  expect(session: SessionRef, rows: readonly RowChange[]): void {
    if (this.#slots.has(session.id)) return;
    if (rows.some((row) => row.kind === "session.create")) this.#add(session);
    else this.#slot(session);
  }

  queued(session: SessionRef, by: 1 | -1): void {
    const slot = this.#slots.get(session.id);
    if (slot === undefined) return;
    slot.queued += by;
    if (by === 1 || slot.queued > 0 || slot.tail !== null) return;
    // What would have made the session failed, so nobody can wait for its tail any more.
    this.#reject(slot, session.id);
    this.#dropIfUnused(slot);
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
    this.#fill(slot, new Tail({ session: { ...row, ...state }, open: [] }));
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
      this.#slots.delete(slot.session.id);
    }
    for (const slot of this.#slots.values()) {
      if (bytes <= tails_bytes) break;
      bytes -= slot.tail?.bytes ?? 0;
      slot.tail?.shrink(0, 0);
      slot.counted = 0;
    }
    this.#bytes = bytes;
  }

  /** Forgets a session that was erased. Its readers were told before. */
  forget(id: string): void {
    const slot = this.#slots.get(id);
    if (slot !== undefined && slot.queued === 0 && slot.pins <= 0) this.#slots.delete(id);
  }

  #slot(session: SessionRef): Slot {
    const known = this.#slots.get(session.id);
    if (known !== undefined) return known;
    const slot = this.#add(session);
    this.#load(session, (result) => {
      if (typeof result !== "string" && result.ok && "tail" in result)
        return this.#fill(slot, new Tail(result.tail));
      return this.#reject(slot, typeof result === "string" ? "the gateway is stopping" : session.id);
    });
    return slot;
  }

  #add(session: SessionRef): Slot {
    const slot: Slot = { session, tail: null, pins: 0, queued: 0, counted: 0, waiting: [] };
    this.#slots.set(session.id, slot);
    return slot;
  }

  #fill(slot: Slot, tail: Tail): void {
    slot.tail = tail;
    this.#touched.add(slot);
    for (const waiter of slot.waiting.splice(0)) waiter.resolve(tail);
  }

  #reject(slot: Slot, message: string): void {
    for (const waiter of slot.waiting.splice(0)) waiter.reject(new NoSuchSession(message));
  }

  #dropIfUnused(slot: Slot): void {
    if (
      slot.tail === null &&
      slot.queued === 0 &&
      slot.pins === 0 &&
      this.#slots.get(slot.session.id) === slot
    ) {
      this.#slots.delete(slot.session.id);
    }
  }
}

function isIdle(slot: Slot): boolean {
  return slot.pins <= 0 && slot.queued <= 0 && slot.tail !== null && slot.tail.open.size === 0;
}
