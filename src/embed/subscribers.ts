import type { SessionEvent } from "../client/events.ts";
import type { SubscribeOptions } from "./gateway.ts";
import type { Local } from "./local.ts";
import { ReaderTopics, SessionReader } from "./reader.ts";

/** Those who read sessions in this process. */
export class Subscribers {
  readonly #local: Local;
  readonly #topics = new ReaderTopics();
  readonly #readers = new Set<SessionReader>();

  constructor(local: Local) {
    this.#local = local;
    local.engine.hub.addListener(this.#topics);
  }

  open(sessionId: string, options: SubscribeOptions): SessionEvents {
    return new SessionEvents(
      () => this.#reader(sessionId, options),
      (reader) => this.#readers.delete(reader),
      options.signal,
    );
  }

  /** The gateway stops: what they have not taken yet they still can. */
  finish(): void {
    for (const reader of this.#readers) reader.finish();
    this.#readers.clear();
  }

  async #reader(sessionId: string, { userId, epoch, after }: SubscribeOptions): Promise<SessionReader> {
    const user = await this.#local.userOf(sessionId, userId);
    const session = await this.#local.session(sessionId, user);
    const from = { ...(epoch !== undefined && { epoch }), ...(after !== undefined && { after }) };
    const reader = new SessionReader({ local: this.#local, topics: this.#topics, session, user, from });
    this.#readers.add(reader);
    return reader;
  }
}

/** The events of a session, as they are asked for. */
class SessionEvents implements AsyncIterableIterator<SessionEvent, undefined> {
  readonly #make: () => Promise<SessionReader>;
  readonly #left: (reader: SessionReader) => void;
  readonly #signal: AbortSignal | undefined;
  #reader: SessionReader | null = null;
  #over = false;
  /** Who asks for two at once gets them in order. */
  #last: Promise<unknown> = Promise.resolve();
  readonly #stop = (): void => this.#leave();

  constructor(
    make: () => Promise<SessionReader>,
    left: (reader: SessionReader) => void,
    signal: AbortSignal | undefined,
  ) {
    this.#make = make;
    this.#left = left;
    this.#signal = signal;
    if (signal?.aborted === true) this.#over = true;
    else signal?.addEventListener("abort", this.#stop, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<SessionEvent, undefined>> {
    const next = this.#last.then(() => this.#next());
    this.#last = next.catch(() => undefined);
    return next;
  }

  return(): Promise<IteratorResult<SessionEvent, undefined>> {
    this.#leave();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #next(): Promise<IteratorResult<SessionEvent, undefined>> {
    if (this.#over) return { done: true, value: undefined };
    try {
      this.#reader ??= await this.#make();
      // It may have been left while its session was looked for.
      if (this.#over) this.#leave();
      const value = await this.#reader.next();
      if (value !== null) return { done: false, value };
    } catch (error) {
      this.#leave();
      throw error;
    }
    this.#leave();
    return { done: true, value: undefined };
  }

  #leave(): void {
    this.#over = true;
    this.#signal?.removeEventListener("abort", this.#stop);
    if (this.#reader === null) return;
    this.#reader.leave();
    this.#left(this.#reader);
  }
}
