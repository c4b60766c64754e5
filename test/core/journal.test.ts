import { expect, test } from "bun:test";
import type { Appended } from "../../src/core/append.ts";
import { Journal } from "../../src/core/journal.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { GroupResult, StorageRefusal, StoreItem } from "../../src/core/operation.ts";
import type { SessionRef } from "../../src/core/session.ts";
import type { Shared } from "../../src/core/shared-tails.ts";
import type { Store } from "../../src/core/store.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

const ref = (id: string): SessionRef => ({ id, owner: "ann", name: null });

/** A journal over a store that answers when it is told to. */
class Bench {
  readonly clock: ManualClock = manualClock();
  readonly groups: (readonly StoreItem[])[] = [];
  readonly journal: Journal;
  readonly storage: (string | null)[] = [];
  /** What every write is refused with; loads are still answered unless `loads` too. */
  refusal: StorageRefusal | null = null;
  refusesLoads = false;
  /** Groups and probes wait for it. */
  gate: Promise<void> | null = null;
  readonly heads = new Map<string, number>();
  /** Another node has these when they are loaded. */
  readonly elsewhere = new Set<string>();
  fatal: unknown = null;

  constructor(limits: Partial<Limits> = {}, shared: Shared | null = null) {
    const store: Partial<Store> = {
      commit: (group) => this.#commit(group),
      probe: async () => {
        await this.gate;
        if (this.refusal !== null) throw new Error(this.refusal);
      },
    };
    this.journal = new Journal({
      store: store as Store,
      clock: this.clock,
      limits: { ...DEFAULT_LIMITS, ...limits },
      log: silentLog,
      publish: () => undefined,
      onStorage: (reason) => this.storage.push(reason),
      fatal: (error) => (this.fatal = error),
      shared,
    });
  }

  async #commit(group: readonly StoreItem[]): Promise<GroupResult> {
    this.groups.push(group);
    await this.gate;
    const writes = group.some((item) => item.kind !== "load");
    if (this.refusal !== null && (writes || this.refusesLoads)) return { ok: false, refused: this.refusal };
    return { ok: true, results: group.map((item) => this.#apply(item)) };
  }

  #apply(item: StoreItem) {
    if (item.kind === "load" && this.elsewhere.has(item.session))
      return { ok: false, reason: "elsewhere" } as const;
    if (item.kind === "load") {
      const head = this.heads.get(item.session);
      if (head === undefined) return { ok: false, reason: "unknown" } as const;
      return {
        ok: true,
        tail: { session: sessionRow(item.session, head), open: [], approvals: [] },
      } as const;
    }
    if (item.kind !== "append" || item.session === null) {
      return { ok: true, first_seq: 0, epoch: "" } as const;
    }
    const head = this.heads.get(item.session) ?? 0;
    this.heads.set(item.session, head + item.events.length);
    return { ok: true, first_seq: head + 1, epoch: "aaaaaaaa" } as const;
  }

  append(session: string | null, run: string | null = null, text = ""): Promise<Appended> {
    return new Promise((settle) => {
      const payload = JSON.stringify({ text });
      const events = session === null ? [] : [{ type: "app.x", ts: 1, run_id: run, payload }];
      const target = session === null ? null : ref(session);
      this.journal.append({ session: target, run, ack: run === null, events, rows: [], settle });
    });
  }
}

function sessionRow(id: string, head: number) {
  const none = { name: null, model: null, system_prompt: null, active_run_id: null };
  const texts = { id, owner: "ann", epoch: "aaaaaaaa", title: "", metadata: "{}" };
  return {
    ...texts,
    ...none,
    floor: 0,
    head,
    created_at: 1,
    updated_at: 1,
    message_count: 0,
    archived: false,
  };
}

/** Lets everything that only waits for promises happen. */
async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function outcomeOf<T>(promise: Promise<T>): Promise<T | Error | "pending"> {
  let outcome: T | Error | "pending" = "pending";
  promise.then(
    (value) => (outcome = value),
    (error: Error) => (outcome = error),
  );
  await settled();
  return outcome;
}

test("a group holds at most 512 operations and 1 MiB, one larger operation alone, in the order they came", async () => {
  const bench = new Bench({ group_operations: 5, group_bytes: 10_000 });
  bench.heads.set("s", 0);
  await bench.append("s");
  bench.groups.length = 0;
  const all = [
    ...Array.from({ length: 7 }, () => bench.append("s", "r")),
    bench.append("s", "r", "x".repeat(9_000)),
    bench.append("s", "r", "x".repeat(20_000)),
    bench.append("s", "r"),
  ];
  const outcomes = await Promise.all(all);
  expect(outcomes.map((outcome) => outcome.ok && outcome.first_seq)).toEqual(all.map((_, i) => i + 2));
  expect(bench.groups.map((group) => group.length)).toEqual([5, 3, 1, 1]);
});

test("commands are turned away beyond the bytes a queue may hold, operations of a run are not", async () => {
  const bench = new Bench({ journal_queue_bytes: 1_000 });
  bench.heads.set("s", 0);
  const gate = Promise.withResolvers<void>();
  bench.gate = gate.promise;
  const first = bench.append("s");
  await settled();
  const second = bench.append("s", null, "x".repeat(2_000));
  expect(await outcomeOf(bench.append("s"))).toMatchObject({ ok: false, reason: "overloaded" });
  const third = bench.append("s", "r");
  gate.resolve();
  for (const each of [first, second, third]) expect((await each).ok).toBe(true);
  expect(bench.journal.queue_bytes).toBe(0);
});

