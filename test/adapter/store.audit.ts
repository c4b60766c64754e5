import { expect, test } from "bun:test";
import type { AuditEntry } from "../../src/core/operation.ts";
import type { AuditQuery, Store } from "../../src/core/store.ts";
import type { MakeStore } from "./store.builders.ts";
import { append, auditRow, commit, commitAll, create, event, put, START } from "./store.builders.ts";

const DAY = 86_400_000;

const entries = (store: Store, ...all: Partial<AuditEntry>[]) =>
  commitAll(store, ...all.map((more) => append(null, [], [auditRow(more)])));

async function targets(store: Store, query: Partial<AuditQuery> = {}): Promise<(string | null)[]> {
  return (await store.audit({ limit: 100, ...query })).map(({ target }) => target);
}

export function auditConformance(make: MakeStore): void {
  test("keeps entries as they are, newest first, under ids that grow", async () => {
    await using fixture = await make();
    const { store } = fixture;
    const empty = { credential: null, target: null, user: "", remote: "", client_id: "" };
    await entries(store, { details: '{"role":"viewer"}', count: 3 }, empty);
    const [newer, older, ...more] = await store.audit({ limit: 10 });
    expect(more).toEqual([]);
    const row = (changes: Partial<AuditEntry>) => ({ id: expect.any(Number), ...auditRow(changes).entry });
    expect(newer).toEqual(row(empty));
    expect(older).toEqual(row({ details: '{"role":"viewer"}', count: 3 }));
    expect(newer!.id).toBeGreaterThan(older!.id);
  });

  test("an entry stands and falls with its operation", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a", {}, [auditRow({ target: "made" })]));
    const [refused, gone] = await commit(
      store,
      append("ses_a", [event("x")], [auditRow({ target: "taken back" }), put("m"), put("m")]),
      append("ses_none", [], [auditRow({ target: "nowhere" })]),
    );
    expect([refused, gone]).toMatchObject([{ ok: false, reason: "exists" }, { ok: false }]);
    expect(await targets(store)).toEqual(["made"]);
  });

  test("are found by user, action or its first part, outcome, time and place, in pages", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await entries(
      store,
      { target: "1", action: "token.create" },
      { target: "2", action: "token.revoke", outcome: "FORBIDDEN", user: "bob", ts: START + 1 },
      { target: "3", action: "tokens", user: "bob", ts: START + 2 },
      { target: "4", action: "login", outcome: "UNAUTHORIZED", user: "", ts: START + 3 },
    );
    expect(await targets(store, { user: "bob" })).toEqual(["3", "2"]);
    expect(await targets(store, { user: "" })).toEqual(["4"]);
    expect(await targets(store, { action: "token" })).toEqual(["2", "1"]);
    expect(await targets(store, { action: "token.create" })).toEqual(["1"]);
    expect(await targets(store, { action: "tok" })).toEqual([]);
    expect(await targets(store, { outcome: "ok" })).toEqual(["3", "1"]);
    expect(await targets(store, { outcome: "refused" })).toEqual(["4", "2"]);
    expect(await targets(store, { outcome: "FORBIDDEN" })).toEqual(["2"]);
    expect(await targets(store, { since: START + 2 })).toEqual(["4", "3"]);
    expect(await targets(store, { user: "bob", action: "token", outcome: "ok" })).toEqual([]);
    const first = await store.audit({ limit: 3 });
    expect(first.map(({ target }) => target)).toEqual(["4", "3", "2"]);
    expect(await targets(store, { before: first[2]!.id })).toEqual(["1"]);
  });

  test("go after their time, so many at once", async () => {
    await using fixture = await make({ audit_ttl_secs: 86_400 });
    const { store } = fixture;
    await entries(store, { target: "1" }, { target: "2", ts: START + 1 }, { target: "3", ts: START + 2 });
    expect(await store.expire(START + DAY - 1, 10)).toBe(0);
    expect(await store.expire(START + DAY + 1, 1)).toBe(1);
    expect(await targets(store)).toEqual(["3", "2"]);
    expect(await store.expire(START + DAY + 1, 10)).toBe(1);
    expect(await targets(store)).toEqual(["3"]);
  });

  test("past the bound the oldest of the user who has the most go, and nobody else's", async () => {
    await using fixture = await make({ audit_rows: 5 });
    const { store } = fixture;
    await entries(store, { target: "a1", user: "ada" }, { target: "b1", user: "bob" });
    await entries(store, ...Array.from({ length: 6 }, (_, index) => ({ target: `e${index}`, user: "eve" })));
    await entries(store, { target: "a2", user: "ada" });
    expect(await store.expire(START, 3)).toBe(3);
    expect(await store.expire(START, 3)).toBe(1);
    expect(await store.expire(START, 3)).toBe(0);
    expect(await targets(store)).toEqual(["a2", "e5", "e4", "b1", "a1"]);
    // An id that was used names nothing else.
    const [last] = await store.audit({ limit: 1 });
    await entries(store, {});
    expect((await store.audit({ limit: 1 }))[0]!.id).toBeGreaterThan(last!.id);
  });
}
