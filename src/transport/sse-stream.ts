import type { Connection, ConnectionState } from "../core/connections.ts";
import type { Frame } from "../core/hub.ts";
import type { Limits } from "../core/limits.ts";
import type { Principal } from "../core/principal.ts";
import type { Subscription } from "../core/subscription.ts";
import type { GatewayError } from "../protocol/errors.ts";
import { DrainWaiters } from "./connection-port.ts";
import type { Chunk } from "./sse-text.ts";
import { chunkOf, eventText } from "./sse-text.ts";
import type { Turns } from "./turn.ts";

/** What is written at a time: small, so that a slow reader's progress shows. */
const WRITE_BYTES = 16 * 1024;

const STREAM_HEADERS = {
  "content-type": "text/event-stream",
  "x-accel-buffering": "no",
  // The socket's idle timer is off: it must not live on after the stream.
  connection: "close",
} as const;

export interface StreamOptions {
  readonly id: string;
  readonly remote: string;
  readonly client_id: string;
  readonly principal: Principal;
  readonly now: number;
  readonly limits: Limits;
  readonly turns: Turns;
  readonly topics: {
    follow(topic: string, stream: EventStream): void;
    unfollow(topic: string, stream: EventStream): void;
  };
  /** Too much waits for it: it will be ended. */
  readonly onSlow: (stream: EventStream) => void;
  /** Called once, when it is over, whoever ended it. */
  readonly onGone: (stream: EventStream) => void;
}

/**
 * One event stream. Frames of a tick are written together; what the peer does not take waits here and is counted.
 * Bun answers a write with a promise as long as its socket is full, and that is where this queue begins to grow.
 */
