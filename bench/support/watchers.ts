import { until } from "./clock.ts";
import type { FrameSocket } from "./frames.ts";
import { isEvent, isRefusal, openFrames } from "./frames.ts";
import { pool } from "./rpc.ts";

/** Sockets that follow one session and count what they get of one kind of event. */
export interface Watchers {
  /** Events received in all since `reset`. */
  readonly received: number;
  /** Bytes of the last frame that was counted. */
  readonly bytes: number;
  /** When the first watcher began to read the first event since `reset`, and when the last one had read the last. */
  readonly first_ms: number;
  readonly last_ms: number;
  reset(): void;
  /** Resolves when so many events are there whole. Rejects when a watcher was lost. */
  all(count: number): Promise<void>;
  close(): void;
}

export interface Opened {
  readonly watchers: Watchers;
  /** From the first attempt to connect until the last one was told that it is up to date, milliseconds. */
  readonly took_ms: number;
}

/** How many connect at the same time: a listener has room for 512 that wait. */
const OPEN_AT_ONCE = 256;
const LOOK_EVERY_MS = 250;

export async function openWatchers(
  count: number,
  target: { readonly url: string; readonly token: string | null },
  request: { readonly method: string; readonly params: Readonly<Record<string, unknown>> },
  event: string,
): Promise<Opened> {
  const counter = new Counter(event);
  const sockets: FrameSocket[] = [];
  const text = JSON.stringify({ type: "req", id: "s", ...request });
  const began = performance.now();
  await pool(count, OPEN_AT_ONCE, async () => {
    const socket = await openFrames(target.url, target.token, counter.reader());
    sockets.push(socket);
    socket.send(text);
  });
  await until(() => counter.synced + counter.refused >= count, "the subscription of every watcher");
  const took_ms = counter.synced_ms - began;

  function check(): void {
    const lost = sockets.find((socket) => socket.lost !== null);
    if (lost !== undefined) throw new Error(`a watcher was lost: ${lost.lost}`);
    if (counter.refused > 0) throw new Error(`${counter.refused} watchers were refused`);
  }
  check();

  const watchers: Watchers = {
    get received() {
      return counter.received;
    },
    get bytes() {
      return counter.bytes;
    },
    get first_ms() {
      return counter.first_ms;
    },
    get last_ms() {
      return counter.last_ms;
    },
    reset: () => counter.reset(),
    async all(wanted) {
      const lost = Promise.withResolvers<never>();
      const timer = setInterval(() => {
        if (sockets.some((socket) => socket.lost !== null)) lost.reject(new Error("a watcher was lost"));
      }, LOOK_EVERY_MS);
      await Promise.race([counter.reached(wanted), lost.promise]).finally(() => clearInterval(timer));
      check();
    },
    close() {
      for (const socket of sockets) socket.close();
    },
  };
  return { watchers, took_ms };
}

/** What all the watchers got together. */
class Counter {
  received = 0;
  bytes = 0;
  first_ms = Number.NaN;
  last_ms = Number.NaN;
  synced = 0;
  synced_ms = Number.NaN;
  refused = 0;
  readonly #event: string;
  #wanted = Number.POSITIVE_INFINITY;
  #wake: () => void = () => undefined;

  constructor(event: string) {
    this.#event = event;
  }

  reset(): void {
    this.received = 0;
    this.first_ms = this.last_ms = Number.NaN;
    this.#wanted = Number.POSITIVE_INFINITY;
  }

  reached(wanted: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = wanted;
      this.#wake = resolve;
      if (this.received >= wanted) this.#done();
    });
  }

  /** The handlers of one more socket. */
  reader() {
    let counts = false;
    let syncs = false;
    return {
      begin: (bytes: Uint8Array, at: number, length: number): void => {
        counts = isEvent(bytes, at, this.#event);
        syncs = !counts && isEvent(bytes, at, "session.synced");
        if (counts) this.#begin(length);
        else if (isRefusal(bytes, at)) this.refused++;
      },
      end: (): void => {
        if (counts && ++this.received >= this.#wanted) this.#done();
        if (!syncs) return;
        this.synced++;
        this.synced_ms = performance.now();
      },
    };
  }

  #begin(length: number): void {
    this.bytes = length;
    if (Number.isNaN(this.first_ms)) this.first_ms = performance.now();
  }

  #done(): void {
    this.#wanted = Number.POSITIVE_INFINITY;
    this.last_ms = performance.now();
    this.#wake();
  }
}
