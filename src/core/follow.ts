import { GatewayError } from "../protocol/errors.ts";
import type { Connection } from "./connections.ts";
import type { Hub } from "./hub.ts";
import type { Journal } from "./journal.ts";
import type { Limits } from "./limits.ts";
import type { Clock, Logger } from "./ports.ts";
import type { Store } from "./store.ts";
import type { Directory, SessionRef } from "./session.ts";
import { namingFor, noSession } from "./session.ts";
import type { Slots } from "./slots.ts";
import { Snapshots } from "./snapshot.ts";
import type { SubscriptionDeps } from "./subscription.ts";
import { Subscription } from "./subscription.ts";
import type { Tail } from "./tail.ts";
import { NoSuchSession } from "./slot.ts";

export interface FollowRequest {
  readonly epoch?: string;
  readonly after?: number;
  readonly catch_up: "auto" | "log";
}

/** How a subscription starts: events come from `from` + 1. `snapshot` is JSON text. */
export interface Opening {
  readonly mode: "resume" | "snapshot" | "reset";
  readonly reason?: string;
  readonly epoch: string;
  readonly from: number;
  readonly head: number;
  readonly snapshot?: string;
}

type Decision =
  | { readonly mode: "resume"; readonly from: number }
  | { readonly mode: "snapshot" | "reset"; readonly reason?: string };

/** What a cursor is worth: pure, from what the store's owner knows. */
export function decide(
  request: FollowRequest,
  at: { epoch: string; floor: number; head: number },
  far_events: number,
): Decision {
  const { after, epoch } = request;
  if (after === undefined) return { mode: "snapshot" };
  if (epoch !== undefined && epoch !== at.epoch) return { mode: "reset", reason: "epoch" };
  if (after > at.head) return { mode: "reset", reason: "ahead" };
  if (after < at.floor) return { mode: "snapshot", reason: "trimmed" };
  if (at.head - after > far_events && request.catch_up !== "log") return { mode: "snapshot", reason: "far" };
  return { mode: "resume", from: after };
}

/** Opens and ends the subscriptions of connections. */
export class Followers {
  readonly #journal: Journal;
  readonly #limits: Limits;
  readonly #store: Store;
  readonly #snapshots: Snapshots;
  readonly #directory: Directory;
  readonly #deps: Omit<SubscriptionDeps, "ended">;
  /** Told of every subscription that begins or ends. */
  readonly #onChange: (connection: Connection, subscription: Subscription, state: "joined" | "left") => void;

  constructor(options: {
    journal: Journal;
    store: Store;
    directory: Directory;
    hub: Hub;
    clock: Clock;
    limits: Limits;
    log: Logger;
    /** Store reads for readers, bounded. */
    reads: Slots;
    onChange: (connection: Connection, subscription: Subscription, state: "joined" | "left") => void;
  }) {
    const { journal, store, hub, clock, limits, log, reads } = options;
    this.#journal = journal;
    this.#store = store;
    this.#directory = options.directory;
    this.#limits = limits;
    this.#snapshots = new Snapshots(store, limits, reads);
    this.#onChange = options.onChange;
    this.#deps = { store, hub, clock, limits, log, reads };
  }

