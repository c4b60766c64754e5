import { expect, test } from "bun:test";
import fc from "fast-check";
import type { AppendItem, GroupResult, NewEvent, RowChange, StoreItem } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { copyOf, createRow, event, key, put, run, START, storeClock } from "./store.builders.ts";
import { hasPostgres, testCluster } from "../support/postgres.ts";
import type { StoreFixture } from "./store.builders.ts";
import { openPostgres } from "./store.postgres.ts";
import { openSqlite } from "./store.sqlite.ts";

const LIMITS = {
  sessions_per_user: 3,
  messages_per_session: 4,
  keys_per_user: 2,
  key_ttl_secs: 1,
  tombstone_ttl_secs: 2,
  page_events: 3,
  page_bytes: 120,
  group_bytes: 300,
};
const SESSIONS = ["ses_0", "ses_1", "ses_2", "ses_3"];
const USERS = ["ada", "bob"];
const NAMES = ["one", "two"];

const pick = <const T>(...values: readonly T[]) => fc.constantFrom<T>(...values);
const session = pick(...SESSIONS);
const user = pick(...USERS);
const message_id = pick("msg_0", "msg_1", "msg_2", "msg_3", "msg_4");
const run_id = pick("run_0", "run_1", "run_2");
const time = fc.integer({ min: START, max: START + 4000 });
const max_rows = fc.integer({ min: 1, max: 4 });

const anyEvent: fc.Arbitrary<NewEvent> = fc
  .record({
    type: pick("app.x", "message.delta", "tool.call"),
    message_id,
    run_id,
    ts: time,
    size: pick(1, 60, 300),
  })
  .map(({ type, ts, run_id: of, size, message_id: id }) =>
    event(type, { message_id: id, text: "é".repeat(size) }, { ts, run_id: of }),
  );

/** Every change an operation can carry; `event` is 0, and operations with such rows always have one. */
const anyRow: fc.Arbitrary<RowChange> = fc.oneof(
  fc
    .record({ owner: user, name: pick(null, ...NAMES), created_at: time, revive: fc.boolean() })
    .map((more) => createRow(more)),
  fc.record({ title: pick("Plan", "trip"), archived: fc.boolean() }).map(({ title, archived }): RowChange => {
    return { kind: "session.update", title, archived, model: "m", system_prompt: null, metadata: "{}" };
  }),
  time.map((at): RowChange => ({ kind: "session.close", at })),
  fc
    .record({
      message_id,
      status: pick("streaming", "complete", "partial"),
      run_id: fc.option(run_id),
      size: pick(1, 200),
    })
    .map(({ size, ...more }) =>
      put(more.message_id, {
        ...more,
        data: JSON.stringify({ text: "é".repeat(size), run_id: more.run_id }),
      }),
    ),
  fc
    .record({ message_id, status: pick("complete", "partial") })
    .map((row): RowChange => ({ kind: "message.done", data: '{"done":true}', ...row })),
  message_id.map((id): RowChange => ({ kind: "message.drop", message_id: id })),
  fc
    .record({
      run_id,
      status: pick("queued", "running", "completed", "failed"),
      made: fc.boolean(),
      created_at: time,
    })
    .map(({ made, ...more }) => run(more.run_id, { ...more, ...(made && { event: 0 }) })),
  fc
    .record({ user, created_at: time, name: pick("k0", "k1", "k2") })
    .map(({ name, ...more }) => key(name, more)),
  fc
    .record({ id: pick("1", "2"), owner: user, data: pick("{}", "[]"), expires_at: fc.option(time) })
    .map((record): RowChange => ({ kind: "record.put", record: { collection: "c", ...record } })),
  pick("1", "2").map((id): RowChange => ({ kind: "record.drop", collection: "c", id })),
);

const anyAppend: fc.Arbitrary<AppendItem> = fc.record({
  kind: fc.constant("append" as const),
  session: fc.option(session, { freq: 8 }),
  run: fc.option(run_id),
  ack: fc.boolean(),
  events: fc.array(anyEvent, { minLength: 1, maxLength: 3 }),
  rows: fc.array(anyRow, { maxLength: 3 }),
});
const rowsOnly = fc
  .record({ session: fc.option(session), rows: fc.array(anyRow, { maxLength: 3 }) })
  .map(({ session: of, rows }): AppendItem => {
    const settled = rows.filter(
      (row) => row.kind !== "message.put" && !(row.kind === "run.put" && row.event === 0),
    );
    return { kind: "append", session: of, run: null, ack: true, events: [], rows: settled };
  });
const creation = fc
  .record({ session, owner: user, name: pick(null, ...NAMES), created_at: time, revive: fc.boolean() })
  .map(({ session: of, ...more }): AppendItem => {
    return {
      kind: "append",
      session: of,
      run: null,
      ack: true,
      events: [event("made")],
      rows: [createRow(more)],
    };
  });
