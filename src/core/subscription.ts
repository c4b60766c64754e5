import { encodeEvent, encodeSignal } from "../protocol/frames.ts";
import type { StoredEvent } from "../protocol/frames.ts";
import type { Naming } from "../protocol/events.ts";
import type { Frame, Hub } from "./hub.ts";
import type { Limits } from "./limits.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Page, Store } from "./store.ts";
import type { SessionRef } from "./session.ts";
import { nameOf, topicOf } from "./session.ts";
import type { Slots } from "./slots.ts";
import type { Tail } from "./tail.ts";

/** Where a subscription writes: one socket or one event stream. */
export interface Reader {
  /** Hands over one frame, in order; a reader that is closed ignores it. */
  send(frame: Frame): void;
  /** Bytes handed over and not yet taken by the peer. */
  buffered(): number;
  /** Resolves when fewer than `below` bytes are buffered, or the reader is closed. */
  drained(below: number): Promise<void>;
  /** From now on the reader gets what is published on the topic. */
  follow(topic: string): void;
  unfollow(topic: string): void;
  readonly closed: boolean;
}

/** Why a subscription ended by the gateway's doing: the reason of session.unsubscribed. */
export type EndReason = "trimmed" | "far" | "epoch" | "limit" | "revoked" | "deleted";

export interface SubscriptionDeps {
  readonly store: Store;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Logger;
  /** Store reads for readers, bounded. */
  readonly reads: Slots;
  /** Called once when it is over, whatever ended it: the tail is released there. */
  readonly ended: (subscription: Subscription) => void;
}

export interface SubscriptionOptions {
  readonly session: SessionRef;
  readonly naming: Naming;
  readonly reader: Reader;
  /** Pinned; released in `ended`. */
  readonly tail: Tail;
  /** Events after this one are sent. */
  readonly cursor: number;
  /** Made by chat.send rather than asked for. */
  readonly automatic: boolean;
}

/** A reader's cursor in one session: catches up page by page, then follows the topic. Reader gone, it ends by itself. */
export class Subscription {
  readonly session: SessionRef;
  readonly naming: Naming;
  readonly tail: Tail;
  readonly automatic: boolean;
  readonly #deps: SubscriptionDeps;
  readonly #reader: Reader;
  readonly #name: string;
  readonly #epoch: string;
  #cursor: number;
  #state: "catching_up" | "live" | "ended" = "catching_up";

  constructor(deps: SubscriptionDeps, options: SubscriptionOptions) {
    this.#deps = deps;
    this.session = options.session;
    this.naming = options.naming;
    this.tail = options.tail;
    this.automatic = options.automatic;
    this.#reader = options.reader;
    this.#cursor = options.cursor;
    this.#name = nameOf(options.session, options.naming);
    this.#epoch = options.tail.epoch;
  }

  get state(): "catching_up" | "live" | "ended" {
    return this.#state;
  }

  /** Sends what is after the cursor; synchronous as far as the tail and the reader's buffer allow. */
  start(): void {
    const { limits } = this.#deps;
    while (this.#state === "catching_up") {
      if (this.#reader.closed) return this.end();
      if (this.tail.epoch !== this.#epoch) return this.end("epoch");
      if (this.tail.head < this.#cursor) {
        // The sender of the first message of a session: session.created is before its cursor and not published yet.
        void this.tail.reached(this.#cursor).then(() => this.start());
        return undefined;
      }
      if (this.#reader.buffered() >= limits.catch_up_buffer_bytes) {
        void this.#reader.drained(limits.catch_up_buffer_bytes).then(() => this.start());
        return undefined;
      }
      if (this.tail.first > this.#cursor + 1) {
        void this.#readPage();
        return undefined;
      }
      const { events, all } = this.tail.read(this.#cursor, limits.page_events, limits.page_bytes);
      this.#sendAll(events);
      if (all) this.#goLive();
    }
    return undefined;
  }

  /** Stops it; with a reason the reader is told. Idempotent. */
  end(reason?: EndReason): void {
    if (this.#state === "ended") return;
    if (this.#state === "live") {
      const topic = topicOf(this.session, this.naming);
      this.#reader.unfollow(topic);
      this.#deps.hub.unfollow(topic);
    }
    this.#state = "ended";
    if (reason !== undefined) this.#signal("session.unsubscribed", { session_id: this.#name, reason });
    this.#deps.ended(this);
  }

  #goLive(): void {
    const topic = topicOf(this.session, this.naming);
    this.#reader.follow(topic);
    this.#deps.hub.follow(topic);
    this.#state = "live";
    this.#signal("session.synced", { epoch: this.#epoch, at: this.tail.head });
  }

  async #readPage(): Promise<void> {
    const { store, reads, log } = this.#deps;
    let page: Page | null;
    try {
      page = await reads.use(() => store.page(this.session.id, this.#cursor, this.tail.head));
    } catch (error) {
      log.error({ session: this.session.id, err: error }, "a page of the log could not be read");
      // The reader subscribes again from its cursor.
      return this.end("trimmed");
    }
    if (this.#state !== "catching_up") return;
    if (page === null) return this.end("deleted");
    if (page.epoch !== this.#epoch) return this.end("epoch");
    if (page.floor > this.#cursor) return this.end("trimmed");
    const first = page.events[0];
    // Only what the head covers is missing from the tail, so the range is never empty.
    if (first?.seq !== this.#cursor + 1) return this.end("trimmed");
    this.#sendAll(page.events);
    this.start();
  }

  #sendAll(events: readonly StoredEvent[]): void {
    for (const event of events) {
      const text = encodeEvent(this.#name, this.#epoch, event);
      this.#reader.send({ text, type: event.type, epoch: this.#epoch, seq: event.seq });
      this.#cursor = event.seq;
    }
  }

  #signal(type: string, payload: Record<string, unknown>): void {
    const text = encodeSignal(type, this.#deps.clock.now(), payload, this.#name);
    this.#reader.send({ text, type, epoch: null, seq: null });
  }
}
