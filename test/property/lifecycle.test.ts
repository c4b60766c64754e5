import { test } from "bun:test";
import fc from "fast-check";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { says, startEngine } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";
import type { Step } from "./lifecycle.play.ts";
import { Play, step } from "./lifecycle.play.ts";

/** A store that answers late. */
function late(store: Store, turns: readonly number[]): Store {
  let next = 0;
  const wait = async <T>(work: Promise<T>): Promise<T> => {
    const result = await work;
    for (let i = turns[next++ % turns.length] ?? 0; i > 0; i--)
      await new Promise((resolve) => setImmediate(resolve));
    return result;
  };
  return {
    ...store,
    page: (...args) => wait(store.page(...args)),
    snapshot: (...args) => wait(store.snapshot(...args)),
    history: (...args) => wait(store.history(...args)),
    context: (...args) => wait(store.context(...args)),
    session: (...args) => wait(store.session(...args)),
    named: (...args) => wait(store.named(...args)),
    idempotency: (...args) => wait(store.idempotency(...args)),
    commit: (...args) => wait(store.commit(...args)),
  };
}

/** So tight that a few steps reach them. */
const TIGHT = {
  delta_window_ms: 0,
  maintenance_rows: 7,
  queued_runs: 4,
  tails_idle: 1,
  tail_events: 5,
  page_events: 3,
  far_events: 10,
  store_reads: 2,
  snapshot_messages: 3,
  history_bytes: 500,
  group_operations: 3,
  journal_queue_bytes: 6_000,
  messages_per_session: 30,
  sessions_per_user: 6,
  keys_per_user: 5,
};

async function play(steps: readonly Step[], turns: readonly number[]): Promise<void> {
  const retry = { storage_retry_min_ms: 1, storage_retry_max_ms: 2 };
  const limits = { ...DEFAULT_LIMITS, ...retry, ...TIGHT };
  const memory = createMemoryStore({ clock: systemClock, limits });
  const { store, faults } = withFaults(late(memory, turns));
  const scene = await startEngine({ store, limits, script: says("a", "b", "c"), max_concurrent_runs: 1 });
  const game = new Play(scene, faults);
  await game.begin();
  for (const each of steps) await game.act(each);
  await game.end();
  await scene.close();
}

const cases = Number(Bun.env["AGENTBUS_TEST_CASES"] ?? 150);
test(
  "any schedule of messages, deletions, shares, forks, drops and outages leaves nothing waiting, held, doubled or told",
  async () => {
    const turns = fc.array(fc.nat({ max: 5 }), { minLength: 1, maxLength: 10 });
    const steps = fc.array(step, { minLength: 5, maxLength: 120, size: "max" });
    await fc.assert(fc.asyncProperty(steps, turns, play), {
      numRuns: cases,
      // What waits for ever takes its time to fail; looking for a shorter schedule must not take hours.
      interruptAfterTimeLimit: 60_000 + cases * 50,
    });
  },
  { timeout: 3_600_000 },
);
