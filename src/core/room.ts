import type { Clock, Logger } from "./ports.ts";
import type { Store, StoreRoom } from "./store.ts";

/** From this part on it is told. */
const WARNS = 0.8;
/** Below this one what was told is over: without a gap a database at the edge would tell it all day. */
const CALMS = 0.75;
/** How often it is told again. */
const AGAIN_MS = 6 * 3_600_000;

/** From this part on room is made. Files are refused there, too. */
const TIGHT = 0.9;

/** Whether room has to be made. */
export function isTight(room: StoreRoom | null): boolean {
  return room !== null && partOf(room) >= TIGHT;
}

/** Whether a bounded store is so full that somebody has to be told. */
export function isNearlyFull(room: StoreRoom | null): boolean {
  return room !== null && partOf(room) >= WARNS;
}

/** How much of a bounded store is used, 0 to 1. */
function partOf({ used_bytes, max_bytes }: StoreRoom): number {
  return used_bytes / max_bytes;
}

/** Looks at how full a bounded store is, and says so before it refuses. */
export class RoomWatch {
  readonly #options: { readonly store: Store; readonly clock: Clock; readonly log: Logger };
  /** When it was told; null: it is not over the bound. */
  #told_at: number | null = null;
  /** As of the last look; null: it has no bound of its own. */
  last: StoreRoom | null = null;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly log: Logger }) {
    this.#options = options;
  }

  async look(): Promise<StoreRoom | null> {
    const { store, clock, log } = this.#options;
    const room = await store.room();
    this.last = room;
    if (room === null || partOf(room) < CALMS) this.#told_at = null;
    const again = this.#told_at === null || clock.now() - this.#told_at >= AGAIN_MS;
    if (room !== null && isNearlyFull(room) && again) {
      this.#told_at = clock.now();
      const facts = { ...room, percent: Math.floor(partOf(room) * 100) };
      log.warn(
        facts,
        "the database is nearly as large as storage.max_bytes lets it be: raise that, set storage.retention_days, or delete sessions",
      );
    }
    return room;
  }
}
