import { GatewayError } from "../protocol/errors.ts";
import type { Caller } from "./call.ts";
import type { Connection } from "./connections.ts";
import type { Limits } from "./limits.ts";
import type { Clock } from "./ports.ts";
import { deviceOf } from "./principal.ts";

type RateLimits = Pick<Limits, "mutations_per_second" | "mutations_burst" | "mutations_over_ms">;

/** Callers without a connection that are remembered; the one that was heard of longest ago goes first. */
export const MAX_CALLERS = 10_000;

/** What a request takes out of a bucket; what comes back in a millisecond is then a whole number. */
const COST = 1_000;

/** How fast one caller may change things: a bucket that fills again, with a burst in it. Times are monotonic. */
class Rate {
  readonly #limits: RateLimits;
  #left: number;
  #at: number;
  /** Who was refused was told to come again at this time. */
  #until = Number.NEGATIVE_INFINITY;
  /** It came before that time. */
  #heedless = false;
  /** The first refusal of those since which it has never waited as told. */
  #since = 0;

  constructor(limits: RateLimits, now: number) {
    this.#limits = limits;
    this.#left = limits.mutations_burst * COST;
    this.#at = now;
  }

  /** Milliseconds to wait; 0: one more was taken. */
  take(now: number): number {
    this.#left = this.#leftAt(now);
    this.#at = now;
    if (this.#left >= this.#limits.mutations_burst * COST) this.#heedless = false;
    if (this.#left >= COST) {
      this.#left -= COST;
      return 0;
    }
    if (now < this.#until) this.#heedless = true;
    else {
      if (!this.#heedless) this.#since = now;
      this.#heedless = false;
    }
    const wait = Math.ceil((COST - this.#left) / this.#limits.mutations_per_second);
    this.#until = now + wait;
    return wait;
  }

  /** Whether it has not heeded a refusal for longer than anybody is let. */
  isOver(now: number): boolean {
    return this.#heedless && now - this.#since >= this.#limits.mutations_over_ms;
  }

  /** Whether it is as good as new. */
  isFull(now: number): boolean {
    return this.#leftAt(now) >= this.#limits.mutations_burst * COST;
  }

  #leftAt(now: number): number {
    const { mutations_per_second, mutations_burst } = this.#limits;
    return Math.min(mutations_burst * COST, this.#left + (now - this.#at) * mutations_per_second);
  }
}

export interface RatesOptions {
  readonly limits: RateLimits;
  readonly clock: Clock;
  /** What of an address counts as one. */
  readonly networkOf: (address: string) => string;
}

/**
 * Bounds how fast state is changed: by one socket, or without one by one credential at one address. Who takes no heed
 * of the refusals for so long loses the socket.
 */
export class Rates {
  readonly #options: RatesOptions;
  readonly #sockets = new WeakMap<Connection, Rate>();
  /** In the order they were heard of. */
  readonly #callers = new Map<string, Rate>();

  constructor(options: RatesOptions) {
    this.#options = options;
  }

  get callers(): number {
    return this.#callers.size;
  }

  /** Counts a request that changes something. `refused`: it must not; `over`: and its socket has to go. */
  count(caller: Caller): { readonly refused: GatewayError; readonly over: GatewayError | null } | null {
    const { limits, clock } = this.#options;
    // The program that the gateway runs in, or its owner on the machine.
    if (caller.transport === "local") return null;
    const now = clock.monotonic();
    const rate =
      caller.connection === null ? this.#ofCaller(caller, now) : this.#ofSocket(caller.connection, now);
    const wait_ms = rate.take(now);
    if (wait_ms === 0) return null;
    const over = rate.isOver(now) ? tooFast(limits, "mutations_over_ms", wait_ms) : null;
    return { refused: tooFast(limits, "mutations_per_second", wait_ms), over };
  }

  #ofSocket(connection: Connection, now: number): Rate {
    const rate = this.#sockets.get(connection) ?? new Rate(this.#options.limits, now);
    this.#sockets.set(connection, rate);
    return rate;
  }

  #ofCaller({ principal, remote }: Caller, now: number): Rate {
    const who = deviceOf(principal) ?? principal.credential ?? principal.user;
    const key = `${who} ${this.#options.networkOf(remote)}`;
    const rate = this.#callers.get(key) ?? new Rate(this.#options.limits, now);
    this.#callers.delete(key);
    for (const [oldest, each] of this.#callers) {
      if (this.#callers.size < MAX_CALLERS && !each.isFull(now)) break;
      this.#callers.delete(oldest);
    }
    this.#callers.set(key, rate);
    return rate;
  }
}

function tooFast(limits: RateLimits, what: keyof RateLimits, retry_after_ms: number): GatewayError {
  const { mutations_per_second, mutations_over_ms } = limits;
  const message =
    what === "mutations_over_ms"
      ? `more than ${mutations_per_second} changes a second for ${mutations_over_ms / 1_000} s without a pause`
      : `more than ${mutations_per_second} changes a second: wait before the next; nothing was done`;
  return new GatewayError("RATE_LIMITED", message, {
    details: { kind: "rate" },
    limit: { what, limit: limits[what] },
    retry_after_ms,
  });
}
