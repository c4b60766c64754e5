import { beforeEach, describe, expect, test } from "bun:test";
import { Scheduler } from "../../src/automation/scheduler.ts";
import { ScheduleBook } from "../../src/automation/schedules.ts";
import type { Outcome } from "../../src/core/call.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { RowChange } from "../../src/core/operation.ts";
import type { Principal } from "../../src/core/principal.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

/** Schedules of a gateway that does not take at once what they say, or whose clock is wrong. */

const START = Date.parse("2026-01-01T00:00:30Z");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const YEARS = 10 * 365 * 24 * HOUR;
const ANN: Principal = {
  user: "ann",
  scopes: new Set(SCOPES),
  method: "local",
  credential: null,
  expires_at: null,
};
const FULL = new GatewayError("UNAVAILABLE", "full", { retryable: true });

let clock: ManualClock;
let book: ScheduleBook;
let scheduler: Scheduler;
/** What is said, as long as nothing answers. */
let said: number[];
let moments: { sent: number; skipped: number; missed: number; failed: number };
let answer: () => Promise<Outcome>;
let isOpen: () => boolean | Promise<boolean>;
let isRefusing: boolean;

beforeEach(() => {
  clock = manualClock(START);
  said = [];
  isOpen = () => false;
  isRefusing = false;
  moments = { sent: 0, skipped: 0, missed: 0, failed: 0 };
  const limits = { ...DEFAULT_LIMITS, schedules_per_user: 100 };
  const of = ({ user, method, credential }: Principal) => ({ user, method, credential });
  const makers = { of, rights: () => new Set(SCOPES) };
  book = new ScheduleBook({ clock, limits, makers });
  const append = ({ settle }: { readonly settle: (result: { ok: boolean }) => void; rows: RowChange[] }) =>
    settle({ ok: !isRefusing });
  scheduler = new Scheduler({
    book,
    clock,
    limits,
    makers,
    stats: { moments },
    log: silentLog,
    journal: { append: append as never },
    isOpen: () => isOpen(),
    send: (_by, _from, { metadata }) => {
      said.push((metadata as { due_at: number }).due_at);
      return answer();
    },
  });
});

const create = (params: object): void =>
  void book.create(ANN, { message: "tick", session_id: "s", ...params }).commit();

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 5_000) {
    clock.advance(Math.min(left, 5_000));
    for (let i = 0; i < 50; i++) await Promise.resolve();
  }
}

test.each(["skip", "once", "all"])(
  "what is refused for a while is said for a quarter of an hour, with %p, too",
  async (missed) => {
    answer = async () => ({ ok: false, error: FULL });
    create({ cron: "1 * * * *", missed });
    scheduler.start();
    await pass(11 * MINUTE);
    const due = Date.parse("2026-01-01T00:01:00Z");
    expect(new Set(said)).toEqual(new Set([due]));
    const last = book.list(null)[0]?.last;
    expect(last).toBeUndefined();
    await pass(7 * MINUTE);
    expect(book.list(null)[0]).toMatchObject({ last: { status: "failed", due_at: due } });
    expect(moments).toMatchObject({ sent: 0, failed: 1 });
    await scheduler.stop();
  },
);

test("nothing is kept of what could not be said once its schedule is gone", async () => {
  answer = async () => ({ ok: false, error: FULL });
  for (let i = 0; i < 10; i++) create({ cron: "1 * * * *", missed: "all" });
  scheduler.start();
  await pass(2 * MINUTE);
  expect(scheduler.failing).toBe(10);
  for (const { schedule_id } of book.list(null).slice(0, 9)) book.remove(ANN, schedule_id)?.commit();
  await pass(MINUTE);
  expect(scheduler.failing).toBe(1);
  await scheduler.stop();
});

