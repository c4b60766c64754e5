import type { Head } from "./cluster.ts";
import type { Feeds, Lost } from "./feeds.ts";
import type { LoadedTail, RunRow } from "./operation.ts";
import { storageRefuses } from "./outage.ts";
import type { SessionRef } from "./session.ts";
import type { Slot, TailLog } from "./slot.ts";
import { isWritten, NoSuchSession } from "./slot.ts";
import { Tail } from "./tail.ts";

/** What follows from having a store that other nodes share. */
export interface Shared {
  readonly feeds: Feeds;
  /** What a tail starts from, without taking the session. */
  readonly read: (session: string) => Promise<LoadedTail | null>;
  /** Ends the runs that the node before left in a session; those of this node are not meant. */
  readonly left: (session: SessionRef, runs: readonly RunRow[]) => Promise<void>;
  /** Nothing of a session is in memory any more, nor on its way into the log; `wasWritten`: this node wrote it. */
  readonly dropped: (session: string, wasWritten: boolean) => void;
  /** Whoever follows it has to begin anew. */
  readonly lost: (session: SessionRef, why: Lost) => void;
}

/** What the tails do with a slot. */
interface Slots extends TailLog {
  readonly all: () => Iterable<Slot>;
  readonly find: (session: string) => Slot | undefined;
  readonly fill: (slot: Slot, tail: Tail) => void;
  /** Its tail has more in it, which counts as what is written here does. */
  readonly grew: (slot: Slot) => void;
  /** There will be no tail. */
  readonly fail: (slot: Slot, error: Error) => void;
  /** It goes, once nobody uses it. */
  readonly dropForgotten: (slot: Slot) => void;
}

/** Tails of sessions that are written by other nodes, and how they become this node's. */
export class SharedTails {
  readonly #shared: Shared;
  readonly #slots: Slots;

  constructor(shared: Shared, slots: Slots) {
    this.#shared = shared;
    this.#slots = slots;
    shared.feeds.watch({
      ids: () =>
        [...slots.all()].flatMap((slot) => (isWritten(slot) && slot.pins > 0 ? slot.session.id : [])),
      found: (head) => this.#found(head),
    });
  }

  /** Another node has it. */
  async follow(slot: Slot): Promise<void> {
    slot.isFollowing = true;
    this.#slots.elsewhere(slot.session.id);
    try {
      const loaded = await this.#shared.read(slot.session.id);
      if (loaded === null) return this.#slots.fail(slot, new NoSuchSession(slot.session.id));
      const tail = new Tail(loaded);
      this.feed(slot, tail);
      this.#slots.fill(slot, tail);
    } catch {
      this.#slots.fail(slot, storageRefuses());
    } finally {
      slot.isFollowing = false;
    }
    return undefined;
  }

  /** It goes from memory; `isLast`: and with it everything of its session. */
  dropped({ session, feed, tail }: Slot, isLast: boolean): void {
    feed?.stop();
    if (isLast) this.#shared.dropped(session.id, feed === null && tail !== null);
  }

  /** The tail goes on with what another node writes. */
  feed(slot: Slot, tail: Tail): void {
    const { session } = slot;
    slot.feed = this.#shared.feeds.follow(session, tail, {
      grew: () => this.#slots.grew(slot),
      lost: (why) => {
        slot.failed = why === "deleted" ? new NoSuchSession(session.id) : storageRefuses();
        slot.isForgotten = true;
        this.#shared.lost(session, why);
        this.#slots.dropForgotten(slot);
      },
    });
    this.#slots.elsewhere(session.id);
  }

  /** More than is written here is in the log of a session: another node has taken it, and nobody told. */
  #found({ id, epoch, floor, head }: Head): void {
    const slot = this.#slots.find(id);
    if (slot?.tail === null || slot === undefined || !isWritten(slot)) return;
    // Any node trims what is nobody's, or that of a node that is taken for gone, as this one may have been.
    if (epoch === slot.tail.epoch && floor > slot.tail.floor) slot.tail.row.floor = floor;
    if (epoch !== slot.tail.epoch || head > slot.tail.head) this.feed(slot, slot.tail);
  }

  /** Takes a session that is followed, once no node has it; false: one has. */
  take(slot: Slot): Promise<boolean> {
    slot.taking ??= new Promise<boolean>((resolve) => {
      this.#slots.load(slot.session, {
        settle: (result) => {
          const taken = typeof result !== "string" && result.ok && "tail" in result ? result.tail : null;
          resolve(taken === null ? false : this.#taken(slot, taken));
        },
        refused: () => resolve(false),
      });
    }).finally(() => (slot.taking = null));
    return slot.taking;
  }

  /** It is this node's: nobody else writes, and the tail gets what it lacks of the log before anything is appended. */
  async #taken(slot: Slot, loaded: LoadedTail): Promise<boolean> {
    const { feed } = slot;
    if (feed === null) return true;
    const isThere = loaded.session.epoch === feed.tail.epoch && (await feed.upTo(loaded.session.head));
    if (!isThere) return false;
    feed.stop();
    slot.feed = null;
    this.settle(slot, loaded);
    return true;
  }

  /** It was loaded as this node's: what the node before left in it is ended. */
  settle(slot: Slot, { session, unended = [] }: LoadedTail): void {
    if (unended.length === 0) return;
    const settling = this.#shared
      .left({ id: session.id, owner: session.owner, name: session.name }, unended)
      .finally(() => {
        if (slot.settling === settling) slot.settling = null;
      });
    slot.settling = settling;
  }
}
