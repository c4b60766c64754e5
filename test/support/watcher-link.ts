import type { Cursor, Opening, Received } from "./watcher-fold.ts";

/** What a connection tells the watcher. Everything but `cursor` and `resubscribe` throws Violation. */
export interface Sink {
  /** Where to continue. */
  readonly cursor: () => Cursor | null;
  readonly opened: (asked: Cursor | null, opening: Opening) => void;
  readonly event: (received: Received) => void;
  readonly caughtUp: (epoch: string, at: number) => void;
  /** The subscription was ended by the gateway. */
  readonly ended: (reason: string) => void;
  /** Whether to subscribe again just so, which replaces the subscription. Asked after every event. */
  readonly resubscribe: () => boolean;
}

/** Why a connection is over: "again" is to connect again; "stop" is not. */
export interface LinkEnd {
  readonly then: "again" | "stop";
  readonly why: string;
  /** The close code of a socket, the status of an answer. */
  readonly code?: number;
}

export interface LinkOptions {
  /** http://host:port */
  readonly url: string;
  readonly token: string;
  /** Sent with every request besides, such as the Host a proxy hides. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: Bun.TLSOptions;
  readonly session_id: string;
  readonly catch_up: "auto" | "log";
  /** Nothing heard for so long: the connection is given up. */
  readonly stall_ms: number;
  /** Aborted: leave. */
  readonly signal: AbortSignal;
}

/** Gives a connection up when nothing was heard for a while. */
export function watchSilence(stall_ms: number, silent: () => void): { heard(): void; stop(): void } {
  let last = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - last > stall_ms) silent();
  }, stall_ms / 8);
  return {
    heard: () => void (last = performance.now()),
    stop: () => clearInterval(timer),
  };
}
