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

const DAY = 86_400_000;

export function keysConformance(make: MakeStore): void {
  test("remembers an answer with the session, epoch and seq of its operation", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a"), append("ses_a", [event("x"), event("y")], [key("k")]));
    await commitAll(store, append("ses_a", [], [key("quiet")]), append(null, [], [key("none")]));
    const row = (name: string) => ({
      fingerprint: `print of ${name}`,
      answer: `{"answer":"${name}"}`,
    });
    expect(await store.idempotency("ada", "k")).toEqual({
      ...row("k"),
      session: "ses_a",
      epoch: "epoch001",
      seq: 2,
    });
    expect(await store.idempotency("ada", "quiet")).toEqual({
      ...row("quiet"),
      session: "ses_a",
      epoch: "epoch001",
      seq: 0,
    });
    expect(await store.idempotency("ada", "none")).toEqual({
      ...row("none"),
      session: null,
      epoch: null,
      seq: 0,
    });
    expect(await store.idempotency("bob", "k")).toBeNull();
    expect(await store.idempotency("ada", "other")).toBeNull();
  });

  test("a key that is taken answers the first operation and does nothing else", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commitAll(store, create("ses_a", {}, [key("k")]));
    const prior = await store.idempotency("ada", "k");
    if (prior === null) throw new Error("the key was not kept");
    const taken = { ok: false, reason: "idempotent", prior } as const;
    const again = key("k", { fingerprint: "another", answer: "{}" });
    expect(
      await commit(
        store,
        create("ses_a", {}, [again]),
        append("ses_none", [event("x")], [again]),
        append("ses_a", [event("x")], [put("msg_1"), again]),
        append("ses_a", [event("y")], [key("k", { user: "bob" })]),
      ),
    ).toEqual([...Array.from({ length: 3 }, () => taken), ok(2)]);
    expect(await store.session("ses_a")).toMatchObject({ head: 2, message_count: 0 });
  });

  test("a failed operation leaves its key free", async () => {
    await using fixture = await make();
    const { store } = fixture;
    await commit(
      store,
      append("ses_none", [], [key("k")]),
      create("ses_a", {}, [key("k"), put("m"), put("m")]),
    );
    expect(await store.idempotency("ada", "k")).toBeNull();
    expect(await commit(store, create("ses_a", {}, [key("k")]))).toEqual([ok(1)]);
  });

  test("a key is free again after its time", async () => {
    await using fixture = await make();
    const { store, clock } = fixture;
    await commitAll(store, create("ses_a", {}, [key("k")]));
    const [late] = await commit(store, append("ses_a", [], [key("k", { created_at: START + DAY - 1 })]));
    expect(late).toMatchObject({ ok: false, reason: "idempotent" });
    clock.set(START + DAY);
    expect(await store.idempotency("ada", "k")).toBeNull();
    await commitAll(
      store,
      append("ses_a", [event("x")], [key("k", { created_at: START + DAY, answer: "2" })]),
    );
    expect(await store.idempotency("ada", "k")).toMatchObject({ answer: "2", seq: 2 });
  });

  test("a user holds so many live keys; expired ones do not count", async () => {
    await using fixture = await make({ keys_per_user: 2 });
    const { store } = fixture;
    const full = { ok: false, reason: "full", what: "keys_per_user" } as const;
    const at = (name: string, created_at: number, user = "ada") =>
      append(null, [], [key(name, { created_at, user })]);
    const none = { ok: true, first_seq: 0, epoch: "" } as const;
    expect(
      await commit(store, at("1", START), at("2", START + 10), at("3", START + 20), at("3", START, "bob")),
    ).toEqual([none, none, full, none]);
    expect(
      await commit(store, at("3", START + DAY), at("4", START + DAY), at("5", START + DAY + 10)),
    ).toEqual([none, full, none]);
    expect(await commit(store, at("6", START + DAY + 10))).toEqual([full]);
  });

  test("expiry erases keys, tombstones and records that are over, so many of each", async () => {
    await using fixture = await make({ keys_per_user: 3 });
    const { store, clock } = fixture;
    const record = (id: string, expires_at: number | null) =>
      ({
        kind: "record.put",
        record: { collection: "c", id, owner: "", data: "{}", expires_at },
      }) as const;
    await commitAll(
      store,
      create("ses_a", { name: "a" }, [key("1"), key("2"), key("3", { created_at: START + DAY })]),
    );
    await commitAll(
      store,
      append(null, [], [record("x", START + 5), record("y", START + 6), record("z", null)]),
    );
    await commitAll(store, close("ses_a", START + DAY));
    expect(await store.expire(START, 10)).toBe(0);
    expect(await store.expire(START + DAY, 1)).toBe(2);
    expect(await store.expire(START + DAY, 10)).toBe(2);
    expect(await store.expire(START + DAY, 10)).toBe(0);
    expect(await commit(store, append(null, [], [key("4", { created_at: START + DAY })]))).toMatchObject([
      { ok: true },
    ]);
    expect(await store.named("ada", "a")).toBe("gone");
    expect(await store.expire(START + 31 * DAY, 10)).toBe(3);
    clock.set(START + DAY);
    expect(await store.named("ada", "a")).toBeNull();
    expect((await store.records("c")).map(({ id }) => id)).toEqual(["z"]);
  });

  test("a user owns so many sessions; one being deleted does not count", async () => {
    await using fixture = await make({ sessions_per_user: 2 });
    const { store } = fixture;
    const full = { ok: false, reason: "full", what: "sessions_per_user" } as const;
    expect(
      await commit(
        store,
        create("ses_a"),
        create("ses_b"),
        create("ses_c"),
        create("ses_d", { owner: "bob" }),
        copyOf("ses_a", "ses_e"),
      ),
    ).toEqual([ok(1), ok(1), full, ok(1), full]);
    expect(await commit(store, close("ses_a"), create("ses_c"), create("ses_e"))).toEqual([
      ok(2),
      ok(1),
      full,
    ]);
    expect(await commit(store, { kind: "erase", session: "ses_a", max_rows: 100 }, create("ses_e"))).toEqual([
      { ok: true, done: true },
      full,
    ]);
  });

  test("a session holds so many messages; one that was dropped does not count", async () => {
    await using fixture = await make({ messages_per_session: 2 });
    const { store } = fixture;
    const full = { ok: false, reason: "full", what: "messages_per_session" } as const;
    await commitAll(store, create("ses_a"), say("ses_a", "msg_1"));
    const two = append("ses_a", [event("x"), event("y")], [put("msg_2"), put("msg_3", { event: 1 })]);
    expect(await commit(store, two, say("ses_a", "msg_2"), say("ses_a", "msg_3"))).toEqual([
      full,
      ok(3),
      full,
    ]);
    await commitAll(
      store,
      append("ses_a", [], [{ kind: "message.drop", message_id: "msg_1" }]),
      say("ses_a", "msg_3"),
    );
    expect(await store.session("ses_a")).toMatchObject({ message_count: 2 });
  });
}
