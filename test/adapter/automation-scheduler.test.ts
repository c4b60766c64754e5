import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Automations } from "../../src/automations.ts";
import { createAutomations } from "../../src/automations.ts";
import type { MadeBy } from "../../src/core/maker.ts";
import type { Principal } from "../../src/core/principal.ts";
import { SCOPES } from "../../src/protocol/schema.ts";
import type { UserBook } from "../../src/core/users.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/core/store.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { liveConfig } from "../../src/settings.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import type { FakeConnection, Script, TestEngine } from "../support/engine.ts";
import { says, silentLog, startEngine } from "../support/engine.ts";

/** Schedules in a gateway whose clock only moves when it is told to; it may stop, and go on later with the same store. */

const START = Date.parse("2026-01-01T00:00:30Z");
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let clock: ManualClock;
let store: Store;
let scene: TestEngine;
let automations: Automations;
let owner: FakeConnection;
let shut: Set<string>;

beforeEach(async () => {
  clock = manualClock(START);
  shut = new Set();
  store = createMemoryStore({ clock, limits: DEFAULT_LIMITS });
  await begin();
});
afterEach(() => end());

async function begin(script: Script = says("done")): Promise<void> {
  scene = await startEngine({
    clock,
    store,
    script,
    run_timeout_ms: DAY,
    limits: { schedules_per_user: 3, schedule_catch_up: 4 },
  });
  const rights = ({ owner: user }: MadeBy) => (shut.has(user) ? ("disabled" as const) : new Set(SCOPES));
  const of = ({ user, method, credential }: Principal) => ({ user, method, credential });
  const users = { forget: () => ({ rows: [], commit: () => undefined, undo: () => undefined }) };
  const config = { server: { data_dir: "/none" }, webhooks: { allow: [] }, limits: {} };
  automations = createAutomations(
    scene.engine,
    { users: users as unknown as UserBook, makers: { of, rights } },
    liveConfig(config as never),
    silentLog,
  );
  await automations.load();
  automations.start();
  owner = scene.connect("owner");
}

async function end(): Promise<void> {
  await automations.stop();
  const closed = scene.engine.drain(0);
  clock.advance(10_000);
  await closed;
}

/** Stopped, started again later. */
async function pauseFor(ms: number): Promise<void> {
  await end();
  clock.advance(ms);
  await begin();
  await settle();
}

/** What was begun comes to its end: nothing here waits for time. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Time passes as it does: no further at once than somebody looks. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 15_000) {
    clock.advance(Math.min(left, 15_000));
    await settle();
  }
}

const create = (params: Record<string, unknown>): Promise<Record<string, unknown>> =>
  owner.request<Record<string, unknown>>("schedule.create", { message: "tick", session_id: "s", ...params });

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function listed(): Promise<any[]> {
  const { schedules } = await owner.request<{ schedules: unknown[] }>("schedule.list", {});
  return schedules;
}

/** The moments something was said for. */
async function said(session_id = "s"): Promise<string[]> {
  try {
    const { messages } = await owner.request<{
      messages: { role: string; metadata: { due_at: number } }[];
    }>("chat.history", { session_id, limit: 1_000 });
    const users = messages.filter(({ role }) => role === "user");
    return users.map(({ metadata }) => new Date(metadata.due_at).toISOString().slice(5, 16));
  } catch {
    return [];
  }
}

describe("a schedule", () => {
  test("says its message at every moment, in the session, as its owner", async () => {
    const made = await create({ cron: "*/2 * * * *" });
    expect(made).toMatchObject({
      owner: "owner",
      next_at: Date.parse("2026-01-01T00:02:00Z"),
      missed: "once",
    });
    await pass(5 * MINUTE);
    expect(await said()).toEqual(["01-01T00:02", "01-01T00:04"]);
    const [schedule] = await listed();
    expect(schedule.last).toMatchObject({
      status: "sent",
      session_id: "s",
      run_id: expect.stringMatching(/^run_/),
    });
    expect(schedule.next_at).toBe(Date.parse("2026-01-01T00:06:00Z"));
  });

  test("without a session says each in a new one", async () => {
    await create({ cron: "* * * * *", session_id: undefined });
    await pass(2 * MINUTE);
    const { sessions } = await owner.request<{ sessions: unknown[] }>("session.list", {});
    expect(sessions).toHaveLength(2);
  });

  test("for one moment says it once, and is gone a day later", async () => {
    const at = START + 90_000;
    await create({ at });
    await pass(2 * MINUTE);
    expect(await said()).toEqual(["01-01T00:02"]);
    expect(await listed()).toMatchObject([{ at, last: { status: "sent", due_at: at } }]);
    clock.jump(DAY);
    await pass(2 * MINUTE);
    expect(await listed()).toEqual([]);
    expect(await said()).toHaveLength(1);
  });

  test("that is changed, turned off or ended keeps to that", async () => {
    const { schedule_id } = await create({ cron: "* * * * *" });
    await pass(MINUTE);
    await owner.request("schedule.update", { schedule_id, cron: "*/10 * * * *", message: "tock" });
    await pass(10 * MINUTE);
    await owner.request("schedule.update", { schedule_id, enabled: false });
    expect((await listed())[0].next_at).toBeUndefined();
    await pass(HOUR);
    await owner.request("schedule.update", { schedule_id, enabled: true });
    await pass(10 * MINUTE);
    expect(await said()).toEqual(["01-01T00:01", "01-01T00:10", "01-01T01:20"]);
    expect(await owner.request("schedule.delete", { schedule_id })).toEqual({ deleted: true });
    expect(await owner.request("schedule.delete", { schedule_id })).toEqual({ deleted: false });
    await pass(HOUR);
    expect(await said()).toHaveLength(3);
  });

  test("says it now when it is asked to, besides its moments", async () => {
    const { schedule_id } = await create({ cron: "0 * * * *" });
    expect(await owner.request("schedule.run", { schedule_id })).toMatchObject({
      session_id: "s",
      status: "started",
    });
    await pass(HOUR);
    const { messages } = await owner.request<{
      messages: { role: string }[];
    }>("chat.history", { session_id: "s" });
    expect(messages.filter(({ role }) => role === "user")).toHaveLength(2);
  });

  test("of somebody who is disabled says nothing, and goes on when they are enabled", async () => {
    await create({ cron: "* * * * *" });
    shut.add("owner");
    await pass(3 * MINUTE);
    expect(await said()).toEqual([]);
    expect((await listed())[0].last).toMatchObject({ status: "skipped", reason: "the user is disabled" });
    shut.clear();
    await pass(MINUTE);
    expect(await said()).toEqual(["01-01T00:04"]);
  });
});

