import type { EventFrame } from "../protocol/frames.ts";
import type { ClientError } from "./error.ts";
import type { Opening } from "./methods.ts";
import type { FoldedState } from "./state.ts";
import type { Cursor, SubscribeOptions, Subscription, SubscriptionHandlers } from "./subscription.ts";

/** Somebody who reads the events of a session one by one. */
export interface Reader {
  /** What it has; null: it begins with whatever comes first. */
  readonly cursor: Cursor | null;
  readonly catch_up: "auto" | "log";
  opened(opening: Opening): void;
  /** Called with events it may have already. */
  event(frame: EventFrame): void;
  ended(error: ClientError): void;
}

/** How long a session is still followed when nobody reads it any more: whoever leaves may come back at once. */
const LINGER_MS = 500;

/** It is the client that ended: given up, disconnected, or not let in any more. */
const OF_THE_CLIENT: ReadonlySet<string> = new Set(["UNREACHABLE", "CLOSED", "ABORTED", "UNAUTHORIZED"]);

/** One subscription of a session, for all who read it. */
export class Feed {
  readonly state: FoldedState;
  readonly #subscribe: (options: SubscribeOptions, handlers: SubscriptionHandlers) => Subscription;
  readonly #readers = new Set<Reader>();
  #subscription: Subscription | null = null;
  #users = 0;
  #linger: ReturnType<typeof setTimeout> | undefined;

  constructor(
    state: FoldedState,
    subscribe: (options: SubscribeOptions, handlers: SubscriptionHandlers) => Subscription,
  ) {
    this.state = state;
    this.#subscribe = subscribe;
  }

  /** Whether anybody follows it. */
  get used(): boolean {
    return this.#users > 0;
  }

  /** Follows the session until the answer is called, once. */
  use(): () => void {
    this.#users++;
    clearTimeout(this.#linger);
    this.open();
    return () => {
      if (--this.#users > 0) return;
      this.#linger = setTimeout(() => this.close(), LINGER_MS);
    };
  }

  /** Follows it again, where somebody would and it had ended: it may be there now. */
  open(): void {
    if (this.#subscription !== null || this.#users === 0) return;
    if (this.state.over) return;
    const { cursor } = this.state;
    this.state.followed(true);
    this.#subscription = this.#subscribe(cursor === null ? {} : { epoch: cursor.epoch, after: cursor.seq }, {
      opened: (opening) => this.#opened(opening),
      event: (frame) => this.#event(frame),
      synced: () => this.state.synced(),
      ended: (error) => this.#ended(error),
    });
  }

  close(): void {
    clearTimeout(this.#linger);
    this.#subscription?.unsubscribe();
    this.#subscription = null;
    this.state.followed(false);
  }

  /** The reader is told what it has not got. The answer lets it go. */
  join(reader: Reader): () => void {
    const release = this.use();
    this.#readers.add(reader);
    const { error } = this.state.getSnapshot();
    if (this.state.over && error !== null) reader.ended(error);
    else if (reader.cursor !== null) this.rewind(reader);
    return () => {
      if (this.#readers.delete(reader)) release();
    };
  }

  /** Reads again what a reader is behind; the others pass over it. */
  rewind({ cursor, catch_up }: Reader): void {
    const at = this.#subscription?.cursor ?? null;
    // Before the first opening nothing is known to compare with.
    if (at === null || cursor === null) return;
    if (cursor.epoch !== at.epoch || cursor.seq < at.seq) this.#subscription?.rewind(cursor, catch_up);
  }

  #opened(opening: Opening): void {
    this.state.opened(opening);
    for (const reader of this.#readers) {
      if (isBehind(reader.cursor, opening)) this.rewind(reader);
      else reader.opened(opening);
    }
  }

  #event(frame: EventFrame): void {
    const whole = this.state.take(frame);
    for (const reader of this.#readers) reader.event(frame);
    if (!whole) this.#subscription?.refresh();
  }

  #ended(error: ClientError): void {
    this.#subscription = null;
    clearTimeout(this.#linger);
    // Without a client there is no telling what became of the session.
    this.state.ended(error, !OF_THE_CLIENT.has(error.code));
    for (const reader of this.#readers) reader.ended(error);
  }
}

/** A snapshot that was taken for somebody else, where the log may still have what this reader lacks. */
function isBehind(cursor: Cursor | null, { mode, reason, epoch, from }: Opening): boolean {
  if (cursor === null || mode === "resume" || reason !== undefined) return false;
  return cursor.epoch === epoch && cursor.seq < from;
}
