import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { Retention } from "../../src/method/retention.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { temporaryDirectory } from "../adapter/store.sqlite.ts";
import { createLogbook } from "../support/logbook.ts";
import { silentLog, startEngine, until } from "../support/engine.ts";

const MAX_BYTES = 2 * 1024 * 1024;
/** It writes two megabytes, beside everything else that a machine does. */
const TIMEOUT_MS = 60_000;

/** A gateway whose database may have 2 MiB. */
async function stage(data_dir: string) {
  const store = createSqliteStore({
    data_dir,
    durability: "normal",
    clock: systemClock,
    log: silentLog,
    limits: DEFAULT_LIMITS,
    max_bytes: MAX_BYTES,
  });
  const scene = await startEngine({ store });
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  let said = 0;
  const say = async (): Promise<void> => {
    const content = `${said}`.padEnd(20_000, "x");
    await socket.request("chat.inject", { session_id: "s", role: "user", content });
    said++;
  };
  const part = async (): Promise<number> => ((await store.room())?.used_bytes ?? 0) / MAX_BYTES;
  return { ...scene, store, socket, say, part, said: () => said };
}

async function everythingIsThere(scene: Awaited<ReturnType<typeof stage>>): Promise<void> {
  const row = await scene.store.named("owner", "s");
  if (row === null || row === "gone") throw new Error("it was made");
  expect(row.message_count).toBe(scene.said());
  const rows = await scene.store.history(row.id, { limit: 10_000, max_bytes: 1e9 });
  expect(rows?.messages).toHaveLength(scene.said());
}

test(
  "a database near its bound gives up events before their time, and no message",
  async () => {
    await using directory = await temporaryDirectory();
    const scene = await stage(directory.path);
    while ((await scene.part()) < 0.91) await scene.say();
    const { events } = await scene.store.totals();
    await scene.engine.maintenance.run();
    expect(await scene.part()).toBeLessThan(0.9);
    const gone = events - (await scene.store.totals()).events;
    expect(gone).toBeGreaterThan(10);
    expect(scene.engine.stats.events_trimmed_early).toBe(gone);
    await scene.engine.journal.drained();
    const [entry] = await scene.store.audit({ limit: 1, action: "event.trim" });
    expect(JSON.parse(entry?.details ?? "")).toMatchObject({ events: gone, reason: "max_bytes" });
    await scene.say();
    await everythingIsThere(scene);
    expect(await scene.socket.request("system.status", {})).toMatchObject({
      storage: { ok: true, max_bytes: MAX_BYTES, nearly_full: expect.any(Boolean) },
    });
    await scene.close();
  },
  TIMEOUT_MS,
);

test(
  "one that is full takes messages again once there are events to give up",
  async () => {
    await using directory = await temporaryDirectory();
    const scene = await stage(directory.path);
    const refusal = await (async () => {
      for (;;) await scene.say();
    })().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ reason: "UNAVAILABLE" });
    expect(scene.engine.journal.refused).toMatchObject({ reason: "full" });
    await scene.engine.maintenance.run();
    expect(await scene.part()).toBeLessThan(0.95);
    await until(() => scene.engine.journal.refused === null);
    await scene.say();
    await everythingIsThere(scene);
    await scene.close();
  },
  TIMEOUT_MS,
);

test(
  "where events are not enough, archived sessions go, the oldest first, and no other",
  async () => {
    await using directory = await temporaryDirectory();
    const scene = await stage(directory.path);
    const log = createLogbook();
    const retention = new Retention({ ...scene.engine, log, days: () => 0 });
    const make = async (session_id: string, messages: number, archived: boolean): Promise<void> => {
      await scene.socket.request("session.create", { session_id });
      for (let i = 0; i < messages; i++)
        await scene.socket.request("chat.inject", { session_id, role: "user", content: "y".repeat(20_000) });
      if (archived) await scene.socket.request("session.update", { session_id, archived });
    };
    await make("kept", 5, false);
    await make("old", 10, true);
    while ((await scene.part()) < 0.91) {
      await scene.say();
      // What is left are messages.
      if ((await scene.part()) >= 0.91) await scene.engine.maintenance.run();
    }
    await retention.run();
    const rows = await scene.store.sessions({ user: "owner", shared: [], limit: 10 });
    expect(rows.map(({ name }) => name).toSorted()).toEqual(["kept", "s"]);
    expect(scene.engine.stats.sessions_expired).toEqual({ age: 0, room: 1 });
    const [entry] = await scene.store.audit({ limit: 5, action: "session.expire" });
    expect(JSON.parse(entry?.details ?? "")).toMatchObject({ reason: "max_bytes" });
    expect(log.lines).toMatchObject([{ level: "warn", fields: { sessions: 1, max_bytes: MAX_BYTES } }]);
    // It is erased behind the answer.
    while ((await scene.part()) >= 0.9) await new Promise((resolve) => setImmediate(resolve));
    // There is room: nothing more goes.
    await retention.run();
    expect(scene.engine.stats.sessions_expired.room).toBe(1);
    await everythingIsThere(scene);
    await scene.close();
  },
  TIMEOUT_MS,
);
