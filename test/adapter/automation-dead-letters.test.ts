import { expect, test } from "bun:test";
import type { DeadLettersOptions } from "../../src/automation/dead-letters.ts";
import { DeadLetters } from "../../src/automation/dead-letters.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

test("a store that does not answer when a webhook was deleted ends nothing", async () => {
  const store = {
    records: () => Promise.reject(new Error("no database")),
    record: () => Promise.resolve(null),
  };
  const options = { store, clock: manualClock(), log: silentLog, limits: { webhook_dead_letters: 1 } };
  const dead = new DeadLetters(options as unknown as DeadLettersOptions);
  expect(await dead.clear("whk_1")).toBeUndefined();
});
