import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";

/** How long an answer takes is how often the store is asked for it. */

/** The same store, which counts what is read. */
function withCount(store: Store): { readonly store: Store; readonly reads: () => number } {
  let reads = 0;
  const counted = <A extends unknown[], R>(read: (...args: A) => R): ((...args: A) => R) => {
    return (...args) => {
      reads++;
      return read(...args);
    };
  };
  return {
    store: {
      ...store,
      session: counted(store.session),
      named: counted(store.named),
      deleted: counted(store.deleted),
      run: counted(store.run),
    },
    reads: () => reads,
  };
}

test("what is another's takes as many reads as what is not there", async () => {
  const { store, reads } = withCount(createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS }));
  const gate = Promise.withResolvers<void>();
  const scene = await startEngine({
    store,
    async *script() {
      await gate.promise;
      yield { type: "done", finish_reason: "stop" };
    },
  });
  const ann = scene.connect("ann");
  const eve = scene.connect("eve");
  const { session_id } = await ann.request<{ session_id: string }>("session.create", {});
  const { run_id } = await ann.request<{ run_id: string }>("chat.send", { session_id, message: "hi" });
  await until(() => ann.sent.some((frame) => frame.includes('"run.started"')));

  const none = { session_id: `ses_${"0".repeat(26)}`, run_id: `run_${"0".repeat(26)}` };
  const there = { session_id, run_id };
  const asked: [string, keyof typeof none, object?][] = [
    ["session.get", "session_id"],
    ["session.update", "session_id", { title: "mine" }],
    ["session.delete", "session_id"],
    ["session.subscribe", "session_id"],
    ["chat.history", "session_id"],
    ["chat.send", "session_id", { message: "hello" }],
    ["chat.inject", "session_id", { role: "user", content: "hello" }],
    ["chat.abort", "session_id"],
    ["chat.abort", "run_id"],
    ["run.get", "run_id"],
    ["run.wait", "run_id"],
    ["run.list", "session_id"],
  ];
  const cost = async (method: string, params: Record<string, unknown>): Promise<number> => {
    const before = reads();
    await expect(eve.request(method, params)).rejects.toMatchObject({ reason: "NOT_FOUND" });
    return reads() - before;
  };
  for (const state of ["running", "ended"]) {
    for (const [method, field, more = {}] of asked) {
      const costs = [
        await cost(method, { [field]: there[field], ...more }),
        await cost(method, { [field]: none[field], ...more }),
      ];
      expect([state, method, field, costs[0]]).toEqual([state, method, field, costs[1]]);
    }
    gate.resolve();
    await until(() => ann.sent.some((frame) => frame.includes('"run.completed"')));
  }
  await scene.close();
});
