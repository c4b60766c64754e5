import { expect, test } from "bun:test";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
  commit,
  create,
  createRow,
  endRun,
  EPOCH,
  event,
  failure,
  ok,
  put,
  run,
  say,
  START,
  startRun,
} from "./store.builders.ts";

export function appendConformance(make: MakeStore): void {
  test("numbers events from 1 without a gap, across groups and sessions", async () => {
    await using fixture = await make();
    const { store } = fixture;
    expect(
      await commit(store, create("ses_a"), create("ses_b"), append("ses_a", [event("x"), event("y")])),
    ).toEqual([ok(1), ok(1), ok(2)]);
    expect(await commit(store, append("ses_a", [event("z")]), append("ses_a", []))).toEqual([ok(4), ok(5)]);
    expect(await store.page("ses_a", 0, 100)).toEqual({
      epoch: EPOCH,
      floor: 0,
      head: 4,
      events: ["session.created", "x", "y", "z"].map((type, index) => ({
        seq: index + 1,
        ...event(type),
      })),
    });
  });

  test("keeps what it was given, byte for byte", async () => {
    await using fixture = await make();
    const payload = '{"b":1, "a":"\\u0041 ü 🚀 \\\\ \\"quoted\\"\\n","n":1.0}';
    const made = { type: "app.note", ts: START + 7, run_id: "run_x", payload };
    await commit(fixture.store, create("ses_a"), append("ses_a", [made]));
    expect((await fixture.store.page("ses_a", 1, 2))?.events).toEqual([{ seq: 2, ...made }]);
  });

  test("an empty group changes nothing", async () => {
    await using fixture = await make();
    expect(await fixture.store.commit([])).toEqual({ ok: true, results: [] });
  });

  test("an operation that breaks a rule fails alone and leaves nothing behind", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commit(store, create("ses_a"), say("ses_a", "msg_1"));
    const twice = append(
      "ses_a",
      [event("x"), event("y")],
      [put("msg_2"), run("run_1", { event: 0 }), put("msg_1")],
    );
    expect(await commit(store, append("ses_a", [event("a")]), twice, append("ses_a", [event("b")]))).toEqual([
      ok(3),
      { ok: false, reason: "exists" },
      ok(4),
    ]);
    expect(await store.run("run_1")).toBeNull();
    expect(await store.session("ses_a")).toMatchObject({ head: 4, message_count: 1 });
    expect((await store.page("ses_a", 2, 9))?.events.map(({ type }) => type)).toEqual(["a", "b"]);
  });

  test("a session that a failed operation would have made does not exist", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const broken = create("ses_a", { name: "mine" }, [{ kind: "message.drop", message_id: "msg_none" }]);
    expect(
      await commit(store, broken, append("ses_a", [event("x")]), create("ses_b", { name: "mine" })),
    ).toEqual([{ ok: false, reason: "unknown" }, { ok: false, reason: "unknown" }, ok(1)]);
    expect(await store.session("ses_a")).toBeNull();
    expect(await store.totals()).toEqual({ sessions: 1, messages: 0, events: 1 });
  });

  test("later operations of a run that failed are skipped, those of others are not", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commit(store, create("ses_a"), create("ses_b"));
    const drop = {
      ...append("ses_a", [event("x")], [{ kind: "message.drop" as const, message_id: "msg_none" }]),
      run: "run_1",
    };
    expect(
      await commit(
        store,
        startRun("ses_a", "run_1"),
        drop,
        startRun("ses_b", "run_2"),
        endRun("ses_a", "run_1"),
        append("ses_a", [event("y")]),
        { ...append("ses_a", [event("z")]), run: "run_1" },
      ),
    ).toEqual([
      ok(2),
      { ok: false, reason: "unknown" },
      ok(2),
      { ok: false, reason: "skipped" },
      ok(4),
      { ok: false, reason: "skipped" },
    ]);
    expect(await commit(store, endRun("ses_a", "run_1"))).toEqual([ok(5)]);
  });

  test("a session that does not exist is unknown", async () => {
    await using fixture = await make();
    expect(await commit(fixture.store, append("ses_none", [event("x")]), append("ses_none", []))).toEqual([
      { ok: false, reason: "unknown" },
      { ok: false, reason: "unknown" },
    ]);
  });

  test("an id and an owner's name are taken once", async () => {
    await using fixture = await make();
    const results = await commit(
      fixture.store,
      create("ses_a", { name: "one" }),
      create("ses_a", { name: "two" }),
      create("ses_b", { name: "one" }),
      create("ses_c", { name: "one", owner: "bob" }),
      create("ses_d"),
      create("ses_e"),
    );
    const exists = { ok: false, reason: "exists" } as const;
    expect(results).toEqual([ok(1), exists, exists, ok(1), ok(1), ok(1)]);
    expect((await fixture.store.named("ada", "one"))?.valueOf()).toMatchObject({ id: "ses_a" });
    expect((await fixture.store.named("bob", "one"))?.valueOf()).toMatchObject({ id: "ses_c" });
    expect(await fixture.store.named("bob", "two")).toBeNull();
  });

  test("keeps a session's row as its events make it", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const settings = {
      name: "n",
      title: "T",
      model: "m",
      system_prompt: "be kind",
      metadata: '{"a":1}',
    };
    await commit(store, create("ses_a", { ...settings, created_at: START + 5 }));
    const first = {
      id: "ses_a",
      owner: "ada",
      epoch: EPOCH,
      floor: 0,
      head: 1,
      ...settings,
      created_at: START + 5,
      updated_at: START + 5,
      message_count: 0,
      archived: false,
      active_run_id: null,
    };
    expect(await store.session("ses_a")).toEqual(first);
    const updated = {
      title: "U",
      model: null,
      system_prompt: null,
      metadata: "{}",
      archived: true,
    };
    await commit(
      store,
      append(
        "ses_a",
        [event("a", {}, { ts: START + 9 }), event("session.updated", {}, { ts: START + 8 })],
        [{ kind: "session.update", ...updated }],
      ),
    );
    const second = { ...first, ...updated, head: 3, updated_at: START + 8 };
    expect(await store.session("ses_a")).toEqual(second);
    expect(await store.named("ada", "n")).toEqual(second);
    await commit(store, append("ses_a", [], [{ kind: "session.update", ...updated, title: "V" }]));
    expect(await store.session("ses_a")).toEqual({ ...second, title: "V" });
  });

  test("a session made without an event begins at 0", async () => {
    await using fixture = await make();
    expect(await commit(fixture.store, append("ses_a", [], [createRow()]))).toEqual([ok(1)]);
    expect(await fixture.store.session("ses_a")).toMatchObject({ head: 0, updated_at: START });
    expect(await fixture.store.page("ses_a", 0, 10)).toEqual({
      epoch: EPOCH,
      floor: 0,
      head: 0,
      events: [],
    });
  });

  test("without a session only rows that belong to none are written", async () => {
    await using fixture = await make();
    const record = { collection: "c", id: "1", owner: "", data: "{}", expires_at: null };
    expect(
      await commit(
        fixture.store,
        append(null, [], [{ kind: "record.put", record }]),
        append(null, [event("x")]),
        append(
          null,
          [],
          [
            { kind: "record.drop", collection: "c", id: "1" },
            { kind: "message.drop", message_id: "msg_1" },
          ],
        ),
      ),
    ).toEqual([
      { ok: true, first_seq: 0, epoch: "" },
      { ok: false, reason: "unknown" },
      { ok: false, reason: "unknown" },
    ]);
    expect(await fixture.store.records("c")).toEqual([record]);
  });

  test("a change that names no event of its operation is refused before anything is written", async () => {
    await using fixture = await make();
    const group = [create("ses_a"), append("ses_a", [event("x")], [put("msg_1", { event: 1 })])];
    expect((await failure(fixture.store.commit(group))).message).toContain("message.put names event 1");
    expect(await commit(fixture.store, create("ses_a"))).toEqual([ok(1)]);
  });
}
