import { expect, test } from "bun:test";
import type { RunQuery, SessionQuery } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import {
  append,
  close,
  commit,
  commitAll,
  create,
  endRun,
  event,
  key,
  ok,
  put,
  START,
  startRun,
} from "./store.builders.ts";

export function listConformance(make: MakeStore): void {
  test("lists the sessions a user owns or shares, newest first, in pages", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      ...["a", "b", "c", "d"].map((id, index) => create(`ses_${id}`, { created_at: START + index })),
      create("ses_x", { owner: "bob", created_at: START + 1 }),
      create("ses_y", { owner: "bob", created_at: START + 9 }),
    );
    const ids = async (more: Partial<SessionQuery> = {}) =>
      (await store.sessions({ user: "ada", shared: [], limit: 10, ...more }))
        .map(({ id }) => id.slice(4))
        .join("");
    expect(await ids()).toBe("dcba");
    expect(await ids({ shared: ["ses_x", "ses_a", "ses_none"] })).toBe("dcxba");
    expect(await ids({ user: "eve", shared: ["ses_y"] })).toBe("y");
    const shared = ["ses_x"];
    expect(await ids({ shared, limit: 2 })).toBe("dc");
    expect(await ids({ shared, limit: 2, after: { updated_at: START + 2, id: "ses_c" } })).toBe("xb");
    expect(await ids({ shared, limit: 2, after: { updated_at: START + 1, id: "ses_x" } })).toBe("ba");
    expect(await ids({ shared, limit: 2, after: { updated_at: START, id: "ses_a" } })).toBe("");
    await commitAll(store, append("ses_a", [event("x", {}, { ts: START + 50 })]));
    expect(await ids({ shared })).toBe("adcxb");
    expect(await ids({ updated_after: START + 2 })).toBe("ad");
    expect(await store.sessions({ user: "ada", shared: [], limit: 1 })).toEqual([
      (await store.session("ses_a"))!,
    ]);
  });

  test("names the archived sessions of everybody, those first in which nothing happened for the longest", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const settings = { title: "", model: null, system_prompt: null, metadata: "{}" };
    const archive = (id: string, archived: boolean, ts: number) =>
      append(id, [event("session.updated", {}, { ts })], [{ kind: "session.update", ...settings, archived }]);
    for (const id of ["ses_a", "ses_b", "ses_c", "ses_d", "ses_e"])
      await commitAll(store, create(id, { owner: id === "ses_b" ? "bob" : "ada" }));
    await commitAll(store, archive("ses_a", true, START + 30), archive("ses_b", true, START + 10));
    await commitAll(store, archive("ses_d", true, START + 5), archive("ses_d", false, START + 6));
    await commitAll(store, archive("ses_e", true, START + 1), close("ses_e"));
    const ids = async (limit: number) => (await store.archived(limit)).map(({ id }) => id);
    expect(await ids(10)).toEqual(["ses_b", "ses_a"]);
    expect(await ids(1)).toEqual(["ses_b"]);
    expect(await store.archived(1)).toEqual([(await store.session("ses_b"))!]);
  });

  test("finds sessions by a part of title or name, whatever the case", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a", { title: "Über die Brücke", name: "trip-1" }),
      create("ses_b", { title: "100% of a_b", name: "Plan" }),
      create("ses_x", { title: "shared trip", name: "plan-of-bob", owner: "bob" }),
    );
    const ids = async (query: string, more: Partial<SessionQuery> = {}) =>
      (await store.sessions({ user: "ada", shared: ["ses_x"], limit: 10, query, ...more }))
        .map(({ id }) => id.slice(4))
        .toSorted()
        .join("");
    expect(await ids("ÜBER")).toBe("a");
    expect(await ids("BRÜCKE")).toBe("a");
    expect(await ids("TRIP")).toBe("ax");
    expect(await ids("%")).toBe("b");
    expect(await ids("a_b")).toBe("b");
    expect(await ids("axb")).toBe("");
    // another owner's name for a session is not one to find it by
    expect(await ids("plan")).toBe("b");
    expect(await ids("")).toBe("abx");
    const update = {
      title: "Elsewhere",
      model: null,
      system_prompt: null,
      metadata: "{}",
      archived: true,
    };
    await commitAll(store, append("ses_a", [], [{ kind: "session.update", ...update }]));
    expect(await ids("elseWHERE")).toBe("a");
    expect(await ids("über")).toBe("");
    expect(await ids("", { archived: true })).toBe("a");
    expect(await ids("", { archived: false })).toBe("bx");
  });

  test("lists runs of the sessions a user may read, newest first, in pages", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a"),
      create("ses_b"),
      create("ses_x", { owner: "bob" }),
      create("ses_y", { owner: "bob" }),
    );
    await commitAll(
      store,
      ...[
        ["ses_a", "run_1", 1],
        ["ses_b", "run_2", 2],
        ["ses_x", "run_3", 2],
        ["ses_a", "run_4", 4],
        ["ses_y", "run_5", 5],
      ].map(([session, id, at]) => startRun(String(session), String(id), { created_at: START + Number(at) })),
      endRun("ses_a", "run_1"),
    );
    const ids = async (more: Partial<RunQuery> = {}) =>
      (await store.runs({ user: "ada", shared: [], limit: 10, ...more }))
        .map(({ run_id }) => run_id.slice(4))
        .join("");
    expect(await ids()).toBe("421");
    const shared = ["ses_x"];
    expect(await ids({ shared })).toBe("4321");
    expect(await ids({ shared, limit: 2 })).toBe("43");
    expect(await ids({ shared, limit: 2, after: { created_at: START + 2, id: "run_3" } })).toBe("21");
    expect(await ids({ shared, status: "running" })).toBe("432");
    expect(await ids({ shared, status: "completed" })).toBe("1");
    expect(await ids({ shared, session: "ses_a" })).toBe("41");
    expect(
      await ids({
        shared,
        session: "ses_a",
        limit: 1,
        after: { created_at: START + 4, id: "run_4" },
      }),
    ).toBe("1");
    expect(await ids({ shared, session: "ses_x" })).toBe("3");
    expect(await ids({ shared, session: "ses_y" })).toBe("");
    expect(await ids({ user: "bob", status: "queued" })).toBe("");
    expect(await store.runs({ user: "bob", shared: [], limit: 1 })).toEqual([
      {
        run_id: "run_5",
        session: "ses_y",
        status: "running",
        data: '{"run_id":"run_5","status":"running"}',
      },
    ]);
  });

  test("keeps records by collection and owner, oldest first, until they expire", async () => {
    await using fixture = await make();
    const { store, clock } = fixture;
    const record = (
      id: string,
      owner: string,
      expires_at: number | null = null,
      data = "{}",
      collection = "token",
    ) => ({
      collection,
      id,
      owner,
      data,
      expires_at,
    });
    const rows = [record("c", "ada"), record("b", "bob"), record("a", "ada", START + 10)];
    await commitAll(
      store,
      append(
        null,
        [],
        rows.map((row) => ({ kind: "record.put" as const, record: row })),
      ),
      append(null, [], [{ kind: "record.put", record: record("a", "ada", null, "{}", "share") }]),
    );
    expect(await store.records("token")).toEqual(rows);
    expect(await store.records("token", "ada")).toEqual([rows[0]!, rows[2]!]);
    expect(await store.records("share")).toHaveLength(1);
    expect(await store.records("none")).toEqual([]);
    expect(await store.record("token", "b")).toEqual(rows[1]!);
    expect([await store.record("share", "b"), await store.record("token", "none")]).toEqual([null, null]);
    const changed = record("c", "eve", START + 20, '{"n":2}');
    await commitAll(store, append(null, [], [{ kind: "record.put", record: changed }]));
    expect(await store.records("token")).toEqual([changed, rows[1]!, rows[2]!]);
    clock.set(START + 10);
    expect(await store.records("token")).toEqual([changed, rows[1]!]);
    expect(await store.record("token", "a")).toBeNull();
    await commitAll(
      store,
      append(
        null,
        [],
        [
          { kind: "record.drop", collection: "token", id: "c" },
          { kind: "record.drop", collection: "token", id: "none" },
        ],
      ),
      append(null, [], [{ kind: "record.put", record: record("c", "ada") }]),
    );
    expect(await store.records("token")).toEqual([rows[1]!, record("c", "ada")]);
  });

  test("knows who owns sessions, and how many", async () => {
    await using fixture = await make();
    const { store } = fixture;
    expect(await store.owners()).toEqual([]);
    await commitAll(
      store,
      create("ses_a"),
      create("ses_b"),
      create("ses_c", { owner: "Bob" }),
      close("ses_b"),
    );
    expect(await store.owners()).toEqual([
      { user: "Bob", sessions: 1 },
      { user: "ada", sessions: 1 },
    ]);
  });

  test("gives a session to another user, without its name, with its runs and what it counts for", async () => {
    await using fixture = await make({ sessions_per_user: 1 });
    const { store } = fixture;
    await commitAll(
      store,
      create("ses_a", { name: "plan" }),
      create("ses_b", { owner: "bob", name: "plan" }),
    );
    await commitAll(store, startRun("ses_a", "run_1"), endRun("ses_a", "run_1"));
    const transfer = { kind: "session.transfer", owner: "bob" } as const;
    const refused = append("ses_a", [event("session.updated")], [transfer, put("m"), put("m")]);
    expect(await commit(store, refused)).toEqual([{ ok: false, reason: "exists" }]);
    expect(await store.named("ada", "plan")).toMatchObject({ id: "ses_a", owner: "ada" });
    await commitAll(store, append("ses_a", [event("session.updated")], [transfer]));
    expect(await store.session("ses_a")).toMatchObject({ owner: "bob", name: null, head: 5 });
    expect(await store.named("ada", "plan")).toBeNull();
    expect(await store.named("bob", "plan")).toMatchObject({ id: "ses_b" });
    const of = { shared: [], limit: 10 };
    expect(await store.runs({ user: "ada", ...of })).toEqual([]);
    expect((await store.runs({ user: "bob", ...of })).map(({ run_id }) => run_id)).toEqual(["run_1"]);
    expect(await store.owners()).toEqual([{ user: "bob", sessions: 2 }]);
    // The one has room again, the other has none.
    const full = { ok: false, reason: "full", what: "sessions_per_user" } as const;
    expect(await commit(store, create("ses_c", { name: "plan" }), create("ses_d", { owner: "bob" }))).toEqual(
      [ok(1), full],
    );
  });

  test("forgets the keys of a user, so many at once, and nobody else's", async () => {
    await using fixture = await make({ keys_per_user: 3 });
    const { store } = fixture;
    const keys = ["1", "2", "3"].map((name) => append(null, [], [key(name)]));
    await commitAll(store, ...keys, append(null, [], [key("1", { user: "bob" })]));
    const forget = { kind: "forget", user: "ada", max_rows: 2 } as const;
    expect(await commit(store, forget, forget, forget)).toEqual([
      { ok: true, done: false },
      { ok: true, done: true },
      { ok: true, done: true },
    ]);
    expect(await store.idempotency("ada", "1")).toBeNull();
    expect(await store.idempotency("bob", "1")).not.toBeNull();
    await commitAll(store, ...keys);
  });

  test("counts what there is", async () => {
    await using fixture = await make();
    expect(await fixture.store.totals()).toEqual({ sessions: 0, messages: 0, events: 0 });
    await commitAll(fixture.store, create("ses_a"), startRun("ses_a", "run_1"), create("ses_b"));
    expect(await fixture.store.totals()).toEqual({ sessions: 2, messages: 0, events: 4 });
    await fixture.store.probe();
  });

  test("answers, also while it has something to write, and writes nothing for it", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const committed = commitAll(store, create("ses_a"));
    await store.answers();
    await committed;
    expect(await store.totals()).toEqual({ sessions: 1, messages: 0, events: 1 });
    await store.close();
    expect(await store.answers().catch((error: unknown) => error)).toBeInstanceOf(Error);
  });
}
