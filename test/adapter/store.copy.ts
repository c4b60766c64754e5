import { expect, test } from "bun:test";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
  close,
  commit,
  commitAll,
  copyOf,
  create,
  event,
  key,
  ok,
  put,
  say,
  START,
} from "./store.builders.ts";

const HISTORY = { limit: 1000, max_bytes: 10_000_000 };
const done = { ok: true, done: true } as const;
const more = { ok: true, done: false } as const;

export function copyConformance(make: MakeStore): void {
  test("copies messages in groups into a session that exists for nobody before the last one", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const settings = {
      name: "n",
      title: "T",
      model: "m",
      system_prompt: "be kind",
      metadata: '{"a":1}',
    };
    await commitAll(store, create("ses_a", settings));
    for (let i = 1; i <= 5; i++)
      await commitAll(store, append("ses_a", [event("x")]), say("ses_a", `msg_${i}`, { run_id: "run_1" }));
    const group = copyOf("ses_a", "ses_c", { owner: "bob", max_rows: 2 });
    expect(await commit(store, group)).toEqual([more]);
    expect(await store.session("ses_c")).toBeNull();
    expect(await store.page("ses_c", 0, 9)).toBeNull();
    expect(await store.snapshot("ses_c", 1000, 9)).toBeNull();
    expect(await store.history("ses_c", HISTORY)).toBeNull();
    expect(await store.sessions({ user: "bob", shared: [], limit: 9 })).toEqual([]);
    expect(await store.totals()).toMatchObject({ sessions: 1, messages: 5 });
    const unknown = { ok: false, reason: "unknown" } as const;
    expect(
      await commit(
        store,
        append("ses_c", [event("x")]),
        { kind: "load", session: "ses_c" },
        copyOf("ses_c", "ses_d"),
      ),
    ).toEqual([unknown, unknown, unknown]);
    expect(await commit(store, create("ses_c"), group)).toEqual([{ ok: false, reason: "exists" }, more]);
    expect(await commit(store, group)).toEqual([done]);
    expect(await store.session("ses_c")).toEqual({
      id: "ses_c",
      ...settings,
      owner: "bob",
      name: null,
      epoch: "epochcpy",
      floor: 5,
      head: 5,
      title: "a copy",
      created_at: START + 1,
      updated_at: START + 1,
      message_count: 5,
      archived: false,
      active_run_id: null,
    });
    expect((await store.history("ses_c", HISTORY))?.messages).toEqual(
      [1, 2, 3, 4, 5].map((seq) => ({
        message_id: `msg_${seq}`,
        seq,
        role: "user",
        status: "complete",
        data: `{"message_id":"msg_${seq}","role":"user","content":"msg_${seq}"}`,
      })),
    );
    expect(await store.page("ses_c", 5, 9)).toEqual({
      epoch: "epochcpy",
      floor: 5,
      head: 5,
      events: [],
    });
    expect(await commit(store, append("ses_c", [event("x")]), group)).toEqual([
      ok(6, "epochcpy"),
      { ok: false, reason: "exists" },
    ]);
    expect(await store.session("ses_a")).toMatchObject({
      owner: "ada",
      message_count: 5,
      head: 11,
    });
  });

  test("copies up to and with a message, and what it was when the copy began", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const open = append("ses_a", [event("message.started")], [put("msg_open", { status: "streaming" })]);
    const partial = append("ses_a", [event("x")], [put("msg_part", { status: "partial" })]);
    const fill = append(
      "ses_a",
      [event("y")],
      [{ kind: "message.done", message_id: "msg_open", status: "complete", data: "{}" }],
    );
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), open, partial, say("ses_a", "msg_3"));
    const upto = copyOf("ses_a", "ses_b", { message_id: "msg_part", max_rows: 1 });
    const all = copyOf("ses_a", "ses_c", { max_rows: 1 });
    expect(await commit(store, upto, all, fill, say("ses_a", "msg_late"), upto, all, all)).toEqual([
      more,
      more,
      ok(6),
      ok(7),
      done,
      more,
      done,
    ]);
    const ids = async (id: string) =>
      (await store.history(id, HISTORY))?.messages.map(({ message_id, status }) => `${message_id} ${status}`);
    expect(await ids("ses_b")).toEqual(["msg_1 complete", "msg_part partial"]);
    expect(await ids("ses_c")).toEqual(["msg_1 complete", "msg_part partial", "msg_3 complete"]);
  });

  test("copies an empty session", async () => {
    await using fixture = await make();
    await commitAll(fixture.store, create("ses_a"));
    expect(await commit(fixture.store, copyOf("ses_a", "ses_b"))).toEqual([done]);
    expect(await fixture.store.session("ses_b")).toMatchObject({
      head: 0,
      floor: 0,
      message_count: 0,
    });
    expect(await commit(fixture.store, append("ses_b", [event("x")]))).toEqual([ok(1, "epochcpy")]);
  });

  test("a group of a copy is bounded in bytes", async () => {
    await using fixture = await make({ group_bytes: 1000 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"));
    for (const [id, size] of [
      ["1", 5000],
      ["2", 300],
      ["3", 300],
      ["4", 300],
    ] as const) {
      await commitAll(store, say("ses_a", `msg_${id}`, { content: "x".repeat(size) }));
    }
    const group = copyOf("ses_a", "ses_b");
    expect(await commit(store, group, group, group)).toEqual([more, more, done]);
    expect((await store.history("ses_b", HISTORY))?.messages).toHaveLength(4);
  });

  test("refuses a source or a message it does not know", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a"),
      create("ses_b"),
      say("ses_b", "msg_1"),
      create("ses_x"),
      close("ses_x"),
    );
    expect(
      await commit(
        store,
        copyOf("ses_none", "ses_c"),
        copyOf("ses_x", "ses_c"),
        copyOf("ses_a", "ses_c", { message_id: "msg_1" }),
        copyOf("ses_a", "ses_b"),
      ),
    ).toEqual([
      { ok: false, reason: "unknown" },
      { ok: false, reason: "gone" },
      { ok: false, reason: "unknown" },
      { ok: false, reason: "exists" },
    ]);
    expect(await store.totals()).toMatchObject({ sessions: 2 });
  });

  test("a copy whose source went away is erased without a trace", async () => {
    await using fixture = await make({ sessions_per_user: 2 });
    const { store } = fixture;
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), say("ses_a", "msg_2"));
    const group = copyOf("ses_a", "ses_b", { max_rows: 1 });
    expect(await commit(store, group, close("ses_a"), group)).toEqual([
      more,
      ok(4),
      { ok: false, reason: "gone" },
    ]);
    expect(await commit(store, { kind: "erase", session: "ses_b", max_rows: 100 })).toEqual([done]);
    expect(await store.deleted("ses_b", "ada")).toBe(false);
    expect(await commit(store, create("ses_b"), create("ses_c"))).toEqual([ok(1), ok(1)]);
  });

  test("the key of a copy is remembered with its last group", async () => {
    await using fixture = await make({ keys_per_user: 1 });
    const { store } = fixture;
    const remember = {
      user: "ada",
      key: "k",
      fingerprint: "print",
      answer: "{}",
      created_at: START,
    };
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), say("ses_a", "msg_2"));
    const group = copyOf("ses_a", "ses_b", { max_rows: 1, remember });
    expect(await commit(store, group)).toEqual([more]);
    expect(await store.idempotency("ada", "k")).toBeNull();
    expect(await commit(store, group)).toEqual([done]);
    const prior = {
      fingerprint: "print",
      answer: "{}",
      session: "ses_b",
      epoch: "epochcpy",
      seq: 0,
    };
    expect(await store.idempotency("ada", "k")).toEqual(prior);
    const other = copyOf("ses_a", "ses_c", { remember: { ...remember, key: "other" } });
    expect(await commit(store, copyOf("ses_a", "ses_c", { remember }), other)).toEqual([
      { ok: false, reason: "idempotent", prior },
      { ok: false, reason: "full", what: "keys_per_user" },
    ]);
    expect(await store.totals()).toMatchObject({ sessions: 2 });
  });

  test("a key taken while a copy went on stops it before its last group", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const remember = {
      user: "ada",
      key: "k",
      fingerprint: "print",
      answer: "{}",
      created_at: START,
    };
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"), say("ses_a", "msg_2"));
    const group = copyOf("ses_a", "ses_b", { max_rows: 1, remember });
    await commitAll(store, group, append("ses_a", [], [key("k")]));
    expect(await commit(store, group)).toMatchObject([{ ok: false, reason: "idempotent" }]);
    expect(await store.session("ses_b")).toBeNull();
    expect(await commit(store, { kind: "erase", session: "ses_b", max_rows: 9 })).toEqual([done]);
  });
}
