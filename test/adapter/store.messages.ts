import { expect, test } from "bun:test";
import type { NewEvent } from "../../src/core/operation.ts";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
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

const HISTORY = { limit: 100, max_bytes: 1_000_000 };

export function messagesConformance(make: MakeStore): void {
  test("a message is filled once, and only while it is streaming", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const done = (message_id: string, status: "complete" | "partial", data = "{}") =>
      append("ses_a", [event("message.completed")], [{ kind: "message.done", message_id, status, data }]);
    const open = append(
      "ses_a",
      [event("x"), event("message.started")],
      [put("msg_1", { event: 1, role: "assistant", status: "streaming" })],
    );
    await commitAll(store, create("ses_a"), open);
    expect(await store.history("ses_a", HISTORY)).toMatchObject({
      messages: [],
      total: 1,
      has_more: false,
      found: true,
    });
    const data = '{"message_id":"msg_1","content":"whole"}';
    const unknown = { ok: false, reason: "unknown" } as const;
    expect(
      await commit(
        store,
        done("msg_1", "complete", data),
        done("msg_1", "partial"),
        done("msg_2", "complete"),
      ),
    ).toEqual([ok(4), unknown, unknown]);
    expect((await store.history("ses_a", HISTORY))?.messages).toEqual([
      { message_id: "msg_1", seq: 3, role: "assistant", status: "complete", data },
    ]);
    expect(await store.session("ses_a")).toMatchObject({ message_count: 1, head: 4 });
  });

  test("a dropped message is gone and its id is free", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const drop = append(
      "ses_a",
      [event("message.discarded")],
      [{ kind: "message.drop", message_id: "msg_1" }],
    );
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), drop);
    expect(await store.session("ses_a")).toMatchObject({ message_count: 0 });
    expect(await commit(store, drop, say("ses_a", "msg_1"))).toEqual([
      { ok: false, reason: "unknown" },
      ok(4),
    ]);
    expect((await store.history("ses_a", HISTORY))?.messages).toMatchObject([
      { message_id: "msg_1", seq: 4 },
    ]);
  });

  test("message ids belong to their session", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a"),
      create("ses_b"),
      say("ses_a", "msg_1"),
      say("ses_b", "msg_1", { content: "b" }),
    );
    expect((await store.history("ses_b", HISTORY))?.messages).toMatchObject([
      { data: '{"message_id":"msg_1","role":"user","content":"b"}' },
    ]);
  });

  test("a run is made, replaced and ended; its session knows the active one", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const active = async () => (await store.session("ses_a"))?.active_run_id;
    const queue = (run_id: string) => append("ses_a", [event("run.queued")], [run(run_id, { event: 0 })]);
    await commitAll(store, create("ses_a"), queue("run_1"), queue("run_2"));
    expect(await active()).toBeNull();
    expect(await store.run("run_1")).toEqual({
      run_id: "run_1",
      session: "ses_a",
      status: "queued",
      data: '{"run_id":"run_1","status":"queued"}',
    });
    await commitAll(
      store,
      append("ses_a", [event("run.started")], [run("run_1", { status: "running", created_at: START + 99 })]),
    );
    expect(await active()).toBe("run_1");
    await commitAll(store, append("ses_a", [event("run.aborted")], [run("run_2", { status: "aborted" })]));
    expect(await active()).toBe("run_1");
    await commitAll(
      store,
      append("ses_a", [event("run.failed")], [run("run_1", { status: "failed", data: "{}" })]),
    );
    expect(await active()).toBeNull();
    expect(await store.run("run_1")).toEqual({
      run_id: "run_1",
      session: "ses_a",
      status: "failed",
      data: "{}",
    });
    expect(await store.run("run_3")).toBeNull();
  });

  test("a run that was never made, or belongs to another session, is not replaced", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), create("ses_b"), startRun("ses_a", "run_1"));
    expect(
      await commit(
        store,
        append("ses_a", [], [run("run_2", { status: "running" })]),
        append("ses_b", [], [run("run_1", { status: "failed" })]),
        append("ses_b", [event("run.queued")], [run("run_1", { event: 0 })]),
      ),
    ).toEqual([
      { ok: false, reason: "unknown" },
      { ok: false, reason: "unknown" },
      { ok: false, reason: "exists" },
    ]);
    expect(await store.run("run_1")).toMatchObject({ session: "ses_a", status: "running" });
  });

  test("a snapshot holds the newest messages that fit, oldest first", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    for (let i = 1; i <= 5; i++)
      await commitAll(store, say("ses_a", `msg_${i}`, { content: "ü".repeat(200) }));
    const ids = async (bytes: number, count: number) => {
      const rows = await store.snapshot("ses_a", bytes, count);
      return [rows?.messages.map(({ message_id }) => message_id).join(), rows?.has_more];
    };
    expect(await ids(1_000_000, 100)).toEqual(["msg_1,msg_2,msg_3,msg_4,msg_5", false]);
    expect(await ids(1_000_000, 5)).toEqual(["msg_1,msg_2,msg_3,msg_4,msg_5", false]);
    expect(await ids(1_000_000, 2)).toEqual(["msg_4,msg_5", true]);
    const one = Buffer.byteLength((await store.snapshot("ses_a", 1, 1))?.messages[0]?.data ?? "") + 100;
    expect(await ids(3 * one, 100)).toEqual(["msg_3,msg_4,msg_5", true]);
    expect(await ids(3 * one - 1, 100)).toEqual(["msg_4,msg_5", true]);
    expect(await ids(1, 100)).toEqual(["msg_5", true]);
    expect(await store.snapshot("ses_none", 1, 1)).toBeNull();
  });

  test("a snapshot has the runs that have not ended and those of its messages, and no open message", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    for (const id of ["1", "2"]) {
      await commitAll(
        store,
        startRun("ses_a", `run_${id}`),
        say("ses_a", `msg_${id}`, { run_id: `run_${id}` }),
        endRun("ses_a", `run_${id}`),
      );
    }
    await commitAll(
      store,
      startRun("ses_a", "run_3"),
      append("ses_a", [event("run.queued")], [run("run_4", { event: 0 })]),
    );
    const open = put("msg_3", { status: "streaming", run_id: "run_3" });
    await commitAll(store, append("ses_a", [event("message.started")], [open]));
    const rows = await store.snapshot("ses_a", 1_000_000, 1);
    expect(rows?.messages.map(({ message_id }) => message_id)).toEqual(["msg_2"]);
    expect(rows?.runs.map(({ run_id, status }) => `${run_id} ${status}`)).toEqual([
      "run_2 completed",
      "run_3 running",
      "run_4 queued",
    ]);
    expect(rows?.session).toMatchObject({ head: 13, message_count: 3, active_run_id: "run_3" });
    expect(rows?.has_more).toBe(true);
  });

  test("history pages backwards and forwards", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    for (let i = 1; i <= 6; i++) await commitAll(store, say("ses_a", `msg_${i}`));
    await commitAll(
      store,
      append("ses_a", [event("message.started")], [put("msg_open", { status: "streaming" })]),
    );
    const read = async (more: { limit?: number; max_bytes?: number; before?: string; after?: string }) => {
      const rows = await store.history("ses_a", { ...HISTORY, ...more });
      return [
        rows?.messages.map(({ message_id }) => message_id.slice(4)).join(""),
        rows?.has_more,
        rows?.found,
        rows?.total,
      ];
    };
    expect(await read({})).toEqual(["123456", false, true, 7]);
    expect(await read({ limit: 6 })).toEqual(["123456", false, true, 7]);
    expect(await read({ limit: 2 })).toEqual(["56", true, true, 7]);
    expect(await read({ limit: 2, before: "msg_5" })).toEqual(["34", true, true, 7]);
    expect(await read({ limit: 2, before: "msg_3" })).toEqual(["12", false, true, 7]);
    expect(await read({ limit: 2, before: "msg_1" })).toEqual(["", false, true, 7]);
    expect(await read({ limit: 2, after: "msg_1" })).toEqual(["23", true, true, 7]);
    expect(await read({ limit: 2, after: "msg_4" })).toEqual(["56", false, true, 7]);
    expect(await read({ limit: 2, after: "msg_6" })).toEqual(["", false, true, 7]);
    expect(await read({ limit: 2, before: "msg_open" })).toEqual(["56", true, true, 7]);
    expect(await read({ after: "msg_1", before: "msg_4" })).toEqual(["23", false, true, 7]);
    expect(await read({ max_bytes: 1 })).toEqual(["6", true, true, 7]);
    expect(await read({ max_bytes: 1, after: "msg_2" })).toEqual(["3", true, true, 7]);
    expect(await read({ before: "msg_none" })).toEqual(["", false, false, 7]);
    expect(await read({ after: "msg_none" })).toEqual(["", false, false, 7]);
    expect(await store.history("ses_none", HISTORY)).toBeNull();
  });

  test("a load has the open messages with what was written of them", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const of = (type: string, message_id: string, run_id: string, more: Record<string, unknown> = {}) =>
      event(type, { message_id, ...more }, { run_id });
    const started = (message_id: string, run_id: string) =>
      append(
        "ses_a",
        [of("message.started", message_id, run_id)],
        [put(message_id, { status: "streaming", run_id, role: "assistant" })],
      );
    const events: NewEvent[] = [
      of("message.delta", "msg_1", "run_1", { text: "a" }),
      of("message.delta", "msg_0", "run_1", { text: "not mine" }),
      event("app.note", { message_id: "msg_1" }),
      of("tool.call", "msg_1", "run_1", { name: "t" }),
      of("run.retrying", "msg_1", "run_1"),
    ];
    const done = append(
      "ses_a",
      [event("message.completed")],
      [{ kind: "message.done", message_id: "msg_2", status: "complete", data: "{}" }],
    );
    await commitAll(
      store,
      create("ses_a"),
      startRun("ses_a", "run_1"),
      started("msg_1", "run_1"),
      append("ses_a", events),
    );
    await commitAll(
      store,
      started("msg_2", "run_1"),
      append("ses_a", [of("message.delta", "msg_2", "run_1")]),
      done,
    );
    const [, loaded, , after] = await commitAll(
      store,
      append("ses_a", [of("message.delta", "msg_1", "run_1", { text: "b" })]),
      { kind: "load", session: "ses_a" },
      append("ses_a", [of("message.delta", "msg_1", "run_1", { text: "c" })]),
      { kind: "load", session: "ses_a" },
    );
    const row = {
      message_id: "msg_1",
      seq: 4,
      role: "assistant",
      status: "streaming",
      data: '{"message_id":"msg_1"}',
    };
    const session = { ...(await store.session("ses_a")), head: 13 };
    const b = { seq: 13, ...of("message.delta", "msg_1", "run_1", { text: "b" }) };
    const first = [{ seq: 5, ...events[0] }, { seq: 8, ...events[3] }, b];
    expect(loaded as unknown).toMatchObject({
      ok: true,
      tail: { session, open: [{ row, events: first }], approvals: [] },
    });
    expect(after).toMatchObject({
      tail: { session: { head: 14 }, open: [{ events: [{}, {}, {}, { seq: 14 }] }] },
    });
    expect(await commit(store, { kind: "load", session: "ses_none" })).toEqual([
      { ok: false, reason: "unknown" },
    ]);
  });
}
