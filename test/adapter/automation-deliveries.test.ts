import { beforeEach, expect, test } from "bun:test";
import type { Attempts } from "../../src/automation/attempts.ts";
import type { DeliveriesOptions } from "../../src/automation/deliveries.ts";
import { Deliveries } from "../../src/automation/deliveries.ts";
import type { StoredWebhook } from "../../src/automation/stored-webhook.ts";
import { Owed } from "../../src/core/owed.ts";
import type { RecordRow } from "../../src/core/record.ts";
import type { Store } from "../../src/core/store.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

/** What is delivered while the store does not answer, or has not got yet what it will. */

const EVENT = { type: "app.n", run_id: null, payload: "{}" };
const SESSION = { id: "ses_1", owner: "ann", name: null };
const WEBHOOK = {
  id: "whk_1",
  owner: "ann",
  types: ["app.*"],
  sessions: "own",
  reads: true,
  enabled: true,
  since: 0,
};

let clock: ManualClock;
let owed: Owed;
let deliveries: Deliveries;
/** Null: no such session. */
let head: number | null;
let isDown: boolean;
let reads: number;
let delivered: string[];
/** What the receiver answers with. */
let status: number;
let off: string[];
/** Whether the webhook was deleted. */
let isGone: boolean;
/** What happens while it is asked. */
let onTry: () => unknown;
let dead: number;
let counted: { taken: number; failed: number; given_up: number };

beforeEach(async () => {
  clock = manualClock();
  owed = new Owed();
  [isGone, onTry, dead] = [false, () => undefined, 0];
  [head, isDown, reads, delivered, status, off] = [null, false, 0, [], 204, []];
  counted = { taken: 0, failed: 0, given_up: 0 };
  const event = (seq: number) => ({ ...EVENT, ts: clock.now(), seq });
  const store = {
    async session() {
      reads++;
      await Promise.resolve();
      if (isDown) throw new Error("no database");
      return head === null ? null : { ...SESSION, head, floor: 0 };
    },
    page: async (_session: string, after: number, upto: number) => ({
      epoch: "aaaaaaaa",
      events: Array.from({ length: upto - after }, (_, i) => event(after + i + 1)),
    }),
    records: async () => [],
  };
  const attempts: Pick<Attempts, "try"> = {
    async try(_webhook, { body }) {
      delivered.push(`${JSON.parse(body).data.seq}`);
      await onTry();
      return { ok: status < 300, status, reason: `answered ${status}`, retry_after_ms: null, ms: 0 };
    },
  };
  const options = {
    owed,
    store,
    attempts,
    clock,
    log: silentLog,
    limits: { webhook_attempts: 2 },
    book: {
      every: () => [WEBHOOK],
      get: () => (isGone ? undefined : WEBHOOK),
      turnOff: (_: unknown, why: string) => {
        off.push(why);
        return { rows: [], commit: () => undefined, undo: () => undefined };
      },
    } as unknown as { every(): StoredWebhook[] },
    journal: { append: ({ settle }: { settle(result: { ok: boolean }): void }) => settle({ ok: true }) },
    dead: { add: async () => (dead++, true) },
    stats: { deliveries: counted },
    audit: { record: () => undefined },
    directory: { mayRead: () => true },
    makers: { rights: () => new Set(["chat.read"]) },
  };
  deliveries = new Deliveries(options as unknown as DeliveriesOptions);
  await deliveries.load();
  deliveries.start();
});

/** Appends, as the journal does. The answer commits. */
function write(seq: number): () => void {
  const event = { ...EVENT, ts: clock.now() };
  const mark = owed.mark(SESSION, [event]);
  return () => {
    head = seq;
    owed.published(SESSION, { ...event, seq });
    mark?.settled(true);
  };
}

/** What stands in the store of it. */
function rowOf(cursors: Readonly<Record<string, number>>, since = clock.now()): RecordRow {
  const data = JSON.stringify({ since, cursors });
  return { collection: "webhook_owed", id: SESSION.id, owner: SESSION.id, data, expires_at: null };
}

/** Reads it anew, as where another node may have changed it. */
async function reread(row: RecordRow | null): Promise<void> {
  const store: Pick<Store, "record" | "records"> = { record: async () => row, records: async () => [] };
  await deliveries.mirror(store as Store).changed([SESSION.id]);
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 100; i++) await Promise.resolve();
};