describe("what a stop comes to", () => {
  test.each([
    ["skip", []],
    ["once", ["01-01T03:00"]],
    ["all", ["01-01T01:00", "01-01T02:00", "01-01T03:00"]],
  ])("with %p", async (missed, expected) => {
    await create({ cron: "0 * * * *", missed });
    await pauseFor(3.5 * HOUR);
    await pass(MINUTE);
    expect(await said()).toEqual(expected);
    expect((await listed())[0].next_at).toBe(Date.parse("2026-01-01T04:00:00Z"));
    await pass(HOUR);
    expect((await said()).slice(expected.length)).toEqual(["01-01T04:00"]);
  });

  test("schedule_catch_up: of many moments the newest are made up for", async () => {
    await create({ cron: "0 * * * *", missed: "all" });
    await pauseFor(3 * DAY);
    await pass(MINUTE);
    expect(await said()).toEqual(["01-03T21:00", "01-03T22:00", "01-03T23:00", "01-04T00:00"]);
  });

  test("a short one costs nothing, whatever is to be done about missed moments", async () => {
    await create({ cron: "* * * * *", missed: "skip" });
    await pauseFor(40_000);
    await pass(MINUTE);
    expect(await said()).toEqual(["01-01T00:01", "01-01T00:02"]);
  });

  test("one moment that was missed is told of as that, or said late", async () => {
    await create({ at: START + MINUTE, missed: "skip", session_id: "skipped" });
    await create({ at: START + MINUTE, session_id: "late" });
    await pauseFor(HOUR);
    await pass(MINUTE);
    expect([await said("skipped"), await said("late")]).toEqual([[], ["01-01T00:01"]]);
    expect((await listed()).map(({ last }) => last.status)).toEqual(["missed", "sent"]);
  });
});

describe("the clock", () => {
  test("that is set back has nothing said twice, set forward nothing left out", async () => {
    await create({ cron: "0 * * * *" });
    clock.jump(HOUR);
    await pass(MINUTE);
    expect(await said()).toEqual(["01-01T01:00"]);
    clock.jump(-2 * HOUR);
    await pass(3 * HOUR);
    expect(await said()).toEqual(["01-01T01:00", "01-01T02:00"]);
  });
});

describe("a run that takes longer than until the next moment", () => {
  const never: Script = async function* (_request, signal) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    yield { type: "aborted" };
  };

  test("has the next ones skipped, or queued where the schedule says so", async () => {
    await end();
    await begin(never);
    await create({ cron: "* * * * *", session_id: "skips" });
    await create({ cron: "* * * * *", session_id: "sends", overlap: "send" });
    await pass(3 * MINUTE);
    expect([await said("skips"), await said("sends")]).toEqual([
      ["01-01T00:01"],
      ["01-01T00:01", "01-01T00:02", "01-01T00:03"],
    ]);
    expect((await listed())[0].last).toMatchObject({
      status: "skipped",
      reason: "the run before it was not over",
      run_id: expect.any(String),
    });
    await owner.request("chat.abort", { session_id: "skips" });
    await pass(MINUTE);
    expect(await said("skips")).toEqual(["01-01T00:01", "01-01T00:04"]);
  });
});

describe("what is refused", () => {
  test("a schedule that cannot be meant, and one too many", async () => {
    const refused = async (params: Record<string, unknown>): Promise<unknown> =>
      create(params).then(
        () => "made",
        ({ details }) => details.path ?? details.what,
      );
    expect(await refused({})).toBe("cron");
    expect(await refused({ cron: "* * * * *", at: START + DAY })).toBe("cron");
    expect(await refused({ cron: "* * *" })).toBe("cron");
    expect(await refused({ cron: "0 0 30 2 *" })).toBe("cron");
    expect(await refused({ cron: "@daily", timezone: "Nowhere/Here" })).toBe("timezone");
    expect(await refused({ at: START - 1 })).toBe("at");
    for (let i = 0; i < 3; i++) expect(await refused({ cron: "@daily" })).toBe("made");
    expect(await refused({ cron: "@daily" })).toBe("schedules_per_user");
  });

  test("a message that cannot be sent is told of, and the next one is sent", async () => {
    await owner.request("session.create", { session_id: "gone" });
    await create({ cron: "* * * * *", session_id: "gone" });
    await owner.request("session.delete", { session_id: "gone" });
    await pass(MINUTE);
    expect((await listed())[0].last).toMatchObject({
      status: "failed",
      reason: expect.stringMatching(/^GONE: /),
    });
    await owner.request("session.create", { session_id: "gone" });
    await pass(MINUTE);
    expect(await said("gone")).toEqual(["01-01T00:02"]);
  });
});
