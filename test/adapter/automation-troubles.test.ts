import { beforeEach, expect, test } from "bun:test";
import type { Attempt } from "../../src/automation/attempts.ts";
import { Troubles } from "../../src/automation/troubles.ts";
import { WebhookBook } from "../../src/automation/webhooks.ts";
import type { RowChange } from "../../src/core/operation.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { RecordRow } from "../../src/core/record.ts";
import type { Store } from "../../src/core/store.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

/** How long a receiver is borne that takes nothing, over everything that ends a process. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const REFUSED: Attempt = { ok: false, status: 500, reason: "answered 500", retry_after_ms: null, ms: 1 };
const ANN = { user: "ann", scopes: new Set(SCOPES) } as unknown as Principal;

let clock: ManualClock;
let book: WebhookBook;
let troubles: Troubles;
let id: string;
/** What the store has. */
let kept: RecordRow | null;
let writes: number;
let isRefusing: boolean;

function append(rows: readonly RowChange[]): boolean {
  if (isRefusing) return false;
  for (const row of rows) {
    if (row.kind !== "record.put") continue;
    if ((row.over ?? null) !== (kept?.data ?? null)) return false;
    kept = row.record;
    writes++;
  }
  return true;
}

/** The process ends, and another one goes on with what is in the store. */
async function restart(): Promise<void> {
  book = new WebhookBook({
    clock,
    limits: { webhooks_per_user: 9 },
    sealer: { seal: (secret: string) => secret } as never,
    makers: {
      of: () => ({ user: "ann", method: "token", credential: null }),
      rights: () => new Set(),
    } as never,
    checkUrl: (url) => url,
    onChange: () => void troubles.forgetOthers(),
  });
  const journal = {
    append: ({ rows, settle }: { rows: readonly RowChange[]; settle(result: { ok: boolean }): void }) =>
      settle({ ok: append(rows) }),
  };
  troubles = new Troubles({ book, clock, log: silentLog, journal });
  await book.load({ records: async () => (kept === null ? [] : [kept]) } as unknown as Store);
}

/** A change as somebody makes it. */
function change(made: { rows: readonly RowChange[]; commit(): unknown }): void {
  if (!append(made.rows)) throw new Error("it was not written");
  made.commit();
}

beforeEach(async () => {
  clock = manualClock();
  [kept, writes, isRefusing] = [null, 0, false];
  await restart();
  change(book.create(ANN, { url: "https://one.example", types: ["run.completed"] }));
  id = kept === null ? "" : (kept as RecordRow).id;
  writes = 0;
});

const fail = (): string => troubles.failed(id, REFUSED, 0);
/** It is tried again every `every_ms`, which fails. */
function failFor(ms: number, every_ms = HOUR): string {
  for (let left = ms; left > 0; left -= every_ms) {
    fail();
    clock.advance(every_ms);
  }
  return fail();
}

test("a gateway that is started anew every other day turns a dead receiver off all the same", async () => {
  const since = clock.now();
  expect(failFor(5 * HOUR)).toBe("again");
  expect(failFor(2 * DAY)).toBe("last");
  await restart();
  expect(troubles.since(id)).toBe(since);
  expect(failFor(18 * HOUR)).toBe("last");
  expect(failFor(2 * HOUR)).toBe("off");
});

test("it is written when it fails again, once an hour, and when something is taken", async () => {
  fail();
  troubles.took(id);
  expect(writes).toBe(0);
  failFor(HOUR, MINUTE);
  expect(writes).toBe(1);
  failFor(HOUR, MINUTE);
  expect(writes).toBe(2);
  troubles.took(id);
  troubles.took(id);
  expect([writes, troubles.since(id)]).toEqual([3, null]);
  await restart();
  expect(troubles.since(id)).toBeNull();
});

test("what the store does not take is written with the next attempt", async () => {
  isRefusing = true;
  const since = clock.now();
  failFor(2 * HOUR);
  isRefusing = false;
  fail();
  isRefusing = true;
  troubles.took(id);
  expect([writes, troubles.since(id)]).toEqual([1, null]);
  await restart();
  expect(troubles.since(id)).toBe(since);
  isRefusing = false;
  troubles.took(id);
  await restart();
  expect(troubles.since(id)).toBeNull();
});

test("that it took something is written with the next thing it takes, too", async () => {
  failFor(2 * HOUR);
  isRefusing = true;
  troubles.took(id);
  isRefusing = false;
  troubles.took(id);
  await restart();
  expect(troubles.since(id)).toBeNull();
});

test("after a night in which nobody tried, what waits is tried again as long as ever", async () => {
  failFor(2 * MINUTE, MINUTE);
  const since = troubles.since(id);
  clock.advance(9 * HOUR);
  await restart();
  expect([fail(), troubles.since(id)]).toEqual(["again", since]);
  expect(failFor(6 * HOUR + MINUTE)).toBe("last");
});

test("after a day in which nothing was sent it is counted anew, a restart in between or not", async () => {
  failFor(2 * DAY);
  await restart();
  clock.advance(DAY + HOUR);
  expect(fail()).toBe("again");
  clock.advance(DAY + HOUR);
  expect(fail()).toBe("again");
});

test("another address, and one that is turned on again, has another history", async () => {
  failFor(2 * DAY);
  change(book.update(ANN, { webhook_id: id, name: "named" }));
  expect(fail()).toBe("last");
  change(book.update(ANN, { webhook_id: id, url: "https://two.example" }));
  expect([troubles.since(id), fail()]).toEqual([null, "again"]);
  failFor(2 * DAY);
  change(book.update(ANN, { webhook_id: id, enabled: false }));
  change(book.update(ANN, { webhook_id: id, enabled: true }));
  expect([troubles.since(id), fail()]).toEqual([null, "again"]);
  await restart();
  expect(fail()).toBe("again");
});

test("what a clock said that was ahead makes nobody be borne longer", async () => {
  clock.jump(30 * DAY);
  failFor(HOUR, MINUTE);
  clock.jump(-30 * DAY);
  await restart();
  expect(fail()).toBe("again");
  expect(failFor(3 * DAY + HOUR)).toBe("off");
});
