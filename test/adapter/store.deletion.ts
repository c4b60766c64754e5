import { expect, test } from "bun:test";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
  close,
  commit,
  commitAll,
  create,
  endRun,
  event,
  ok,
  put,
  run,
  say,
  START,
  startRun,
} from "./store.builders.ts";

const MONTH = 30 * 86_400_000;
const gone = { ok: false, reason: "gone" } as const;

export function deletionConformance(make: MakeStore): void {
  test("a closed session is found nowhere and its name answers gone", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a", { name: "mine" }),
      say("ses_a", "msg_1"),
      startRun("ses_a", "run_1"),
      close("ses_a"),
    );
    expect(await store.session("ses_a")).toBeNull();
    expect(await store.page("ses_a", 0, 9)).toBeNull();
    expect(await store.snapshot("ses_a", 1000, 10)).toBeNull();
    expect(await store.history("ses_a", { limit: 10, max_bytes: 1000 })).toBeNull();
    expect(await store.run("run_1")).toBeNull();
    expect(await store.runs({ user: "ada", shared: ["ses_a"], limit: 10 })).toEqual([]);
    expect(await store.sessions({ user: "ada", shared: ["ses_a"], limit: 10 })).toEqual([]);
    expect(await store.totals()).toEqual({ sessions: 0, messages: 0, events: 0 });
    expect(await store.named("ada", "mine")).toBe("gone");
    expect(await store.named("bob", "mine")).toBeNull();
    expect(await store.deleted("ses_a", "ada")).toBe(true);
    expect(await store.deleted("ses_a", "bob")).toBe(false);
    expect(await store.deleted("ses_b", "ada")).toBe(false);
  });

  test("a session being deleted takes the end of a run and nothing else", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), startRun("ses_a", "run_1"), close("ses_a"));
    const queued = append("ses_a", [event("run.queued")], [run("run_2", { event: 0 })]);
    const trim = { kind: "trim", session: "ses_a", before: START + 1, max_rows: 9 } as const;
    const load = { kind: "load", session: "ses_a" } as const;
    const refused = [append("ses_a", [event("x")]), append("ses_a", []), queued, close("ses_a"), trim];
    expect(await commit(store, ...refused, endRun("ses_a", "run_1"))).toEqual([
      gone,
      gone,
      gone,
      gone,
      gone,
      ok(5),
    ]);
    expect(await commit(store, load)).toMatchObject([
      { ok: true, tail: { session: { name: null, head: 5 }, open: [] } },
    ]);
  });

  test("erases in groups, the row last", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a"),
      create("ses_b"),
      say("ses_b", "msg_1"),
      startRun("ses_b", "run_b"),
    );
    for (let i = 0; i < 4; i++) await commitAll(store, say("ses_a", `msg_${i}`));
    await commitAll(store, startRun("ses_a", "run_a"), close("ses_a"));
    const erase = { kind: "erase", session: "ses_a", max_rows: 5 } as const;
    const more = { ok: true, done: false } as const;
    // 8 events, 4 messages, 1 run
    expect(await commit(store, erase, erase)).toEqual([more, more]);
    expect(await commit(store, erase)).toEqual([{ ok: true, done: true }]);
    expect(await commit(store, append("ses_a", [event("x")]), erase)).toEqual([
      { ok: false, reason: "unknown" },
      { ok: true, done: true },
    ]);
    expect(await store.deleted("ses_a", "ada")).toBe(true);
    expect(await store.totals()).toEqual({ sessions: 1, messages: 1, events: 4 });
    expect(await store.run("run_b")).not.toBeNull();
    expect(await store.history("ses_b", { limit: 9, max_bytes: 1000 })).toMatchObject({
      messages: [{ message_id: "msg_1" }],
    });
  });

  test("a live session is not erased", async () => {
    await using fixture = await make();
    await commitAll(fixture.store, create("ses_a"));
    expect(await commit(fixture.store, { kind: "erase", session: "ses_a", max_rows: 5 })).toEqual([
      { ok: false, reason: "exists" },
    ]);
    expect(await fixture.store.session("ses_a")).not.toBeNull();
  });

  test("a deleted name is made again only by one who may revive it", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a", { name: "mine" }), say("ses_a", "msg_1"), close("ses_a"));
    expect(
      await commit(
        store,
        create("ses_b", { name: "mine" }),
        create("ses_a", { name: "mine", revive: true }),
        create("ses_b", { name: "mine", owner: "bob" }),
        create("ses_c", { name: "mine", revive: true, epoch: "epoch002" }),
        create("ses_d", { name: "mine", revive: true }),
      ),
    ).toEqual([
      gone,
      { ok: false, reason: "exists" },
      ok(1),
      ok(1, "epoch002"),
      { ok: false, reason: "exists" },
    ]);
    expect(await store.named("ada", "mine")).toMatchObject({
      id: "ses_c",
      epoch: "epoch002",
      message_count: 0,
    });
    expect(await store.deleted("ses_a", "ada")).toBe(true);
    await commitAll(store, { kind: "erase", session: "ses_a", max_rows: 100 });
    expect(await store.named("ada", "mine")).toMatchObject({ id: "ses_c", head: 1 });
    await commitAll(store, close("ses_c", START + 1));
    expect(await store.named("ada", "mine")).toBe("gone");
  });

  test("a tombstone answers for 30 days", async () => {
    await using fixture = await make();
    const { store, clock } = fixture;
    await commitAll(store, create("ses_a", { name: "mine" }), close("ses_a"));
    clock.set(START + MONTH - 1);
    expect(await store.named("ada", "mine")).toBe("gone");
    const again = (created_at: number) => create("ses_b", { name: "mine", created_at });
    expect(await commit(store, again(START + MONTH - 1))).toEqual([gone]);
    clock.set(START + MONTH);
    expect(await store.named("ada", "mine")).toBeNull();
    expect(await store.deleted("ses_a", "ada")).toBe(false);
    expect(await commit(store, again(START + MONTH))).toEqual([ok(1)]);
  });

  test("the rows of a close are written with it", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const open = append("ses_a", [event("message.started")], [put("msg_1", { status: "streaming" })]);
    await commitAll(store, create("ses_a", { name: "mine" }), open);
    const refused = append(
      "ses_a",
      [event("session.closed")],
      [
        { kind: "session.close", at: START },
        { kind: "message.done", message_id: "msg_none", status: "partial", data: "{}" },
      ],
    );
    expect(await commit(store, refused)).toEqual([{ ok: false, reason: "unknown" }]);
    expect(await store.named("ada", "mine")).toMatchObject({ id: "ses_a", head: 2 });
    expect(await store.deleted("ses_a", "ada")).toBe(false);
    expect(await commit(store, create("ses_b", { name: "mine" }))).toEqual([{ ok: false, reason: "exists" }]);
  });

  test("what was erased is nowhere any more once words of it were tidied away", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), close("ses_a"));
    await commitAll(store, { kind: "erase", session: "ses_a", max_rows: 100 });
    while ((await store.index(10)) > 0);
    expect(await store.scrub()).toBe(true);
    await commitAll(store, create("ses_b"), say("ses_b", "msg_1"));
    expect((await store.session("ses_b"))?.message_count).toBe(1);
  });
}
