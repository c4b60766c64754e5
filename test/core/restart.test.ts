import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { AppendItem, StoreItem } from "../../src/core/operation.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

const isEnd = (item: StoreItem): item is AppendItem =>
  item.kind === "append" && item.events.some(({ type }) => type === "run.interrupted");

/** A store with `sessions` sessions, each with one run that has written some text and others that wait. */
async function leave(sessions: number, runs: number) {
  const limits = { ...DEFAULT_LIMITS, tails_idle: 50 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  await store.open();
  for (let s = 0; s < sessions; s++) {
    const id = `ses_${s}`;
    const settings = { title: "", model: null, system_prompt: null, metadata: "{}", created_at: 1 };
    const create = {
      kind: "session.create",
      owner: "ann",
      name: null,
      epoch: "aaaaaaaa",
      ...settings,
    } as const;
    const event = (type: string, run_id: string, payload: object) => {
      return { type, ts: 1, run_id, payload: JSON.stringify(payload) };
    };
    const items: AppendItem[] = [];
    for (let r = 0; r < runs; r++) {
      const run_id = `run_${s}_${r}`;
      const status = r === 0 ? ("running" as const) : ("queued" as const);
      const run = {
        run_id,
        status,
        model: "test/model",
        origin: { transport: "ws", client_id: "c" },
        created_at: 1,
      };
      const rows: AppendItem["rows"][number][] = r === 0 ? [{ ...create, revive: true }] : [];
      const events = [event("run.queued", run_id, { run })];
      rows.push({ kind: "run.put", event: 0, run_id, status, created_at: 1, data: JSON.stringify(run) });
      if (r === 0) {
        const message_id = `msg_${s}`;
        const delta = { message_id, part: 0, kind: "text", off: 0, text: "so far" };
        const message = {
          message_id,
          role: "assistant",
          status: "streaming",
          content: "",
          parts: [],
          run_id,
        };
        const data = JSON.stringify({ ...message, timestamp: 1, metadata: {} });
        events.push(event("message.started", run_id, { message_id, role: "assistant", model: "test/model" }));
        events.push(event("message.delta", run_id, delta));
        const put = { message_id, role: "assistant", status: "streaming", run_id, data } as const;
        rows.push({ kind: "message.put", event: 1, ...put });
      }
      items.push({ kind: "append", session: id, run: run_id, ack: true, events, rows });
    }
    await store.commit(items);
  }
  return { store, faults, limits };
}

test("10,000 runs that were left are ended at the start, in groups, in order, and hold no memory", async () => {
  const [sessions, runs] = [625, 16];
  const { store, faults, limits } = await leave(sessions, runs);
  const before = faults.groups.length;
  const scene = await startEngine({ store, limits });
  const ends = faults.groups.slice(before).map((group) => group.filter(isEnd));
  expect(Math.max(...ends.map((group) => group.length))).toBeLessThanOrEqual(200);
  const ended = ends.flat().flatMap(({ run }) => run ?? []);
  expect(ended).toHaveLength(sessions * runs);
  expect(new Set(ended).size).toBe(sessions * runs);
  for (const s of [0, 300, 624]) {
    expect(ended.filter((run) => run.startsWith(`run_${s}_`))).toEqual(
      Array.from({ length: runs }, (_, r) => `run_${s}_${r}`),
    );
    const page = await store.page(`ses_${s}`, 0, 1_000);
    expect(page?.events.map(({ type }) => type).slice(runs + 2, runs + 5)).toEqual([
      "message.completed",
      "run.interrupted",
      "run.interrupted",
    ]);
  }
  expect(scene.engine.journal.tails.size).toBeLessThanOrEqual(50 + 512);
  await scene.close();
});

test("storage that refuses at the start is waited for: nothing is served before every end is written", async () => {
  const { store, faults, limits } = await leave(3, 2);
  const before = faults.groups.length;
  faults.refuse("full", 1);
  faults.refuse("busy", 3);
  const scene = await startEngine({ store, limits });
  const ended = new Set(
    faults.groups
      .slice(before)
      .flat()
      .filter(isEnd)
      .map(({ run }) => run),
  );
  expect(ended.size).toBe(6);
  expect((await store.open()).unended).toEqual([]);
  await scene.close();
});

test("a stop while storage refuses ends: runs are given up to the next start, and nothing is left waiting", async () => {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const scene = await startEngine({
    store,
    limits,
    script: async function* (_request, signal) {
      yield { type: "text", text: "so far" };
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      yield { type: "aborted" };
    },
  });
  const socket = scene.connect();
  await socket.request("chat.send", { session_id: "s", message: "one" });
  await socket.request("chat.send", { session_id: "s", message: "two" });
  await until(() => socket.events().some(({ event }) => event === "message.delta"));
  faults.outage("full");
  const waits = socket.request("run.wait", {
    run_id: scene.engine.runs.of([...socket.subscriptions.keys()][0] ?? "")[0]?.run_id,
  });
  const drained = scene.engine.drain(0);
  await until(() => scene.engine.journal.refused !== null);
  expect(await Promise.race([drained, Promise.resolve("waits")])).toBe("waits");
  scene.engine.journal.stop();
  await drained;
  expect(await waits).toMatchObject({ status: "running" });
  expect(scene.engine.runs.lanes.running).toBe(0);
  faults.outage(null);
  await store.close();
  const opened = await store.open();
  expect(opened.unended.map(({ run }) => run.status)).toEqual(["running", "queued"]);
});