test("drained() resolves when it was asked for while the storage was being probed", async () => {
  const bench = new Bench();
  bench.refusal = "full";
  expect(await bench.append(null)).toMatchObject({ ok: false, reason: "storage" });
  const gate = Promise.withResolvers<void>();
  bench.gate = gate.promise;
  bench.clock.advance(100);
  await settled();
  const drained = bench.journal.drained();
  expect(await outcomeOf(drained)).toBe("pending");
  bench.refusal = null;
  gate.resolve();
  expect(await outcomeOf(drained)).toBeUndefined();
});

test("while storage refuses, what makes room is tried before what needs some", async () => {
  const bench = new Bench();
  bench.heads.set("s", 0);
  await bench.append("s");
  bench.refusal = "full";
  const held = bench.append("s", "r");
  await settled();
  const trim = { kind: "trim" as const, session: "s", before: 9, max_rows: 9 };
  const trimmed = bench.journal.run(trim);
  const before = bench.groups.length;
  bench.clock.advance(100);
  await settled();
  expect(bench.groups.slice(before)).toEqual([[trim]]);
  bench.refusal = null;
  bench.clock.advance(200);
  expect(await trimmed).toMatchObject({ ok: true });
  expect(await held).toMatchObject({ ok: true });
  expect(bench.groups.slice(before + 1).map((group) => group.map(({ kind }) => kind))).toEqual([
    ["trim"],
    ["append"],
  ]);
  bench.journal.stop();
});

test("stop() while storage refuses: what is queued is told, drained() resolves, no timer is left", async () => {
  const bench = new Bench();
  bench.heads.set("s", 0);
  await bench.append("s");
  bench.refusal = "full";
  const held = bench.append("s", "r");
  await settled();
  const drained = bench.journal.drained();
  expect(await outcomeOf(held)).toBe("pending");
  bench.journal.stop();
  expect(await outcomeOf(held)).toMatchObject({ ok: false, reason: "stopped" });
  expect(await outcomeOf(drained)).toBeUndefined();
  expect(bench.clock.pending).toBe(0);
});

test("a tail that is asked for after stop() is refused, and says that the gateway stops", async () => {
  const bench = new Bench();
  bench.heads.set("s", 3);
  bench.journal.stop();
  expect(await outcomeOf(bench.journal.tails.pin(ref("s")))).toMatchObject({ reason: "UNAVAILABLE" });
  expect(bench.journal.tails.size).toBe(0);
});

test("while storage refuses, tails are loaded all the same, and loading one does not end the outage", async () => {
  const bench = new Bench();
  bench.heads.set("s", 3);
  bench.heads.set("r", 0);
  await bench.append("r");
  bench.refusal = "full";
  const held = bench.append("r", "run");
  await settled();
  const since = bench.journal.refused?.since;
  bench.clock.advance(50);
  const tail = await outcomeOf(bench.journal.tails.pin(ref("s")));
  expect(tail).toMatchObject({ head: 3 });
  expect(bench.journal.refused?.since).toBe(since as number);
  for (let i = 0; i < 10; i++) {
    bench.clock.advance(2_000);
    await settled();
  }
  expect(bench.storage).toEqual(["full"]);
  expect(bench.journal.refused?.since).toBe(since as number);
  bench.refusal = null;
  bench.clock.advance(2_000);
  expect(await held).toMatchObject({ ok: true });
  expect(bench.storage).toEqual(["full", null]);
});

test("a tail that nobody can read while storage refuses is UNAVAILABLE at once, and loaded for the run that waits for it", async () => {
  const bench = new Bench();
  bench.heads.set("s", 3);
  bench.refusal = "readonly";
  bench.refusesLoads = true;
  const held = bench.append("s", "run");
  expect(await outcomeOf(bench.journal.tails.pin(ref("s")))).toMatchObject({ reason: "UNAVAILABLE" });
  expect(await outcomeOf(bench.journal.tails.pin(ref("other")))).toMatchObject({ reason: "UNAVAILABLE" });
  const patient = bench.journal.tails.pin(ref("s"), "run");
  expect(await outcomeOf(patient)).toBe("pending");
  bench.refusal = null;
  bench.clock.advance(2_000);
  expect(await held).toMatchObject({ ok: true, first_seq: 4 });
  expect(await patient).toMatchObject({ head: 4 });
});

test("what waits for its turn is refused once another node has the session, though it may be free by then", async () => {
  const feeds = { watch: () => undefined } as unknown as Shared["feeds"];
  const nothing = () => undefined;
  // Nobody hears how the other node's log goes on.
  const read = () => new Promise<null>(nothing);
  const shared = { feeds, read, left: async () => undefined, dropped: nothing, lost: nothing };
  const bench = new Bench({ group_operations: 2 }, shared);
  bench.heads.set("ours", 0).set("theirs", 0);
  bench.elsewhere.add("theirs");
  const outcomes = await Promise.all([bench.append("ours"), bench.append("theirs"), bench.append("theirs")]);
  expect(outcomes.map((outcome) => outcome.ok || outcome.reason)).toEqual([true, "elsewhere", "elsewhere"]);
  expect(bench.groups.map((group) => group.map(({ kind }) => kind))).toEqual([["load", "load"], ["append"]]);
  expect(bench.heads.get("theirs")).toBe(0);
  expect(bench.fatal).toBeNull();
});
