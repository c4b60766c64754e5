import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

test("a gateway that stops while a deleted session is erased leaves the rest to the next start", async () => {
  const limits = { ...DEFAULT_LIMITS, maintenance_rows: 1 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const scene = await startEngine({ store, limits });
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  for (let i = 0; i < 20; i++)
    await socket.request("chat.inject", { session_id: "s", role: "user", content: `${i}` });
  const erases = (): number => faults.groups.flat().filter(({ kind }) => kind === "erase").length;
  await socket.request("session.delete", { session_id: "s" });
  const release = faults.hold();
  await until(() => erases() === 1);
  const drained = scene.engine.drain(0);
  await new Promise((resolve) => setImmediate(resolve));
  release();
  await drained;
  scene.engine.journal.stop();
  expect(erases()).toBe(1);
  await store.close();
  const opened = await store.open();
  expect(opened.deleting).toHaveLength(1);
  const next = await startEngine({ store: { ...store, open: async () => opened }, limits });
  await until(() => next.engine.journal.queue_length === 0 && erases() > 1);
  await next.engine.maintenance.run();
  await next.close();
  expect(scene.fatal.error).toBeNull();
});
