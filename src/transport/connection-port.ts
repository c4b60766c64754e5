import type { Challenge } from "../core/challenge.ts";
import type { Credential, Principal } from "../core/principal.ts";
import type { Turns } from "./turn.ts";

export interface SocketOptions {
  readonly remote: string;
  /** What a `connect` without a credential is taken for. */
  readonly unshown?: Credential;
  /** Who authenticated at the upgrade; null: `connect` has to. */
  readonly principal: Principal | null;
  /** What it is sent first, for a device to sign; null: nothing. */
  readonly challenge: Challenge | null;
  /** The Origin header of the upgrade; "": there was none. */
  readonly origin: string;
  /** Those of the event loop it shares with others; without them it is alone. */
  readonly turns?: Turns;
}

/** The socket under a connection, as Bun's ServerWebSocket has it. */
export interface SocketPort {
  /** Above 0: sent; -1: queued; 0: dropped. */
  send(text: string): number;
  close(code: number, reason: string): void;
  getBufferedAmount(): number;
  ping(): number;
  subscribe(topic: string): unknown;
  unsubscribe(topic: string): unknown;
}

/** What RFC 6455 leaves for the reason in a close frame. */
const MAX_REASON_BYTES = 123;

/** The longest beginning of a text that fits into a close frame, in whole characters. */
export function closeReason(text: string): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(MAX_REASON_BYTES)).read);
}

/**
 * Those who wait for a peer's buffer to shrink. A turn of the event loop that is over counts as a full buffer, so that
 * who catches up with a long log gives way to the others. Without turns there are no others.
 */
export class DrainWaiters {
  readonly #turns: Turns | null;
  #waiting: { readonly below: number; readonly resolve: () => void }[] = [];

  constructor(turns: Turns | null) {
    this.#turns = turns;
  }

  /** What `unsent` bytes count as; `full` is what a full buffer has. */
  count(unsent: number, full: number): number {
    return this.#turns?.over === true ? Math.max(unsent, full) : unsent;
  }

  /** Resolves when fewer than `below` bytes wait and this turn is not over. */
  async until(below: number, unsent: () => number): Promise<void> {
    while (this.#turns?.over === true) await this.#turns.another();
    if (unsent() < below) return undefined;
    return new Promise((resolve) => this.#waiting.push({ below, resolve }));
  }

  /** Resolves those that waited for more than `buffered` bytes or fewer. */
  wake(buffered: number): void {
    if (this.#waiting.length === 0) return;
    const before = this.#waiting;
    this.#waiting = before.filter(({ below }) => buffered >= below);
    for (const { below, resolve } of before) if (buffered < below) resolve();
  }
}

/** Whether a connection is gone, as an AbortSignal that is made when somebody waits for it: most connections never need one. */
export class Gone {
  #controller: AbortController | null = null;
  #ended = false;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended) this.#controller.abort();
    return this.#controller.signal;
  }

  end(): void {
    this.#ended = true;
    this.#controller?.abort();
  }
}
