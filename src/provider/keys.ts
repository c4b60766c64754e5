import type { Clock, Logger } from "../core/ports.ts";

/** One of a provider's keys; "" where it has none. */
export interface Key {
  readonly value: string;
}

export interface KeysOptions {
  readonly provider: string;
  readonly values: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** The keys of a provider, used in turn; one that is limited or refused is passed over for a while. */
export interface Keys {
  /**
   * The next one for a call that has tried those. With none tried there always is one, if only the one that is free
   * soonest; else null where no other is free.
   */
  take(tried: ReadonlySet<Key>): Key | null;
  /** It has asked for too much: it is free again after `ms`, where the upstream said so. */
  limited(key: Key, ms: number | null): void;
  /** It is not let in, or has nothing left. Said once, until it is taken again. @param why in a word or two */
  refused(key: Key, why: string): void;
  /** A call with it was let in. */
  worked(key: Key): void;
}

/** Where a server that limits requests does not say for how long. */
const LIMITED_MS = 5_000;
/** No upstream gets to keep a key out for longer, and one that is refused is tried again after so long. */
const LONGEST_MS = 10 * 60_000;

interface State extends Key {
  /** Monotonic milliseconds. */
  free_at: number;
  isRefused: boolean;
}

export function createKeys({ provider, values, clock, log }: KeysOptions): Keys {
  const keys: State[] = (values.length === 0 ? [""] : values).map((value) => {
    return { value, free_at: Number.NEGATIVE_INFINITY, isRefused: false };
  });
  let turn = 0;
  const stateOf = (key: Key): State | undefined => keys.find((each) => each === key);
  const place = (key: Key): string => `key ${keys.findIndex((each) => each === key) + 1} of ${keys.length}`;

  return {
    take(tried) {
      const now = clock.monotonic();
      for (let i = 0; i < keys.length; i++) {
        const at = (turn + i) % keys.length;
        const key = keys[at];
        if (key === undefined || tried.has(key) || key.free_at > now) continue;
        turn = at + 1;
        return key;
      }
      if (tried.size > 0) return null;
      return keys.toSorted((a, b) => a.free_at - b.free_at)[0] ?? null;
    },
    limited(key, ms) {
      const state = stateOf(key);
      if (state === undefined) return;
      state.free_at = clock.monotonic() + Math.min(ms ?? LIMITED_MS, LONGEST_MS);
      log.debug({ provider, ms }, `${place(key)} is limited`);
    },
    refused(key, why) {
      const state = stateOf(key);
      if (state === undefined) return;
      state.free_at = clock.monotonic() + LONGEST_MS;
      // With a single key the run that fails says it.
      if (!state.isRefused && keys.length > 1) {
        log.warn({ provider }, `${place(key)} of provider ${provider} ${why}; the others are used`);
      }
      state.isRefused = true;
    },
    worked(key) {
      const state = stateOf(key);
      if (state === undefined) return;
      if (state.isRefused && keys.length > 1)
        log.info({ provider }, `${place(key)} of provider ${provider} works again`);
      state.isRefused = false;
      state.free_at = Number.NEGATIVE_INFINITY;
    },
  };
}
