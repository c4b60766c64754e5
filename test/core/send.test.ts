import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { StoreItem } from "../../src/core/operation.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { ReceivedFrame, Script } from "../support/engine.ts";
import { says, startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

async function stage(script: Script = says("a")) {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0, storage_retry_min_ms: 1, storage_retry_max_ms: 4 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const scene = await startEngine({ store, limits, script });
  return { ...scene, faults };
}

const creates = (item: StoreItem): boolean =>
  item.kind === "append" && item.rows.some((row) => row.kind === "session.create");

const messagesOf = (frames: readonly ReceivedFrame[]) =>
  frames
    .filter(({ event }) => event === "message.created")
    .map(({ payload }) => (payload["message"] as { content: string }).content);

test("several clients that write to one new name at once write to one session", async () => {
  const scene = await stage();
  const sockets = Array.from({ length: 5 }, () => scene.connect());
  const sent = await Promise.all(
    sockets.map((socket, i) => socket.request("chat.send", { session_id: "new", message: `m${i}` })),
  );
  expect(sent.map((each) => each["status"])).toEqual(["started", "queued", "queued", "queued", "queued"]);
  await scene.engine.runs.settled();
  expect(messagesOf(sockets[0]?.events() ?? [])).toEqual(["m0", "m1", "m2", "m3", "m4"]);
  await scene.close();
});

test("a message to a name that is just being made waits for it; of two who make it, one does", async () => {
  const scene = await stage();
  const [a, b, c] = [scene.connect(), scene.connect(), scene.connect()];
  const [made, again, sent] = await Promise.allSettled([
    a.request("session.create", { session_id: "new" }),
    b.request("session.create", { session_id: "new" }),
    c.request("chat.send", { session_id: "new", message: "hi" }),
  ]);
  expect(made.status).toBe("fulfilled");
  expect(again).toMatchObject({ status: "rejected", reason: { details: { kind: "exists" } } });
  expect(sent).toMatchObject({ status: "fulfilled", value: { session_id: "new", seq: 2 } });
  expect(await a.request("session.get", { session_id: "new" })).toMatchObject({ session_id: "new" });
  await scene.engine.runs.settled();
  await scene.close();
});

test("who writes to a session that is not made after all makes it, or is told what was in the way", async () => {
  const scene = await stage();
  scene.faults.failItem(creates, { ok: false, reason: "full", what: "sessions_per_user" });
  const sockets = Array.from({ length: 4 }, () => scene.connect());
  const [first, ...others] = await Promise.allSettled(
    sockets.map((socket, i) => socket.request("chat.send", { session_id: "new", message: `m${i}` })),
  );
  expect(first).toMatchObject({ status: "rejected", reason: { reason: "CONFLICT" } });
  for (const each of others) expect(each.status).toBe("fulfilled");
  await scene.engine.runs.settled();
  expect(messagesOf(sockets[1]?.events() ?? [])).toEqual(["m1", "m2", "m3"]);
  scene.faults.outage("full");
  const refused = await Promise.allSettled(
    sockets.map((socket) => socket.request("chat.send", { session_id: "other", message: "x" })),
  );
  for (const each of refused)
    expect(each).toMatchObject({ status: "rejected", reason: { reason: "UNAVAILABLE" } });
  scene.faults.outage(null);
  await scene.close();
});

test("an answer that cannot be handed over holds neither the lane nor the key nor the turn", async () => {
  const scene = await stage();
  const socket = scene.connect();
  const params = { session_id: "s", message: "one", idempotency_key: "k" };
  let answers = 0;
  scene.engine.registry.dispatch(socket.caller, { method: "chat.send", params }, () => {
    answers++;
    throw new Error("the socket broke");
  });
  await until(() => answers === 1);
  const again = scene.connect();
  expect(await again.request("chat.send", params)).toMatchObject({ status: "started" });
  expect(await socket.request("chat.send", { session_id: "s", message: "two" })).toHaveProperty("run_id");
  await scene.engine.runs.settled();
  const { messages } = await again.request<{ messages: unknown[] }>("chat.history", { session_id: "s" });
  expect(messages).toHaveLength(4);
  expect(scene.fatal.error).toBeNull();
  await scene.close();
});

test("a repeated message is followed from before what was being written then and still is", async () => {
  const end = Promise.withResolvers<void>();
  const scene = await stage(async function* () {
    yield { type: "text", text: "so far" };
    await end.promise;
    yield { type: "done", finish_reason: "stop" };
  });
  const socket = scene.connect();
  await socket.request("chat.send", { session_id: "s", message: "one" });
  await until(() => socket.events().some(({ event }) => event === "message.delta"));
  const started = socket.events().find(({ event }) => event === "message.started")?.seq ?? 0;
  const params = { session_id: "s", message: "two", idempotency_key: "k" };
  const first = await scene.connect().request("chat.send", params);
  const later = scene.connect();
  const second = await later.request("chat.send", params);
  expect(second).toEqual(first);
  expect(second).toMatchObject({ status: "queued", from: started - 1, subscribed: true });
  expect(later.events()[0]?.event).toBe("message.started");
  end.resolve();
  await scene.engine.runs.settled();
  await scene.close();
});

test("a fork that is repeated while the first still copies answers the same", async () => {
  const scene = await stage();
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  for (let i = 0; i < 3; i++)
    await socket.request("chat.inject", { session_id: "s", role: "user", content: `${i}` });
  const params = { session_id: "s", idempotency_key: "k" };
  // As another process, or a request whose answer timed out, would have it: the key is taken when the copy comes to it.
  const first = await socket.request("session.fork", params);
  let asked = 0;
  const { idempotency } = scene.store;
  scene.store.idempotency = (...args) => (asked++ === 0 ? Promise.resolve(null) : idempotency(...args));
  expect(await socket.request("session.fork", params)).toEqual(first);
  const { sessions } = await socket.request<{ sessions: unknown[] }>("session.list");
  expect(sessions).toHaveLength(2);
  await scene.close();
});

test("while storage refuses, every command is turned away at once, whether its session is in memory or not", async () => {
  const scene = await stage();
  const socket = scene.connect();
  await socket.request("session.create", { session_id: "s" });
  await socket.request("session.create", { session_id: "warm" });
  const id = (await scene.store.named("owner", "s")) as { id: string };
  scene.engine.journal.tails.forget(id.id);
  scene.faults.outage("readonly");
  await socket.request("session.create", { session_id: "other" }).catch(() => undefined);
  expect(scene.engine.journal.refused).not.toBeNull();
  const commands: [string, object][] = [
    ["chat.send", { message: "x" }],
    ["chat.inject", { role: "user", content: "x" }],
    ["session.update", { title: "x" }],
    ["session.fork", {}],
    ["session.delete", {}],
  ];
  const asked = ["s", "warm"].flatMap((session_id) =>
    commands.map(([method, params]) => socket.request(method, { session_id, ...params })),
  );
  for (const each of await Promise.allSettled(asked)) {
    expect(each).toMatchObject({
      status: "rejected",
      reason: { reason: "UNAVAILABLE", details: { kind: "storage" } },
    });
  }
  scene.faults.outage(null);
  await scene.close();
});
