import { expect, test } from "bun:test";
import type { RunQuery, SessionQuery } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, commitAll, create, endRun, event, START, startRun } from "./store.builders.ts";

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
    const changed = record("c", "eve", START + 20, '{"n":2}');
    await commitAll(store, append(null, [], [{ kind: "record.put", record: changed }]));
    expect(await store.records("token")).toEqual([changed, rows[1]!, rows[2]!]);
    clock.set(START + 10);
    expect(await store.records("token")).toEqual([changed, rows[1]!]);
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

  test("counts what there is", async () => {
    await using fixture = await make();
    expect(await fixture.store.totals()).toEqual({ sessions: 0, messages: 0, events: 0 });
    await commitAll(fixture.store, create("ses_a"), startRun("ses_a", "run_1"), create("ses_b"));
    expect(await fixture.store.totals()).toEqual({ sessions: 2, messages: 0, events: 4 });
    await fixture.store.probe();
  });
}
