import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import type { Cursor } from "./watcher-fold.ts";
import { Violation, WatcherFold } from "./watcher-fold.ts";
import type { LinkEnd, LinkOptions, Sink } from "./watcher-link.ts";
import { watchStream } from "./watcher-sse.ts";
import { watchSocket } from "./watcher-ws.ts";

export type { Cursor, Opening } from "./watcher-fold.ts";
export { Violation } from "./watcher-fold.ts";

export type Transport = "ws" | "sse";

export interface WatcherOptions {
  /** What it is called in errors. */
  readonly name: string;
  readonly session_id: string;
  readonly token: string;
  /** Where to connect, http://host:port; asked before every attempt, and may wait. */
  readonly route: () => string | Promise<string>;
  /** Sent with every request besides, such as the Host a proxy hides. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whom it believes, where the address is https. */
  readonly tls?: Bun.TLSOptions;
  /** Over what the n-th attempt goes, from 0; default: a socket. */
  readonly transport?: (attempt: number) => Transport;
  /** Where it begins: "nothing" takes a snapshot, "start" the log from its first event (a socket only), or a cursor. */
  readonly start?: "nothing" | "start" | Cursor;
  readonly catch_up?: "auto" | "log";
  /** Nothing heard for so long: the connection is given up. It doubles as long as nothing at all comes. */
  readonly stall_ms?: number;
  /** Told of every event, after it was folded. */
  readonly onEvent?: (frame: FoldEvent) => void;
  /** Asked after every event: whether to subscribe again just so. */
  readonly resubscribe?: () => boolean;
}

/**
 * A client written from the protocol alone: it keeps its cursor and its fold through whatever happens to its
 * connections, and takes nothing that protocol.md does not allow.
 */
export interface Watcher extends AsyncDisposable {
  readonly name: string;
  readonly cursor: Cursor | null;
  readonly transcript: Transcript;
  /** Every event that was folded, by `<epoch>.<seq>`, as it came. */
  readonly seen: ReadonlyMap<string, string>;
  readonly openings: WatcherFold["openings"];
  /** How each connection ended so far. */
  readonly ends: readonly LinkEnd[];
  readonly synced: boolean;
  /** What is between it and the head of the log it follows; told in errors. */
  describe(): string;
  /** Resolves when it is synced and has all up to `seq`. Rejects with Violation, or when it takes too long. */
  reached(seq: number, timeout_ms?: number): Promise<void>;
  /** As reached, for any condition that a change of the fold or the end of a connection can make true. */
  until(holds: () => boolean, timeout_ms?: number): Promise<void>;
  /** Resolves when it has stopped by itself: a close code or a reason that says so. Rejects with Violation. */
  readonly over: Promise<LinkEnd>;
  /** Rejects with a Violation that nobody was told of. */
  stop(): Promise<void>;
}

const STALL_MS = 2_500;
const MAX_STALL_MS = 12_000;
const TIMEOUT_MS = 30_000;
const BACK_OFF_MS = 5;
const MAX_BACK_OFF_MS = 250;

export function startWatcher(options: WatcherOptions): Watcher {
  const { name, session_id, start = "nothing" } = options;
  const waits = new Set<() => void>();
  const changed = (): void => {
    for (const check of waits) check();
  };
  const begin = start === "nothing" ? null : start === "start" ? { epoch: "", seq: 0 } : start;
  const fold = new WatcherFold(session_id, begin, changed);
  const ends: LinkEnd[] = [];
  const abort = new AbortController();
  const over = run(options, fold, { ends, changed }, abort.signal);
  const failed = new Promise<never>((_resolve, reject) => void over.catch(reject));
  failed.catch(() => undefined);
  /** Whether somebody who waited was told that something is wrong; if nobody was, `stop` tells. */
  let told = false;

  function describe(): string {
    const at = fold.cursor === null ? "nothing" : `${fold.cursor.epoch}.${fold.cursor.seq}`;
    const last = ends.slice(-3).map(({ why }) => why.slice(0, 200));
    return `${name} at ${at}, ${fold.synced ? "synced" : "not synced"}, ${ends.length} connections ended: ${last.join("; ")}`;
  }

  async function until(holds: () => boolean, timeout_ms = TIMEOUT_MS): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const check = (): void => {
      if (holds()) resolve();
    };
    const timer = setTimeout(
      () => reject(new Error(`not within ${timeout_ms} ms: ${describe()}`)),
      timeout_ms,
    );
    waits.add(check);
    check();
    try {
      await Promise.race([promise, failed]);
    } catch (error) {
      told = true;
      throw error;
    } finally {
      waits.delete(check);
      clearTimeout(timer);
    }
  }

  async function stop(): Promise<void> {
    abort.abort();
    await over.catch((error: unknown) => {
      if (!told) throw error;
    });
  }
  return {
    name,
    get cursor() {
      return fold.cursor;
    },
    get transcript() {
      return fold.transcript;
    },
    seen: fold.seen,
    openings: fold.openings,
    ends,
    get synced() {
      return fold.synced;
    },
    describe,
    until,
    reached: (seq, timeout_ms) => until(() => fold.synced && (fold.cursor?.seq ?? 0) >= seq, timeout_ms),
    over,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Connects again and again until it is told to stop. */
async function run(
  options: WatcherOptions,
  fold: WatcherFold,
  { ends, changed }: { readonly ends: LinkEnd[]; readonly changed: () => void },
  signal: AbortSignal,
): Promise<LinkEnd> {
  const { name, session_id, token, route, transport = () => "ws", catch_up = "auto" } = options;
  const { headers = {}, stall_ms = STALL_MS } = options;
  let stall = stall_ms;
  let back_off = BACK_OFF_MS;
  const sink: Sink = {
    cursor: () => fold.cursor,
    opened: (asked, opening) => {
      stall = stall_ms;
      back_off = BACK_OFF_MS;
      fold.opened(asked, opening);
    },
    event: (received) => {
      fold.event(received);
      options.onEvent?.(received.frame);
    },
    caughtUp: (epoch, at) => fold.caughtUp(epoch, at),
    ended: () => fold.closed(),
    resubscribe: options.resubscribe ?? (() => false),
  };
  try {
    for (let attempt = 0; ; attempt++) {
      const url = await route();
      const said = { url, token, headers, session_id, catch_up, stall_ms: stall, signal };
      const link: LinkOptions = { ...said, ...(options.tls !== undefined && { tls: options.tls }) };
      if (signal.aborted) return { then: "stop", why: "left" };
      const greets = attempt % 2 === 1;
      const over =
        transport(attempt) === "ws" ? watchSocket({ ...link, greets }, sink) : watchStream(link, sink);
      const end = await over;
      fold.closed();
      ends.push(end);
      changed();
      if (end.then === "stop" || signal.aborted) return end;
      if (end.why === "stalled") stall = Math.min(stall * 2, MAX_STALL_MS);
      await pause(back_off, signal);
      back_off = Math.min(back_off * 2, MAX_BACK_OFF_MS);
    }
  } catch (error) {
    if (error instanceof Violation) error.message = `${name} (connection ${ends.length}): ${error.message}`;
    throw error;
  }
}

/** Between attempts, as any client does. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
