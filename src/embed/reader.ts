import { openingEvent } from "../client/events.ts";
import type { OpeningEvent, SessionEvent } from "../client/events.ts";
import type { Connection } from "../core/connections.ts";
import type { Opening } from "../core/follow.ts";
import type { Frame, Listener } from "../core/hub.ts";
import { newId } from "../core/id.ts";
import type { SessionRef } from "../core/session.ts";
import { nameFor } from "../core/session.ts";
import type { Subscription } from "../core/subscription.ts";
import { GatewayError } from "../protocol/errors.ts";
import type { Local } from "./local.ts";
import { speakingFor } from "./local.ts";

export interface Cursor {
  readonly epoch?: string;
  readonly after?: number;
}

/** Openings in a row that brought nothing new: then something is wrong. */
const FRUITLESS_MAX = 3;

/** What waits to be taken, and how many characters of text that is. */
interface Waiting {
  readonly item: Frame | OpeningEvent;
  readonly size: number;
}

/** The end of the topics for those in this process who read sessions. */
export class ReaderTopics implements Listener {
  readonly #byTopic = new Map<string, Set<SessionReader>>();

  publish(topic: string, frame: Frame): void {
    for (const reader of this.#byTopic.get(topic) ?? []) reader.send(frame);
  }
  follow(topic: string, reader: SessionReader): void {
    this.#byTopic.set(topic, (this.#byTopic.get(topic) ?? new Set()).add(reader));
  }
  unfollow(topic: string, reader: SessionReader): void {
    const readers = this.#byTopic.get(topic);
    readers?.delete(reader);
    if (readers?.size === 0) this.#byTopic.delete(topic);
  }
}

export interface ReaderOptions {
  readonly local: Local;
  readonly topics: ReaderTopics;
  readonly session: SessionRef;
  readonly user: string;
  readonly from: Cursor;
}

/**
 * Reads one session as a socket would. What waits to be taken is bounded: a reader that is slower than what is published
 * leaves the topic and goes on from the store, from where it is.
 */
export class SessionReader implements Connection {
  readonly transport = "local";
  readonly id: string;
  readonly remote = "local";
  readonly client_id = "embedded";
  readonly client_name = "";
  readonly version = "";
  readonly platform = "";
  readonly capabilities: readonly string[] = [];
  readonly state = "connected";
  readonly connected_at: number;
  readonly last_activity: number;
  readonly principal;
  readonly subscriptions = new Map<string, Subscription>();
  readonly #options: ReaderOptions;
  readonly #name: string;
  #queue: Waiting[] = [];
  #waiting = 0;
  #cursor: Cursor;
  /** Whether it was ever told where it begins. */
  #isOpen = false;
  #fruitless = 0;
  #over = false;
  #wake: () => void = () => undefined;
  #drains: { readonly below: number; readonly resolve: () => void }[] = [];

  constructor(options: ReaderOptions) {
    const { local, session, user, from } = options;
    this.#options = options;
    this.#cursor = from;
    this.#name = nameFor(session, user);
    this.principal = speakingFor(user);
    this.connected_at = this.last_activity = local.engine.clock.now();
    this.id = newId("con", this.connected_at);
  }

  get closed(): boolean {
    return this.#over;
  }

  /** The next event; null: there will be none. One at a time. @throws GatewayError NOT_FOUND, UNAVAILABLE … */
  async next(): Promise<SessionEvent | null> {
    for (;;) {
      const item = this.#take();
      if (item !== undefined) return item;
      if (this.#over) return null;
      if (this.subscriptions.size === 0) {
        await this.#open();
        continue;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  send(frame: Frame): void {
    if (this.#over) return;
    if (frame.seq === null || frame.epoch === null) return this.#signal(frame);
    this.#cursor = { epoch: frame.epoch, after: frame.seq };
    this.#fruitless = 0;
    this.#push(frame, frame.text.length);
    // Nothing comes after it. It ends once what hands it over is done.
    if (frame.type === "session.closed") queueMicrotask(() => this.finish());
    if (this.#waiting <= this.#options.local.engine.limits.slow_soft_bytes) return;
    // What is missing from here on is in the store. Who catches up is paced already.
    for (const subscription of this.subscriptions.values()) {
      if (subscription.state === "live") subscription.end();
    }
  }
  buffered(): number {
    return this.#waiting;
  }
  drained(below: number): Promise<void> {
    if (this.#over || this.#waiting < below) return Promise.resolve();
    return new Promise((resolve) => this.#drains.push({ below, resolve }));
  }
  follow(topic: string): void {
    this.#options.topics.follow(topic, this);
  }
  unfollow(topic: string): void {
    this.#options.topics.unfollow(topic, this);
  }
  close(_error: GatewayError): void {
    this.finish();
  }

  /** Nothing more comes; what waits can still be taken. Idempotent. */
  finish(): void {
    if (this.#over) return;
    this.#over = true;
    for (const subscription of this.subscriptions.values()) subscription.end();
    this.#wake();
    for (const { resolve } of this.#drains.splice(0)) resolve();
  }

  /** Nobody takes anything any more. Idempotent. */
  leave(): void {
    this.#queue = [];
    this.#waiting = 0;
    this.finish();
  }

  async #open(): Promise<void> {
    const { local, session } = this.#options;
    local.requireRunning();
    if (this.#fruitless++ >= FRUITLESS_MAX) {
      throw new GatewayError("UNAVAILABLE", "the session cannot be read just now; the log says why");
    }
    // Once it has begun it wants every event there is, however many it is behind.
    const request = { ...this.#cursor, catch_up: this.#isOpen ? ("log" as const) : ("auto" as const) };
    await local.engine.followers.open(this, session, request, (opening) => this.#opened(opening));
  }

  #opened(opening: Opening): void {
    const { snapshot, ...rest } = opening;
    this.#cursor = { epoch: opening.epoch, after: opening.from };
    if (this.#isOpen && opening.mode === "resume") return;
    this.#isOpen = true;
    const read = snapshot === undefined ? {} : { snapshot: JSON.parse(snapshot) };
    this.#push(openingEvent(this.#name, { ...rest, ...read }), snapshot?.length ?? 0);
  }

  #signal({ type, text }: Frame): void {
    if (type !== "session.unsubscribed") return;
    const { reason } = (JSON.parse(text) as { payload: { reason: string } }).payload;
    if (reason === "deleted" || reason === "revoked") this.finish();
    else this.#wake();
  }

  #push(item: Frame | OpeningEvent, size: number): void {
    this.#queue.push({ item, size });
    this.#waiting += size;
    this.#wake();
  }

  #take(): SessionEvent | undefined {
    const first = this.#queue.shift();
    if (first === undefined) return undefined;
    const { item, size } = first;
    this.#waiting -= size;
    const ready = this.#drains.filter(({ below }) => this.#waiting < below);
    this.#drains = this.#drains.filter(({ below }) => this.#waiting >= below);
    for (const { resolve } of ready) resolve();
    return "text" in item ? (JSON.parse(item.text) as SessionEvent) : item;
  }
}