export class EventStream implements Connection {
  readonly transport = "sse";
  readonly id: string;
  readonly remote: string;
  readonly client_id: string;
  readonly client_name = "";
  readonly version = "";
  readonly platform = "";
  readonly capabilities: readonly string[] = [];
  readonly connected_at: number;
  readonly last_activity: number;
  readonly principal: Principal;
  readonly subscriptions = new Map<string, Subscription>();
  /** Makes the text of a frame, null for none; unset: every frame as it is. */
  translate: ((frame: Frame) => string | null) | null = null;
  /** Sees every frame once it was queued. */
  after: ((frame: Frame) => void) | null = null;
  /** Takes frames instead of the peer. */
  divert: ((frame: Frame) => void) | null = null;
  /** Resolves when it is over. */
  readonly over: Promise<void>;
  readonly #options: StreamOptions;
  readonly #waiters: DrainWaiters;
  readonly #resolveOver: () => void;
  #queue: Chunk[] = [];
  /** Bytes of the first chunk that were written already. */
  #offset = 0;
  #queued = 0;
  /** Bytes handed to Bun that its socket has not taken. */
  #blocked = 0;
  #taken = 0;
  #scheduled = false;
  #controller: ReadableStreamDirectController | null = null;
  #state: "open" | "finishing" | "gone" = "open";

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#waiters = new DrainWaiters(options.turns);
    this.id = options.id;
    this.remote = options.remote;
    this.client_id = options.client_id;
    this.principal = options.principal;
    this.connected_at = this.last_activity = options.now;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#resolveOver = resolve;
  }

  get state(): ConnectionState {
    return this.#state === "open" ? "connected" : "closing";
  }
  get closed(): boolean {
    return this.#state !== "open";
  }
  /** Bytes the peer took so far. */
  get taken(): number {
    return this.#taken;
  }

  send(frame: Frame): void {
    if (this.closed) return;
    if (this.divert !== null) return this.divert(frame);
    const text = this.translate === null ? eventText(frame) : this.translate(frame);
    if (text !== null) this.push(chunkOf(text));
    this.after?.(frame);
  }

  /** As send, with the chunk everybody gets, which is made once. */
  publish(frame: Frame, shared: () => Chunk): void {
    if (this.translate !== null || this.divert !== null) return this.send(frame);
    if (this.closed) return;
    this.push(shared());
    this.after?.(frame);
  }

  push(chunk: Chunk): void {
    if (this.closed) return;
    this.#queue.push(chunk);
    this.#queued += chunk.size;
    this.#schedule();
  }

  /** Bytes that wait for the peer. */
  unsent(): number {
    return this.#state === "gone" ? 0 : this.#queued + this.#blocked;
  }
  buffered(): number {
    return this.#waiters.count(this.unsent(), this.#options.limits.catch_up_buffer_bytes);
  }
  drained(below: number): Promise<void> {
    return this.#waiters.until(below, () => this.unsent());
  }
  follow(topic: string): void {
    this.#options.topics.follow(topic, this);
  }
  unfollow(topic: string): void {
    this.#options.topics.unfollow(topic, this);
  }

  /** Nothing more comes: ends once all of it is written. Idempotent. */
  finish(): void {
    if (this.closed) return;
    this.#state = "finishing";
    this.#waiters.wake(0);
    this.#schedule();
  }

  /** A stream has no words for an error: the request that comes next reads it. Idempotent. */
  close(_error: GatewayError): void {
    if (this.#state === "gone") return;
    this.#flush();
    const controller = this.#controller;
    const waits = this.unsent() > 0;
    this.gone();
    // With bytes waiting a peaceful end would wait for a reader that may never read.
    if (waits) controller?.close(new Error("the stream was ended"));
    else void controller?.end();
  }

  /** It is over: the client left, or there never was a stream. Idempotent. */
  gone(): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    this.#queue = [];
    this.#controller = null;
    this.#waiters.wake(0);
    this.#resolveOver();
    this.#options.onGone(this);
  }

  /** The answer that carries the stream. Called at most once. */
  response(headers: Record<string, string> = {}): Response {
    const source: Bun.DirectUnderlyingSource<Uint8Array> = {
      type: "direct",
      pull: (controller) => this.#attach(controller),
      cancel: () => this.gone(),
    };
    // The DOM's types do not know of Bun's direct streams.
    const body = new ReadableStream<Uint8Array>(source as unknown as UnderlyingDefaultSource<Uint8Array>);
    return new Response(body, { headers: { ...STREAM_HEADERS, ...headers } });
  }

  /** The stream stays open as long as what it answers is pending. */
  #attach(controller: ReadableStreamDirectController): Promise<void> | void {
    if (this.#state === "gone") return void controller.end();
    this.#controller = controller;
    this.#schedule();
    return this.over;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
      this.#settle();
    });
  }

  /** Writes until the peer's socket is full, or nothing is left. */
  #flush(): void {
    while (this.#controller !== null && this.#blocked === 0 && this.#queue.length > 0) {
      const [piece, size] = this.#take();
      this.#queued -= size;
      const written = this.#controller.write(piece);
      if (typeof written === "number") {
        this.#taken += size;
        continue;
      }
      this.#blocked = size;
      const room = (): void => this.#unblocked(size);
      written.then(room, room);
    }
  }

  /** What follows from how much is left. */
  #settle(): void {
    if (this.#state === "gone") return;
    const left = this.unsent();
    this.#waiters.wake(left);
    if (this.#state === "finishing" && left === 0 && this.#controller !== null) {
      const controller = this.#controller;
      this.gone();
      void controller.end();
    } else if (this.#isOver(left)) this.#options.onSlow(this);
  }

  /**
   * Whether more waits than may. A single frame, a snapshot with a long answer in it, may be larger than all that may
   * wait: who is taking it is not slow by that.
   */
  #isOver(left: number): boolean {
    const { slow_soft_bytes } = this.#options.limits;
    if (left <= slow_soft_bytes) return false;
    const frame = this.#queue.reduce((largest, { size }) => Math.max(largest, size), 0);
    return left > slow_soft_bytes + frame;
  }

  #unblocked(size: number): void {
    this.#blocked = 0;
    this.#taken += size;
    this.#flush();
    this.#settle();
  }

  /** Takes the next piece off the queue, and its size: whole chunks joined, or a part of one that is large. */
  #take(): [string | Uint8Array, number] {
    const [first] = this.#queue;
    if (first !== undefined && first.size > WRITE_BYTES) return this.#takePart(first);
    let text = "";
    let size = 0;
    let count = 0;
    for (const chunk of this.#queue) {
      if (size + chunk.size > WRITE_BYTES) break;
      text += chunk.text;
      size += chunk.size;
      count++;
    }
    this.#queue.splice(0, count);
    return [text, size];
  }

  #takePart(chunk: Chunk): [Uint8Array, number] {
    chunk.bytes ??= new TextEncoder().encode(chunk.text);
    const part = chunk.bytes.subarray(this.#offset, this.#offset + WRITE_BYTES);
    this.#offset += part.length;
    if (this.#offset >= chunk.bytes.length) {
      this.#queue.shift();
      this.#offset = 0;
    }
    return [part, part.length];
  }
}
