import type { ClientErrorCode } from "./error.ts";

/** Close codes after which a client comes back by itself; every other one means stop. */
const COMES_BACK: ReadonlySet<number> = new Set([1001, 1006, 1011, 1012, 1013, 4008, 4029, 4030]);

/** What a close code says of an established connection, where it says more than that it is over. */
const MEANING: Readonly<Record<number, ClientErrorCode>> = {
  1009: "TOO_LARGE",
  4000: "INVALID_REQUEST",
  4001: "UNAUTHORIZED",
  4003: "FORBIDDEN",
};

const QUICK_ATTEMPTS = 2;
const QUICK_MS = 250;
const FIRST_MS = 500;
const CAP_MS = 30_000;
const RESTART_STEP_MS = 500;
const RESTART_WINDOW_MS = 30_000;
/** A connection that held this long was a good one: the next loss starts with quick attempts again. */
const STEADY_MS = 1_000;

export function comesBack(code: number): boolean {
  return COMES_BACK.has(code);
}

export function meaningOf(code: number): ClientErrorCode {
  return MEANING[code] ?? "CLOSED";
}

/** Full jitter over a doubling bound: `attempt` counts from 0; the first two come within 250 ms, none after 30 s. */
export function backoffMs(attempt: number, random: () => number): number {
  if (attempt < QUICK_ATTEMPTS) return random() * QUICK_MS;
  return random() * Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt - QUICK_ATTEMPTS, 16));
}

/** When to try again, over the life of a client. Times are milliseconds of one clock. */
export interface Reconnect {
  connected(now: number): void;
  /** The connection was lost. `restart`: the gateway said that it is restarting, so it will be back soon. */
  lost(now: number, restart: boolean): void;
  /** Milliseconds until the next attempt; counts it. */
  next(now: number): number;
}

export function createReconnect(random: () => number): Reconnect {
  let attempt = 0;
  let since: number | null = null;
  let restart_until = 0;
  return {
    connected(now) {
      since = now;
      restart_until = 0;
    },
    lost(now, restart) {
      if (since !== null && now - since >= STEADY_MS) attempt = 0;
      since = null;
      if (restart) restart_until = now + RESTART_WINDOW_MS;
    },
    next(now) {
      if (now < restart_until) return RESTART_STEP_MS * (0.5 + random());
      return backoffMs(attempt++, random);
    },
  };
}
