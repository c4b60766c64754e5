import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";

/** Snapshots that are read from the store are counted, and how many at once. */
async function stage(gate: Promise<void> | null = null) {
  const limits = { ...DEFAULT_LIMITS, store_reads: 3 };
  const memory = createMemoryStore({ clock: systemClock, limits });
  const reads = { all: 0, now: 0, most: 0 };
  const store: Store = {
    ...memory,
    async snapshot(...args) {
      reads.all++;
      reads.most = Math.max(reads.most, ++reads.now);
      await gate;
      const rows = await memory.snapshot(...args);
      reads.now--;
      return rows;
    },
  };
  const scene = await startEngine({ store, limits: { store_reads: limits.store_reads } });
  return { ...scene, reads };
}

test("a storm of readers costs one snapshot, and one more where the tail does not continue it", async () => {
  const scene = await stage();
  const owner = scene.connect();
  await owner.request("session.create", { session_id: "s" });
  const open = () => scene.connect().request("session.subscribe", { session_id: "s" });
  const opened = await Promise.all(Array.from({ length: 100 }, open));
  expect(scene.reads.all).toBe(1);
  expect(new Set(opened.map((each) => JSON.stringify(each))).size).toBe(1);
  await owner.request("chat.inject", { session_id: "s", role: "user", content: "x" });
  expect(await open()).toMatchObject({ from: 1, head: 2 });
  expect(scene.reads.all).toBe(1);
  const [id = ""] = [...(owner.subscriptions.keys() as Iterable<string>)];
  const row = (await scene.store.named("owner", "s")) as { id: string };
  scene.engine.journal.tails.peek(id === "" ? row.id : id)?.shrink(0, 0);
  expect(await open()).toMatchObject({ from: 2, head: 2 });
  expect(scene.reads.all).toBe(2);
  await scene.close();
});

test("snapshots of many sessions are not kept for ever: they weigh no more than 16 MiB", async () => {
  const scene = await stage();
  const owner = scene.connect();
  const content = "x".repeat(100_000);
  const sessions = 120;
  for (let i = 0; i < sessions; i++) {
    await owner.request("session.create", { session_id: `s${i}` });
    await owner.request("chat.inject", { session_id: `s${i}`, role: "user", content });
  }
  const open = async (session_id: string) => {
    const reader = scene.connect();
    await reader.request("session.subscribe", { session_id });
    reader.close();
  };
  for (let i = 0; i < sessions; i++) await open(`s${i}`);
  expect(scene.reads.all).toBe(sessions);
  // A snapshot has its text twice, as content and as a part: the newest 80 or so are kept.
  await open(`s${sessions - 1}`);
  await open(`s${sessions - 40}`);
  expect(scene.reads.all).toBe(sessions);
  await open("s0");
  expect(scene.reads.all).toBe(sessions + 1);
  await scene.close();
});

test("only so many store reads are made for readers at once", async () => {
  const gate = Promise.withResolvers<void>();
  const scene = await stage(gate.promise);
  const owner = scene.connect();
  const ids = Array.from({ length: 10 }, (_, i) => `s${i}`);
  for (const session_id of ids) await owner.request("session.create", { session_id });
  const opened = ids.map((session_id) => scene.connect().request("session.subscribe", { session_id }));
  await new Promise((resolve) => setImmediate(resolve));
  gate.resolve();
  await Promise.all(opened);
  expect([scene.reads.all, scene.reads.most]).toEqual([10, 3]);
  await scene.close();
});

test("a snapshot that is kept does not keep the tail it was made of", async () => {
  const scene = await stage();
  const owner = scene.connect();
  const tails: WeakRef<object>[] = [];
  for (let i = 0; i < 100; i++) {
    await owner.request("session.create", { session_id: `s${i}` });
    await owner.request("session.subscribe", { session_id: `s${i}` });
    await owner.request("session.unsubscribe", { session_id: `s${i}` });
    const row = (await scene.store.named("owner", `s${i}`)) as { id: string };
    tails.push(new WeakRef(scene.engine.journal.tails.peek(row.id) as object));
    scene.engine.journal.tails.forget(row.id);
  }
  const alive = (): number => tails.filter((tail) => tail.deref() !== undefined).length;
  // What a stack or a register still names is not collected: a few may stay.
  await until(() => {
    Bun.gc(true);
    return alive() < 20;
  }, "tails that were dropped are collected");
  await scene.close();
});