  /**
   * Follows a session; replaces the connection's subscription of it. `opened` is called once, synchronously before the
   * first event. @throws GatewayError NOT_FOUND, INVALID_REQUEST, CONFLICT
   */
  async open(
    connection: Connection,
    session: SessionRef,
    request: FollowRequest,
    opened: (opening: Opening) => void,
  ): Promise<Subscription> {
    if (request.after !== undefined && request.after !== 0 && request.epoch === undefined) {
      throw new GatewayError("INVALID_REQUEST", "after needs epoch: a seq means nothing without it", {
        details: { kind: "cursor" },
      });
    }
    if (!this.#hasRoom(connection, session)) throw this.#full();
    const tail = await this.#pin(session);
    let subscription: Subscription | null = null;
    try {
      const opening = await this.#opening(connection, session, request, tail);
      // Nothing may come between these and the first step of the subscription: one tick.
      this.#directory.require(session, userOf(connection), "read");
      if (!this.#makeRoom(connection, session)) throw this.#full();
      connection.subscriptions.get(session.id)?.end();
      subscription = this.#subscription(connection, session, tail, opening.from, false);
      opened(opening);
      subscription.start();
      return subscription;
    } catch (error) {
      if (subscription === null) this.#journal.tails.release(session.id);
      else subscription.end();
      throw error;
    }
  }

  /**
   * Follows from a cursor at once, inside the block that publishes: for the sender of a message. False where there is
   * no room or the log no longer reaches back.
   */
  followNow(connection: Connection, session: SessionRef, from: number): boolean {
    if (!this.mayFollow(connection, session)) return false;
    const tail = this.#journal.tails.pinNow(session.id);
    if (tail === undefined) return false;
    if (from < tail.floor || !this.#makeRoom(connection, session)) {
      this.#journal.tails.release(session.id);
      return false;
    }
    this.#subscription(connection, session, tail, from, true).start();
    return true;
  }

  /** Whether followNow would follow: the user may read it and the connection has a place for it. */
  mayFollow(connection: Connection, session: SessionRef): boolean {
    if (connection.closed || connection.principal?.scopes.has("chat.read") !== true) return false;
    if (!this.#directory.mayRead(session, userOf(connection))) return false;
    return this.#hasRoom(connection, session);
  }

  /** A connection is gone: all it followed is released. */
  endAll(connection: Connection): void {
    for (const subscription of connection.subscriptions.values()) subscription.end();
  }

  async #opening(
    connection: Connection,
    session: SessionRef,
    request: FollowRequest,
    tail: Tail,
  ): Promise<Opening> {
    if (request.after !== undefined && request.after > tail.head && request.epoch === tail.epoch) {
      // Either what the client saw is committed and about to be published here, or it is lost.
      const row = await this.#store.session(session.id);
      if (row === null) throw noSession();
      if (row.epoch === tail.epoch && request.after <= row.head) await tail.reached(request.after);
    }
    const decision = decide(request, tail, this.#limits.far_events);
    if (decision.mode === "resume") {
      return { mode: "resume", epoch: tail.epoch, from: decision.from, head: tail.head };
    }
    const naming = namingFor(session, userOf(connection));
    const snapshot = await this.#snapshots.of(session, naming, tail);
    if (snapshot === null) throw noSession();
    return {
      mode: decision.mode,
      ...(decision.reason !== undefined && { reason: decision.reason }),
      epoch: snapshot.epoch,
      from: snapshot.at,
      head: tail.head,
      snapshot: snapshot.text,
    };
  }

  #subscription(
    connection: Connection,
    session: SessionRef,
    tail: Tail,
    cursor: number,
    automatic: boolean,
  ): Subscription {
    const ended = (gone: Subscription): void => {
      if (connection.subscriptions.get(session.id) === gone) connection.subscriptions.delete(session.id);
      this.#journal.tails.release(session.id);
      this.#onChange(connection, gone, "left");
    };
    const naming = namingFor(session, userOf(connection));
    const options = { session, naming, reader: connection, tail, cursor, automatic };
    const subscription = new Subscription({ ...this.#deps, ended }, options);
    connection.subscriptions.set(session.id, subscription);
    this.#onChange(connection, subscription, "joined");
    return subscription;
  }

  async #pin(session: SessionRef): Promise<Tail> {
    try {
      return await this.#journal.tails.pin(session);
    } catch (error) {
      if (error instanceof NoSuchSession) throw noSession();
      throw error;
    }
  }

  #hasRoom({ subscriptions }: Connection, session: SessionRef): boolean {
    if (subscriptions.has(session.id) || subscriptions.size < this.#limits.subscriptions) return true;
    return oldestIdle(subscriptions.values()) !== undefined;
  }

  /** False where there is none: the oldest automatic subscription of an idle session goes, and no other. */
  #makeRoom(connection: Connection, session: SessionRef): boolean {
    if (!this.#hasRoom(connection, session)) return false;
    const { subscriptions } = connection;
    if (subscriptions.has(session.id) || subscriptions.size < this.#limits.subscriptions) return true;
    oldestIdle(subscriptions.values())?.end("limit");
    return true;
  }

  #full(): GatewayError {
    const limit = this.#limits.subscriptions;
    return new GatewayError("CONFLICT", `at most ${limit} subscriptions: unsubscribe from one first`, {
      details: { kind: "full" },
      limit: { what: "subscriptions", limit },
    });
  }
}

function userOf(connection: Connection): string {
  return connection.principal?.user ?? "";
}

function oldestIdle(subscriptions: Iterable<Subscription>): Subscription | undefined {
  for (const subscription of subscriptions) {
    if (subscription.automatic && subscription.tail.row.active_run_id === null) return subscription;
  }
  return undefined;
}
