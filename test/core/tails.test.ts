import { expect, test } from "bun:test";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { RowChange, SessionRow } from "../../src/core/operation.ts";
import type { SessionRef } from "../../src/core/session.ts";
import type { Written } from "../../src/core/feeds.ts";
import type { Shared } from "../../src/core/shared-tails.ts";
import type { Load, TailLog } from "../../src/core/slot.ts";
import { NoSuchSession } from "../../src/core/slot.ts";
import { Tails } from "../../src/core/tails.ts";
import type { Tail } from "../../src/core/tail.ts";

const ref = (id: string): SessionRef => ({ id, owner: "ann", name: null });

function row(id: string): SessionRow {
  const none = { name: null, model: null, system_prompt: null, active_run_id: null };
  const counts = { floor: 0, head: 0, created_at: 1, updated_at: 1, message_count: 0 };
  return {
    id,
    owner: "ann",
    epoch: "aaaaaaaa",
    title: "",
    metadata: "{}",
    archived: false,
    ...none,
    ...counts,
  };
}

const CREATE: RowChange = {
  kind: "session.create",
  owner: "ann",
  name: null,
  epoch: "aaaaaaaa",
  title: "",
  model: null,
  system_prompt: null,
  metadata: "{}",
  created_at: 1,
  revive: true,
};

/** Tails whose loads are answered by hand. */
function stage(limits: Partial<Limits> = {}) {
  const loads = new Map<string, (exists: boolean) => void>();
  const load: TailLog["load"] = (session, { settle }) => {
    const leave = tails.enter(session);
    loads.set(session.id, (exists) => {
      loads.delete(session.id);
      if (exists) settle({ ok: true, tail: { session: row(session.id), open: [], approvals: [] } });
      else settle({ ok: false, reason: "unknown" });
      leave();
    });
  };
  const tails = new Tails({ ...DEFAULT_LIMITS, ...limits }, { load, elsewhere: () => undefined });
  return { tails, loads, answer: (id: string, exists: boolean) => loads.get(id)?.(exists) };
}

/** One operation of a session from its queueing to its landing. */
function append(tails: Tails, id: string, bytes = 10, pin = false): Tail {
  const rows = tails.peek(id) === undefined ? [CREATE] : [];
  tails.expect(ref(id), rows);
  const leave = tails.enter(ref(id));
  const tail = tails.landed(ref(id), rows, "aaaaaaaa");
  const payload = JSON.stringify("x".repeat(bytes));
  tail.push({ seq: tail.head + 1, ts: 1, type: "app.x", run_id: null, payload });
  if (pin) tails.pinNow(id);
  leave();
  tails.shrink();
  return tail;
}

test("who comes after a load failed, and before those who waited were told, is told too", async () => {
  const { tails, answer, loads } = stage();
  const first = tails.pin(ref("s")).catch((error: unknown) => error);
  answer("s", false);
  const second = tails.pin(ref("s")).catch((error: unknown) => error);
  expect(await first).toBeInstanceOf(NoSuchSession);
  expect([...loads.keys()]).toEqual(["s"]);
  answer("s", true);
  expect(await second).toMatchObject({ head: 0 });
  tails.release("s");
});

test("who waits for a session that is not made after all is told, and nothing is kept of it", async () => {
  const { tails } = stage();
  tails.expect(ref("s"), [CREATE]);
  const leave = tails.enter(ref("s"));
  const waits = tails.pin(ref("s")).catch((error: unknown) => error);
  leave();
  expect(await waits).toBeInstanceOf(NoSuchSession);
  expect(tails.size).toBe(0);
});

test("10,000 sessions that were written to once leave no more than the idle ones that are kept", () => {
  const { tails } = stage({ tails_idle: 1_000 });
  for (let i = 0; i < 10_000; i++) append(tails, `s${i}`);
  // A sweep comes every 256 operations.
  expect(tails.size).toBeLessThanOrEqual(1_000 + 256);
  expect(tails.peek("s9999")?.head).toBe(1);
  expect(tails.peek("s0")).toBeUndefined();
});

test("tails weigh no more than their bound in all: idle ones go, those in use are emptied down to their head", () => {
  const { tails } = stage({ tails_bytes: 100_000, tail_bytes: 50_000, tails_idle: 1_000 });
  const pinned = append(tails, "pinned", 9_000, true);
  for (let i = 0; i < 200; i++) {
    append(tails, `s${i}`, 9_000);
    expect(tails.bytes).toBeLessThanOrEqual(100_000);
  }
  expect(tails.peek("pinned")).toBe(pinned);
  for (let i = 0; i < 200; i++) {
    append(tails, `s${i}`, 9_000, true);
    expect(tails.bytes).toBeLessThanOrEqual(100_000);
  }
  expect(tails.size).toBe(201);
  expect([pinned.head, pinned.size]).toEqual([1, 0]);
  // The sum is that of what is there: nothing was counted twice or forgotten.
  let bytes = 0;
  for (let i = 0; i < 200; i++) bytes += tails.peek(`s${i}`)?.bytes ?? 0;
  expect(tails.bytes).toBe(bytes);
});

