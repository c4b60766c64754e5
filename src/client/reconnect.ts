/** Close codes after which a client comes back by itself; every other one means stop. */
const COMES_BACK: ReadonlySet<number> = new Set([1001, 1006, 1011, 1012, 1013, 4008, 4029, 4030]);

const QUICK_ATTEMPTS = 2;
const QUICK_MS = 250;
const CAP_MS = 30_000;
const RESTART_STEP_MS = 500;
const RESTART_WINDOW_MS = 30_000;
/** A connection that held this long was a good one. */
const STEADY_MS = 1_000;
/** So many that were not, one after the other, are taken for accidents. */
const ACCIDENTS = 8;

export function comesBack(code: number): boolean {
  return COMES_BACK.has(code);
}

/** Full jitter over a bound that doubles from `base_ms` to 30 s: `attempt` counts from 0. */
export function backoffMs(attempt: number, base_ms: number, random: () => number): number {
  return random() * Math.min(CAP_MS, base_ms * 2 ** Math.min(attempt, 16));
}

export interface ReconnectOptions {
  readonly delay_ms: number;
  /** 0: no end. */
  readonly max_attempts: number;
  readonly random: () => number;
}

/** When to try again, over the life of a client. Times are milliseconds of one clock. */
export interface Reconnect {
  connected(now: number): void;
  /** The connection was lost. `restart`: the gateway said that it is restarting, so it will be back soon. */
  lost(now: number, restart: boolean): void;
  /** Milliseconds until the next attempt, which it counts; null: there have been enough. */
  next(now: number): number | null;
  /** Everything that failed so far may be different now. */
  renew(): void;
}

export function createReconnect({ delay_ms, max_attempts, random }: ReconnectOptions): Reconnect {
  /** Attempts since the last success. */
  let failures = 0;
  /** Attempts that come quickly. */
  let quick = 0;
  /** Steps of the back-off. */
  let step = 0;
  let accidents = 0;
  let since: number | null = null;
  let restart_until = 0;
  return {
    connected(now) {
      since = now;
      restart_until = 0;
      failures = 0;
    },
    lost(now, restart) {
      if (restart) restart_until = now + RESTART_WINDOW_MS;
      if (since === null) return;
      accidents = now - since >= STEADY_MS ? 0 : accidents + 1;
      since = null;
      // A gateway that takes connections and drops them is not to be asked eight times a second for ever.
      if (accidents > ACCIDENTS) return;
      quick = QUICK_ATTEMPTS;
      step = 0;
    },
    next(now) {
      if (now < restart_until) return RESTART_STEP_MS * (0.5 + random());
      if (max_attempts > 0 && ++failures > max_attempts) return null;
      if (quick > 0) {
        quick--;
        return random() * QUICK_MS;
      }
      return backoffMs(step++, delay_ms, random);
    },
    renew() {
      failures = 0;
      step = 0;
    },
  };
}
