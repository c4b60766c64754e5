import { afterEach, expect, test } from "bun:test";
import { Owed } from "../../src/core/owed.ts";
import { Retention } from "../../src/method/retention.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { manualClock } from "../support/clock.ts";
import type { Script, TestEngine } from "../support/engine.ts";
import { says, startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";
import { createLogbook } from "../support/logbook.ts";

const DAY_MS = 86_400_000;
const world: TestEngine[] = [];
afterEach(async () => {
  for (const scene of world.splice(0)) await scene.close();
});

async function stage({ days = 30, script = says("hi") }: { days?: number; script?: Script } = {}) {
  const clock = manualClock();
  const { store, faults } = withFaults(createMemoryStore({ clock, limits: DEFAULT_LIMITS }));
  const scene = await startEngine({ clock, store, script });
  world.push(scene);
  const log = createLogbook();
  const settings = { days };
  const owed = new Owed();
  const { engine } = scene;
  const retention = new Retention({ ...engine, owed, log, days: () => settings.days });
  const make = async (session_id: string, user = "owner"): Promise<void> => {
    await scene.connect(user).request("session.create", { session_id });
  };
  const names = async (user = "owner"): Promise<string[]> => {
    const rows = await store.sessions({ user, shared: [], limit: 1_000 });
    return rows.map(({ name }) => name ?? "").toSorted();
  };
  /** A look, and what it set off. */
  const look = async (): Promise<void> => {
    await retention.run();
    clock.advance(1);
    await engine.journal.drained();
    await engine.maintenance.run();
  };
  return { ...scene, clock, faults, log, owed, settings, retention, make, names, look };
}

test("what nobody has used for so long is deleted as by hand: followers, the trail, the log and a counter have it", async () => {
  const scene = await stage();
  const watcher = scene.connect();
  await scene.make("old");
  await scene.make("other", "bob");
  await watcher.request("session.subscribe", { session_id: "old", after: 0 });
  const old = await scene.store.named("owner", "old");
  if (old === null || old === "gone") throw new Error("it was made");
  scene.clock.jump(29 * DAY_MS);
  await scene.make("new");
  await scene.look();
  expect(await scene.names()).toEqual(["new", "old"]);
  scene.clock.jump(DAY_MS + 1);
  await scene.look();
  expect(await scene.names()).toEqual(["new"]);
  expect(await scene.names("bob")).toEqual([]);
  expect(await scene.store.named("owner", "old")).toBe("gone");
  await until(() => watcher.frames().some(({ event }) => event === "session.unsubscribed"));
  expect(watcher.events().at(-1)).toMatchObject({ event: "session.closed", payload: { reason: "deleted" } });
  const trail = await scene.store.audit({ limit: 10, action: "session.expire" });
  expect(trail.map(({ user }) => user).toSorted()).toEqual(["bob", "owner"]);
  const entry = trail.find(({ user }) => user === "owner");
  expect(entry).toMatchObject({ target: old.id, outcome: "ok" });
  expect(JSON.parse(entry?.details ?? "")).toEqual({ updated_at: old.updated_at, reason: "retention_days" });
  expect(scene.engine.stats.sessions_expired.age).toBe(2);
  expect(scene.log.lines).toEqual([
    {
      level: "info",
      fields: { sessions: 2, retention_days: 30 },
      message: "sessions in which nothing had happened were deleted",
    },
  ]);
});

test("nothing goes at 0, and another value counts at the next look", async () => {
  const scene = await stage({ days: 0 });
  await scene.make("old");
  scene.clock.jump(1_000 * DAY_MS);
  await scene.look();
  expect(await scene.names()).toEqual(["old"]);
  scene.settings.days = 1_001;
  await scene.look();
  expect(await scene.names()).toEqual(["old"]);
  scene.settings.days = 999;
  await scene.look();
  expect(await scene.names()).toEqual([]);
});

test("one that is answering stays, however old, and goes once it is old and done", async () => {
  const go = Promise.withResolvers<void>();
  const scene = await stage({
    async *script() {
      await go.promise;
      yield { type: "text", text: "at last" };
      yield { type: "done", finish_reason: "stop" };
    },
  });
  await scene.make("busy");
  await scene.connect().request("chat.send", { session_id: "busy", message: "hi" });
  // The time of the run is not that of its session.
  scene.clock.jump(60 * DAY_MS);
  await scene.look();
  expect(await scene.names()).toEqual(["busy"]);
  expect(scene.engine.runs.lanes.running).toBe(1);
  go.resolve();
  await scene.engine.runs.settled();
  await scene.look();
  // Its end is what happened last.
  expect(await scene.names()).toEqual(["busy"]);
  for (let days = 0; days <= 30; days++) {
    scene.clock.jump(DAY_MS);
    await scene.engine.maintenance.time.now();
  }
  await scene.look();
  expect(await scene.names()).toEqual([]);
});

test("a message that is on its way while it is looked keeps its session", async () => {
  const scene = await stage();
  await scene.make("s");
  scene.clock.jump(31 * DAY_MS);
  const release = scene.faults.hold();
  const before = scene.faults.groups.length;
  const said = scene.connect().request("chat.inject", { session_id: "s", role: "user", content: "me" });
  await until(() => scene.faults.groups.length > before);
  const looked = scene.retention.run();
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await said;
  await looked;
  expect(await scene.names()).toEqual(["s"]);
  expect(scene.engine.stats.sessions_expired.age).toBe(0);
  await scene.look();
  expect(await scene.names()).toEqual(["s"]);
});

test("the log of one that webhooks are owed something of stays until they have it", async () => {
  const scene = await stage();
  await scene.make("owed");
  const row = await scene.store.named("owner", "owed");
  if (row === null || row === "gone") throw new Error("it was made");
  const data = JSON.stringify({ since: 0, cursors: {} });
  scene.owed.load([{ collection: "webhook_owed", id: row.id, owner: row.id, data, expires_at: null }]);
  scene.clock.jump(31 * DAY_MS);
  await scene.look();
  expect(await scene.names()).toEqual(["owed"]);
  scene.owed.forget(row.id);
  await scene.look();
  expect(await scene.names()).toEqual([]);
});

test("one look deletes so many, and the next ones the rest, of everybody", async () => {
  const scene = await stage();
  for (let i = 0; i < 230; i++) await scene.make(`s${i}`, i % 2 === 0 ? "ann" : "bob");
  scene.clock.jump(31 * DAY_MS);
  await scene.look();
  expect(scene.engine.stats.sessions_expired.age).toBe(200);
  await scene.look();
  expect([...(await scene.names("ann")), ...(await scene.names("bob"))]).toEqual([]);
  expect(await scene.store.totals()).toMatchObject({ sessions: 0 });
});

test("while storage refuses nothing is deleted and nothing is lost by it", async () => {
  const scene = await stage();
  await scene.make("old");
  scene.clock.jump(31 * DAY_MS);
  scene.faults.outage("full");
  await scene.retention.run();
  expect(scene.engine.journal.refused).not.toBeNull();
  expect(await scene.names()).toEqual(["old"]);
  scene.faults.outage(null);
  scene.clock.advance(60_000);
  await until(() => scene.engine.journal.refused === null);
  await scene.look();
  expect(await scene.names()).toEqual([]);
});