test("a session keeps the newest 2,000 events and 1 MiB of them", () => {
  const { tails } = stage({ tail_events: 5 });
  for (let i = 0; i < 20; i++) append(tails, "many");
  expect([tails.peek("many")?.size, tails.peek("many")?.first]).toEqual([5, 16]);
  for (let i = 0; i < 20; i++) append(tails, "large", 300_000);
  expect([tails.peek("large")?.size, tails.peek("large")?.first]).toEqual([3, 18]);
});

test("a session that is forgotten is not counted any more", () => {
  const { tails } = stage();
  append(tails, "s", 1_000);
  tails.forget("s");
  expect([tails.size, tails.bytes]).toEqual([0, 0]);
});

test("one that is forgotten while somebody uses it goes with the last of them", async () => {
  const { tails } = stage();
  for (const id of ["pinned", "queued", "both"]) append(tails, id, 1_000);
  await tails.pin(ref("pinned"));
  tails.pinNow("both");
  const leaves = ["queued", "both"].map((id) => tails.enter(ref(id)));
  for (const id of ["pinned", "queued", "both"]) tails.forget(id);
  expect(tails.size).toBe(3);
  tails.release("pinned");
  expect(tails.has("pinned")).toBe(false);
  for (const leave of leaves) leave();
  expect([tails.has("queued"), tails.has("both")]).toEqual([false, true]);
  tails.release("both");
  expect([tails.size, tails.bytes]).toEqual([0, 0]);
});

test("one that is written, that has readers or an open message is not dropped", () => {
  const { tails } = stage({ tails_idle: 0 });
  const open = append(tails, "open");
  const payload = JSON.stringify({ message_id: "m", role: "assistant", model: "x" });
  open.push({ seq: 2, ts: 1, type: "message.started", run_id: "r", payload });
  append(tails, "pinned");
  tails.pinNow("pinned");
  append(tails, "queued");
  const leave = tails.enter(ref("queued"));
  for (let i = 0; i < 600; i++) append(tails, `s${i}`);
  expect(["open", "pinned", "queued"].filter((id) => tails.peek(id) === undefined)).toEqual([]);
  leave();
  tails.release("pinned");
  const message = { message_id: "m", role: "assistant", status: "complete", content: "", timestamp: 1 };
  const done = JSON.stringify({ message: { ...message, metadata: {} }, length: 0, sha256: "" });
  open.push({ seq: 3, ts: 1, type: "message.completed", run_id: "r", payload: done });
  for (let i = 0; i < 600; i++) append(tails, `t${i}`);
  expect(["open", "pinned", "queued"].filter((id) => tails.peek(id) !== undefined)).toEqual([]);
});

test("with other nodes, it is told once nothing of a session is in memory, nor on its way into the log", async () => {
  const dropped: [id: string, wasWritten: boolean][] = [];
  let written: Written | null = null;
  const loads: Load[] = [];
  const shared = {
    feeds: { watch: (found: Written) => (written = found) },
    dropped: (id: string, wasWritten: boolean) => dropped.push([id, wasWritten]),
  } as unknown as Shared;
  const limits = { ...DEFAULT_LIMITS, tails_idle: 2 };
  const tails = new Tails(
    limits,
    { load: (_session, load) => loads.push(load), elsewhere: () => undefined },
    shared,
  );
  const ids = Array.from({ length: 600 }, (_, n) => `s${n}`);
  append(tails, "pinned", 10, true);
  for (const id of ids) append(tails, id);
  // Each that went is told of once, and the others are there.
  expect(dropped.length).toBeGreaterThan(300);
  const there = ids.filter((id) => tails.has(id));
  expect([...there, ...dropped.map(([id]) => id)].toSorted()).toEqual(ids.toSorted());
  expect(tails.has("pinned")).toBe(true);

  // What could not be loaded is not told of before what waits for it was answered, too.
  dropped.length = 0;
  tails.expect(ref("none"), []);
  const leave = [tails.enter(ref("none")), tails.enter(ref("none"))];
  loads.at(-1)?.settle({ ok: false, reason: "unknown" });
  leave[0]?.();
  expect(dropped).toEqual([]);
  leave[1]?.();
  expect(dropped).toEqual([["none", false]]);

  // What another node trimmed is known here within a second, where somebody reads it.
  const tail = tails.peek("pinned");
  expect(tail).toMatchObject({ floor: 0, head: 1 });
  (written as Written | null)?.found({ id: "pinned", epoch: "aaaaaaaa", floor: 1, head: 1 });
  expect(tail?.floor).toBe(1);
});
