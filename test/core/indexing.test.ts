import { expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { Indexing } from "../../src/core/indexing.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what is said in the moment in which the last of it was made findable is not forgotten", async () => {
  for (let ticks = 0; ticks < 8; ticks++) {
    const clock = manualClock();
    const asked = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
    let calls = 0;
    const index = (): Promise<number> => asked[calls++]?.promise ?? Promise.resolve(0);
    const store = { ...createMemoryStore({ clock, limits: DEFAULT_LIMITS }), index };
    const indexing = new Indexing({ store, clock, log: silentLog });
    indexing.touch();
    clock.advance(500);
    asked[0]?.resolve(0);
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
    indexing.touch();
    await turn();
    clock.advance(500);
    await turn();
    expect({ ticks, calls }).toEqual({ ticks, calls: 2 });
    asked[1]?.resolve(0);
    await indexing.close();
  }
});
