import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** Ann, whose credential a test ends; look-ups of a session by its name wait while `slow` is set. */
async function stage() {
  const memory = createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS });
  const slow: { gate: Promise<void> | null } = { gate: null };
  const store: Store = {
    ...memory,
    named: async (...args) => {
      await slow.gate;
      return memory.named(...args);
    },
  };
  const ended = { users: new Set<string>() };
  const scene = await startEngine({ store, isLive: ({ user }) => !ended.users.has(user) });
  const ann = scene.connect("ann");
  await ann.request("session.create", { session_id: "s" });
  return { ...scene, ann, slow, end: () => ended.users.add("ann") };
}

test("a request of somebody whose credential has ended is not begun", async () => {
  const { ann, end, close } = await stage();
  end();
  for (const method of ["system.info", "session.list", "chat.send"]) {
    await expect(ann.request(method, {})).rejects.toMatchObject({ reason: "UNAUTHORIZED" });
  }
  // What does not exist tells nothing of who may come in.
  await expect(ann.request("no.such", {})).rejects.toMatchObject({ reason: "NOT_FOUND" });
  await close();
});

test("one that is under way when the credential ends writes nothing, and gives back what it reserved", async () => {
  const writes: [string, Record<string, unknown>][] = [
    ["chat.send", { session_id: "new", message: "hi" }],
    ["chat.send", { session_id: "new", message: "hi", idempotency_key: "k" }],
    ["session.create", { session_id: "new" }],
  ];
  for (const [method, params] of writes) {
    const { ann, end, slow, store, engine, connect, close } = await stage();
    const gate = Promise.withResolvers<void>();
    slow.gate = gate.promise;
    const asked = ann.request(method, params);
    asked.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    end();
    gate.resolve();
    await expect(asked).rejects.toMatchObject({ reason: "UNAUTHORIZED" });
    await engine.journal.drained();
    expect(await store.named("ann", "new")).toBeNull();
    expect(await store.idempotency("ann", "k")).toBeNull();
    expect(engine.runs.lanes.running + engine.runs.lanes.queued).toBe(0);
    expect(await connect("bob").request("session.create", { session_id: "new" })).toMatchObject({
      owner: "bob",
    });
    await close();
  }
});

test("the name that was reserved for it is free at once", async () => {
  const { ann, end, slow, engine, close } = await stage();
  const gate = Promise.withResolvers<void>();
  slow.gate = gate.promise;
  const asked = ann.request("session.create", { session_id: "new" });
  asked.catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  end();
  gate.resolve();
  await expect(asked).rejects.toMatchObject({ reason: "UNAUTHORIZED" });
  expect(engine.directory.known("ann", "new")).toBeNull();
  await close();
});

test("a fork that is being copied is given up, so that nothing new is owned by somebody who is being deleted", async () => {
  const limits = { ...DEFAULT_LIMITS, maintenance_rows: 5 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const ended = new Set<string>();
  const scene = await startEngine({ store, limits, isLive: ({ user }) => !ended.has(user) });
  const [ann, bob] = [scene.connect("ann"), scene.connect("bob")];
  for (let i = 0; i < 40; i++) {
    await ann.request(i === 0 ? "chat.send" : "chat.inject", {
      session_id: "s",
      ...(i === 0 ? { message: "go" } : { role: "user", content: `${i}` }),
    });
  }
  await ann.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  const { id } = (await store.named("ann", "s")) as { id: string };
  const release = faults.hold();
  const forked = bob.request("session.fork", { session_id: id }).then(
    () => "forked",
    (error: { reason: string }) => error.reason,
  );
  await until(() => faults.groups.at(-1)?.some(({ kind }) => kind === "copy") === true, "it is copied");
  ended.add("bob");
  release();
  expect(await forked).toBe("UNAUTHORIZED");
  await until(() => scene.engine.journal.queue_length === 0);
  await scene.engine.journal.drained();
  expect((await store.owners()).map(({ user }) => user)).toEqual(["ann"]);
  await scene.close();
});