test("more than are said at once wait for the end of one, and nobody looks at them all the time", async () => {
  const open: ((outcome: Outcome) => void)[] = [];
  answer = () => new Promise((resolve) => void open.push(resolve));
  for (let i = 0; i < 20; i++) create({ cron: "1 * * * *", session_id: `s${i}` });
  scheduler.start();
  await pass(MINUTE);
  expect(said).toHaveLength(16);
  let timers = 0;
  const after = clock.after.bind(clock);
  Object.assign(clock, {
    after: (ms: number, task: () => void) => {
      timers++;
      return after(ms, task);
    },
  });
  await pass(MINUTE);
  expect(timers).toBeLessThan(20);
  open.shift()?.({ ok: true, payload: { session_id: "s0", run_id: "run_1" } });
  await pass(10_000);
  expect(said).toHaveLength(17);
  for (let i = 0; i < 20; i++) open.shift()?.({ ok: true, payload: { session_id: "s", run_id: "run_1" } });
  await pass(10_000);
  expect(said).toHaveLength(20);
  for (const each of open) each({ ok: true, payload: { session_id: "s", run_id: "run_1" } });
  await scheduler.stop();
});

test("one that is off and has a moment that is past, as in a database that somebody changed, is not looked at all the time", async () => {
  create({ cron: "1 * * * *" });
  const schedule_id = book.list(null)[0]?.schedule_id ?? "";
  const state = book.state(book.require(ANN, schedule_id));
  book.update(ANN, { schedule_id, enabled: false }).commit();
  book.committed(state);
  let timers = 0;
  const after = clock.after.bind(clock);
  Object.assign(clock, { after: (ms: number, task: () => void) => (timers++, after(ms, task)) });
  scheduler.start();
  await pass(2 * MINUTE);
  expect(said).toEqual([]);
  expect(timers).toBeLessThan(20);
  await scheduler.stop();
});

test("a database that does not answer is asked again after a while, each time a longer one", async () => {
  answer = async () => ({ ok: true, payload: { session_id: "s", run_id: "run_1" } });
  create({ cron: "* * * * *" });
  scheduler.start();
  await pass(MINUTE);
  let asked = 0;
  isOpen = async () => {
    asked++;
    throw new Error("no database");
  };
  await pass(25_000);
  for (let ms = 0; ms < 10_000; ms += 10) await pass(10);
  expect(asked).toBeLessThan(6);
  isOpen = () => false;
  await pass(MINUTE);
  expect(said).toEqual(["00:01", "00:02", "00:03"].map((at) => Date.parse(`2026-01-01T${at}:00Z`)));
  await scheduler.stop();
});

describe("a clock that is years ahead for a while leaves no schedule silent", () => {
  const SAID: Outcome = { ok: true, payload: { session_id: "s", run_id: "run_1" } };

  test.each(["once", "skip"])("while the gateway runs, with %p", async (missed) => {
    answer = async () => SAID;
    create({ cron: "0 * * * *", missed });
    scheduler.start();
    clock.jump(YEARS);
    await pass(MINUTE);
    const before = said.length;
    clock.jump(-YEARS);
    await pass(HOUR);
    expect(said.slice(before)).toEqual([Date.parse("2026-01-01T01:00:00Z")]);
    await scheduler.stop();
  });

  test("also where the store takes nothing just when it is right again", async () => {
    answer = async () => SAID;
    clock.jump(YEARS);
    create({ cron: "0 * * * *" });
    clock.jump(-YEARS);
    isRefusing = true;
    scheduler.start();
    await pass(MINUTE);
    isRefusing = false;
    await pass(HOUR);
    expect(said).toEqual([Date.parse("2026-01-01T01:00:00Z")]);
    await scheduler.stop();
  });

  test("before it starts", async () => {
    answer = async () => SAID;
    clock.jump(YEARS);
    create({ cron: "0 * * * *" });
    clock.jump(-YEARS);
    scheduler.start();
    await pass(HOUR);
    expect(said).toEqual([Date.parse("2026-01-01T01:00:00Z")]);
    await scheduler.stop();
  });
});
