import { afterEach, expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { Owed } from "../../src/core/owed.ts";
import type { Store } from "../../src/core/store.ts";
import { Retention } from "../../src/method/retention.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { TestEngine } from "../support/engine.ts";
import { startEngine } from "../support/engine.ts";
import { createLogbook } from "../support/logbook.ts";

/** A clock that is far ahead deletes nothing. */

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;
const world: TestEngine[] = [];
afterEach(async () => {
  for (const scene of world.splice(0)) await scene.close();
});

async function start(clock: ManualClock, store: Store) {
  const log = createLogbook();
  const scene = await startEngine({ clock, store, log });
  world.push(scene);
  const { engine } = scene;
  const retention = new Retention({ ...engine, owed: new Owed(), log, days: () => 30 });
  return {
    warned: () => log.lines.filter(({ level }) => level === "warn").length,
    make: (session_id: string) => scene.connect().request("session.create", { session_id }),
    async names(): Promise<string[]> {
      await engine.maintenance.run();
      await retention.run();
      await engine.journal.drained();
      const rows = await store.sessions({ user: "owner", shared: [], limit: 10 });
      return rows.map(({ name }) => name ?? "").toSorted();
    },
    async stop(): Promise<void> {
      await retention.close();
      await scene.engine.drain(0);
      scene.engine.journal.stop();
    },
  };
}

/** Days go by, and the clock is looked at. */
async function pass(clock: ManualClock, days: number, look: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < days * 2; i++) {
    clock.jump(DAY_MS / 2);
    await look();
  }
}

function stage(): { clock: ManualClock; store: Store } {
  const clock = manualClock();
  return { clock, store: createMemoryStore({ clock, limits: DEFAULT_LIMITS }) };
}

test("a clock that leaps ahead while it runs deletes nothing, and nothing once it is set right", async () => {
  const { clock, store } = stage();
  const scene = await start(clock, store);
  await scene.make("old");
  await pass(clock, 20, scene.names);
  await scene.make("new");
  await scene.names();
  clock.jump(2 * YEAR_MS);
  await pass(clock, 2, scene.names);
  expect([await scene.names(), scene.warned()]).toEqual([["new", "old"], 1]);
  clock.jump(-2 * YEAR_MS);
  expect(await scene.names()).toEqual(["new", "old"]);
  await pass(clock, 9, scene.names);
  expect([await scene.names(), scene.warned()]).toEqual([["new"], 1]);
});

test("what grew old by the time before the leap goes meanwhile", async () => {
  const { clock, store } = stage();
  const scene = await start(clock, store);
  await scene.make("old");
  await pass(clock, 29, scene.names);
  await scene.make("new");
  await scene.names();
  clock.jump(2 * YEAR_MS);
  await pass(clock, 2, scene.names);
  expect(await scene.names()).toEqual(["new"]);
});

test("a leap that is there at a start is one, over restarts, and is believed after three days", async () => {
  const { clock, store } = stage();
  let scene = await start(clock, store);
  await scene.make("one");
  await scene.names();
  await scene.stop();
  clock.jump(YEAR_MS);
  scene = await start(clock, store);
  expect([await scene.names(), scene.warned()]).toEqual([["one"], 1]);
  await scene.stop();
  clock.jump(DAY_MS);
  scene = await start(clock, store);
  expect([await scene.names(), scene.warned()]).toEqual([["one"], 0]);
  await pass(clock, 1.5, scene.names);
  expect(await scene.names()).toEqual(["one"]);
  await pass(clock, 1, scene.names);
  expect(await scene.names()).toEqual([]);
});

test("where nothing was kept of the time, the audit trail tells what it was", async () => {
  const { clock, store } = stage();
  let scene = await start(clock, store);
  await scene.make("one");
  const entry = { action: "login", user: "owner", outcome: "ok" };
  const { engine } = world[0] as TestEngine;
  engine.audit.record(entry);
  await engine.journal.drained();
  await scene.stop();
  clock.jump(YEAR_MS);
  scene = await start(clock, store);
  expect([await scene.names(), scene.warned()]).toEqual([["one"], 1]);
});
