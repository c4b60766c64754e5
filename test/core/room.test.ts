import { expect, test } from "bun:test";
import { isNearlyFull, RoomWatch } from "../../src/core/room.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { manualClock } from "../support/clock.ts";
import { createLogbook } from "../support/logbook.ts";

test("a store that is four fifths full is told once, and again after it was emptier or some hours", async () => {
  const clock = manualClock();
  const log = createLogbook();
  const full = { used_bytes: 0, max_bytes: 1_000 };
  const store = { ...createMemoryStore({ clock, limits: DEFAULT_LIMITS }), room: async () => ({ ...full }) };
  const watch = new RoomWatch({ store, clock, log });
  const told = async (used_bytes: number): Promise<number> => {
    full.used_bytes = used_bytes;
    expect(await watch.look()).toEqual({ used_bytes, max_bytes: 1_000 });
    expect(watch.last).toEqual({ used_bytes, max_bytes: 1_000 });
    return log.lines.splice(0).length;
  };
  expect(await told(799)).toBe(0);
  full.used_bytes = 805;
  await watch.look();
  expect(log.lines.splice(0)).toMatchObject([
    { level: "warn", fields: { used_bytes: 805, max_bytes: 1_000, percent: 80 } },
  ]);
  expect(await told(900)).toBe(0);
  // At the edge it is not told each time.
  expect(await told(790)).toBe(0);
  expect(await told(810)).toBe(0);
  expect(await told(740)).toBe(0);
  expect(await told(810)).toBe(1);
  clock.advance(6 * 3_600_000);
  expect(await told(810)).toBe(1);
  expect(isNearlyFull({ used_bytes: 800, max_bytes: 1_000 })).toBe(true);
  expect(isNearlyFull({ used_bytes: 799, max_bytes: 1_000 })).toBe(false);
  expect(isNearlyFull(null)).toBe(false);
});