test("a store that does not answer is asked again after a while, and not all the time", async () => {
  isDown = true;
  write(1)();
  await turns();
  expect([reads, delivered]).toEqual([1, []]);
  clock.advance(2_000);
  await turns();
  expect([reads, delivered]).toEqual([2, []]);
  isDown = false;
  clock.advance(2_000);
  await turns();
  expect(delivered).toEqual(["1"]);
  await deliveries.stop();
});

test("what the last process left is read again where the store did not answer first", async () => {
  isDown = true;
  head = 2;
  owed.load([rowOf({ whk_1: 1 })]);
  deliveries.changed();
  await turns();
  isDown = false;
  clock.advance(2_000);
  await turns();
  expect(delivered).toEqual(["2"]);
  await deliveries.stop();
});

test("a webhook that changes while a session is being made misses nothing of it", async () => {
  const commit = write(1);
  deliveries.changed();
  await turns();
  commit();
  await turns();
  expect(delivered).toEqual(["1"]);
  await deliveries.stop();
});

const DAY_MS = 86_400_000;

/** Something is to be delivered, and fails as often as it is tried within some hours. */
async function fail(seq: number): Promise<void> {
  write(seq)();
  for (let i = 0; i < 4; i++) {
    await turns();
    clock.advance(3_600_000);
  }
}

test("a receiver that was asked nothing for days is not turned off for one failure", async () => {
  status = 500;
  await fail(1);
  clock.advance(4 * DAY_MS);
  await fail(2);
  expect([off, delivered]).toEqual([[], ["1", "1", "2", "2"]]);
  expect(counted).toEqual({ taken: 0, failed: 4, given_up: 2 });
  await deliveries.stop();
});

test("one that takes nothing for three days is, counted from its first failure", async () => {
  status = 500;
  for (let seq = 1; seq <= 6; seq++) {
    await fail(seq);
    expect(off).toEqual([]);
    clock.advance(8 * 3_600_000);
  }
  status = 204;
  await fail(7);
  status = 500;
  for (let seq = 8; seq <= 13; seq++) {
    await fail(seq);
    expect(off).toEqual([]);
    clock.advance(8 * 3_600_000);
  }
  clock.advance(1);
  await fail(14);
  expect(off).toEqual(["nothing was taken for three days: answered 500"]);
  await deliveries.stop();
});

test("one that is deleted while it is asked is tried no more, and nothing is kept for it", async () => {
  status = 500;
  await fail(1);
  expect([delivered, dead, deliveries.failingSince("whk_1")]).toEqual([["1", "1"], 1, expect.any(Number)]);
  onTry = () => {
    isGone = true;
    deliveries.changed();
  };
  await fail(2);
  expect([delivered, dead, deliveries.failingSince("whk_1")]).toEqual([["1", "1", "2"], 1, null]);
  await deliveries.stop();
});

test("what was appended since the row was dropped is delivered once, also where the drop is heard of only then", async () => {
  write(1)();
  await turns();
  onTry = async () => {
    onTry = () => undefined;
    await reread(null);
    // It stands there anew, for the second event.
    await reread(rowOf({}));
  };
  write(2)();
  await turns();
  expect(delivered).toEqual(["1", "2"]);
  await deliveries.stop();
});

test("what another node owes is delivered, also where its log was heard of before it was known to be owed", async () => {
  head = 1;
  owed.grown(SESSION.id);
  await reread(rowOf({}));
  await turns();
  expect(delivered).toEqual(["1"]);
  await deliveries.stop();
});

test("what another node appended is delivered, also where this one heard of it only after its own", async () => {
  write(2)();
  await turns();
  expect(delivered).toEqual(["2"]);
  await reread(rowOf({}, clock.now() - 1));
  await turns();
  expect(delivered).toEqual(["2", "1", "2"]);
  onTry = async () => {
    onTry = () => undefined;
    await reread(rowOf({}, clock.now() - 2));
  };
  write(3)();
  await turns();
  expect(delivered.slice(3)).toEqual(["3", "1", "2", "3"]);
  await deliveries.stop();
});
