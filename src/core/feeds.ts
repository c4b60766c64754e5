import type { Cluster, Head } from "./cluster.ts";
import type { Publish } from "./append.ts";
import type { Clock, Logger } from "./ports.ts";
import type { SessionRef } from "./session.ts";
import type { Tail } from "./tail.ts";

/** Why a log cannot be followed from where its tail is: it is another one, its beginning is gone, or all of it is. */
export type Lost = "epoch" | "trimmed" | "deleted";

export interface FeedsOptions {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly log: Logger;
  /** Shows an event that another node wrote, after it was put in the tail. */
  readonly publish: Publish;
}

/** How long a tail may be behind where nobody tells that its log grew. */
const LOOK_EVERY_MS = 1_000;
/** Heads that are asked for at once. */
const HEADS_AT_ONCE = 1_000;

/** What whoever has the tail is told. */
export interface Followed {
  /** A page of the log is in the tail. */
  readonly grew: () => void;
  /** It cannot be followed any more from where it is. */
  readonly lost: (why: Lost) => void;
}

/** The log of one session that another node writes, on its way into a tail here. One page is read at a time. */
export class Feed {
  readonly session: SessionRef;
  readonly tail: Tail;
  readonly #options: FeedsOptions;
  readonly #stopped: () => void;
  /** Null: it is over. */
  #told: Followed | null;
  #reading: Promise<void> | null = null;
  #again = false;

  constructor(options: FeedsOptions, session: SessionRef, tail: Tail, told: Followed, stopped: () => void) {
    this.#options = options;
    this.session = session;
    this.tail = tail;
    this.#told = told;
    this.#stopped = stopped;
  }

  get isOver(): boolean {
    return this.#told === null;
  }

  /** There may be more: reads until there is none. Resolves then, or where it could not be read. */
  wake(): Promise<void> {
    this.#again = true;
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  /** Reads up to a head that is in the log for certain; false where that cannot be. */
  async upTo(head: number): Promise<boolean> {
    while (!this.isOver && this.tail.head < head) {
      const before = this.tail.head;
      await this.wake();
      if (this.tail.head === before) return false;
    }
    return !this.isOver;
  }

  /** Nothing more is put in the tail. Idempotent. */
  stop(): void {
    if (this.#told === null) return;
    this.#told = null;
    this.#stopped();
  }

  async #read(): Promise<void> {
    try {
      while (this.#again && !this.isOver) {
        this.#again = false;
        await this.#page();
      }
    } catch (error) {
      this.#options.log.warn(
        { session: this.session.id, err: error },
        "the log of another node's session could not be read: it is tried again",
      );
    }
  }

  async #page(): Promise<void> {
    const { cluster, publish } = this.#options;
    const { tail, session } = this;
    const page = await cluster.page(session.id, tail.head);
    if (this.isOver) return undefined;
    if (page === null) return this.#lose("deleted");
    if (page.epoch !== tail.epoch) return this.#lose("epoch");
    if (page.floor > tail.head) return this.#lose("trimmed");
    if (page.floor > tail.floor) tail.row.floor = page.floor;
    for (const event of page.events) {
      if (event.seq !== tail.head + 1) return this.#lose("trimmed");
      tail.push(event);
      publish(session, tail, event);
      // Nothing comes after it, and soon none of it is there.
      if (event.type === "session.closed") return this.#lose("deleted");
    }
    if (page.events.length > 0) this.#told?.grew();
    if (tail.head < page.head) this.#again = true;
    return undefined;
  }

  #lose(why: Lost): void {
    const told = this.#told;
    this.stop();
    told?.lost(why);
  }
}

/** Tails that somebody reads and that this node writes, as far as it knows: another one may have taken their sessions. */
export interface Written {
  /** Their sessions. */
  ids(): Iterable<string>;
  /** How far the log of one goes in the store. */
  found(head: Head): void;
}

/** The sessions of other nodes that this one follows. */
export class Feeds {
  readonly #options: FeedsOptions;
  readonly #feeds = new Map<string, Feed>();
  #unlisten: (() => void) | null = null;
  #unwatch: () => void = () => undefined;
  #written: Written | null = null;
  #isLooking = false;

  constructor(options: FeedsOptions) {
    this.#options = options;
  }

  /** Goes on from where a tail is. */
  follow(session: SessionRef, tail: Tail, told: Followed): Feed {
    this.#listen();
    const feed: Feed = new Feed(this.#options, session, tail, told, () => {
      if (this.#feeds.get(session.id) === feed) this.#feeds.delete(session.id);
    });
    this.#feeds.set(session.id, feed);
    // It may have grown since the tail was read.
    void feed.wake();
    return feed;
  }

  /** Looks every second whether what this node takes for its own is. */
  watch(written: Written): void {
    this.#written = written;
    this.#unwatch = this.#options.clock.every(LOOK_EVERY_MS, () => void this.#look());
  }

  close(): void {
    this.#unlisten?.();
    this.#unwatch();
    for (const feed of this.#feeds.values()) feed.stop();
  }

  #listen(): void {
    if (this.#unlisten !== null) return;
    this.#unlisten = this.#options.cluster.onGrown((ids) => {
      if (ids === null) void this.#look();
      else for (const id of ids) void this.#feeds.get(id)?.wake();
    });
  }

  /** Wakes those whose log is not what their tail has: one question for many. */
  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const { cluster, log } = this.#options;
    const ids = [...new Set([...this.#feeds.keys(), ...(this.#written?.ids() ?? [])])];
    try {
      for (let from = 0; from < ids.length; from += HEADS_AT_ONCE) {
        const some = ids.slice(from, from + HEADS_AT_ONCE);
        const heads = new Map((await cluster.heads(some)).map((each) => [each.id, each]));
        for (const id of some) {
          const feed = this.#feeds.get(id);
          const at = heads.get(id);
          if (feed === undefined) {
            if (at !== undefined) this.#written?.found(at);
            continue;
          }
          const { tail } = feed;
          const isSame = at?.epoch === tail.epoch && at.head <= tail.head && at.floor <= tail.floor;
          if (!isSame) void feed.wake();
        }
      }
    } catch (error) {
      log.debug({ err: error }, "the heads of other nodes' sessions could not be read");
    }
    this.#isLooking = false;
  }
}