const anyItem: fc.Arbitrary<StoreItem> = fc.oneof(
  { weight: 6, arbitrary: anyAppend },
  { weight: 2, arbitrary: creation },
  { weight: 1, arbitrary: rowsOnly },
  { weight: 1, arbitrary: session.map((id): StoreItem => ({ kind: "load", session: id })) },
  {
    weight: 1,
    arbitrary: fc
      .record({ session, before: time, max_rows })
      .map((item): StoreItem => ({ kind: "trim", ...item })),
  },
  {
    weight: 1,
    arbitrary: fc.record({ session, max_rows }).map((item): StoreItem => ({ kind: "erase", ...item })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({
        from: session,
        into: session,
        message_id: fc.option(message_id),
        owner: user,
        max_rows,
        remembered: fc.boolean(),
      })
      .map(({ from, into, remembered, ...more }) => {
        const remember = { user: "ada", key: "k0", fingerprint: "f", answer: "{}", created_at: START };
        return copyOf(from, into, { ...more, remember: remembered ? remember : null });
      }),
  },
);

/** Everything that can be read, in one value. */
async function everything(store: Store) {
  const lists = [];
  for (const name of USERS) {
    const base = { user: name, shared: ["ses_1", "ses_2"], limit: 3 };
    lists.push(
      await store.sessions(base),
      await store.sessions({ ...base, query: "ON", archived: false, updated_after: START + 1000 }),
      await store.sessions({ ...base, after: { updated_at: START + 2000, id: "ses_1" } }),
      await store.runs(base),
      await store.runs({ ...base, session: "ses_1", after: { created_at: START + 2000, id: "run_1" } }),
      await store.runs({ ...base, status: "running" }),
    );
    for (const one of NAMES)
      lists.push(await store.named(name, one), await store.idempotency(name, `k${NAMES.indexOf(one)}`));
    for (const id of SESSIONS) lists.push(await store.deleted(id, name));
  }
  const sessions = [];
  for (const id of SESSIONS) {
    sessions.push({
      row: await store.session(id),
      pages: [await store.page(id, 0, 99), await store.page(id, 2, 5)],
      snapshot: await store.snapshot(id, 400, 2),
      history: [
        await store.history(id, { limit: 2, max_bytes: 400 }),
        await store.history(id, { limit: 2, max_bytes: 4000, after: "msg_1" }),
        await store.history(id, { limit: 2, max_bytes: 4000, before: "msg_2" }),
      ],
    });
  }
  const records = [await store.records("c"), await store.records("c", "ada")];
  const trimmable = (await store.trimmable(START + 2000, 9)).toSorted();
  return { lists, sessions, records, trimmable, run: await store.run("run_1"), totals: await store.totals() };
}

const step = fc.record({
  group: fc.array(anyItem, { minLength: 1, maxLength: 8 }),
  now: time,
  expire: fc.option(fc.record({ now: time, max_rows }), { freq: 4 }),
});

/** What a store that nodes share says besides of a tail: the runs that another one may have left. */
function answered(result: GroupResult): unknown {
  if (!result.ok) return result;
  const results = result.results.map((each) => {
    if (!each.ok || !("tail" in each)) return each;
    const { unended: _left, ...tail } = each.tail;
    return { ...each, tail };
  });
  return { ...result, results };
}

/** Whatever is done to both, `open`'s store answers as the one in memory does. */
function likeMemory(open: () => Promise<StoreFixture>, runs: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      await using fixture = await open();
      const clock = storeClock();
      const memory = createMemoryStore({ clock, limits: { ...DEFAULT_LIMITS, ...LIMITS } });
      await memory.open();
      for (const { group, now, expire } of steps) {
        clock.set(now);
        fixture.clock.set(now);
        expect(answered(await fixture.store.commit(group))).toEqual(await memory.commit(group));
        if (expire !== null) {
          expect(await fixture.store.expire(expire.now, expire.max_rows)).toBe(
            await memory.expire(expire.now, expire.max_rows),
          );
        }
        expect(await everything(fixture.store)).toEqual(await everything(memory));
      }
    }),
    { numRuns: Number(process.env["STORE_RUNS"] ?? runs) },
  );
}

test(
  "SQLite and memory answer every group and every read alike",
  () => likeMemory(() => openSqlite({ limits: LIMITS }), 40),
  120_000,
);

test.skipIf(!hasPostgres)(
  "PostgreSQL and memory answer every group and every read alike",
  async () => {
    await testCluster();
    await likeMemory(() => openPostgres({ limits: LIMITS }), 10);
  },
  120_000,
);
