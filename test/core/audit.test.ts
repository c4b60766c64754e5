import { Type } from "@sinclair/typebox";
import { expect, test } from "bun:test";
import { Audit } from "../../src/core/audit.ts";
import type { AuditEntry, StoreItem } from "../../src/core/operation.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Credentials } from "../../src/core/principal.ts";
import { authSessionMethods } from "../../src/method/auth-session.ts";
import { tokenMethods } from "../../src/method/token.ts";
import { append } from "../../src/method/append.ts";
import { handle } from "../../src/method/registry.ts";
import { defineMethod } from "../../src/protocol/methods.ts";
import type { Scope } from "../../src/protocol/schema.ts";
import { Empty, IdempotencyKey, Params } from "../../src/protocol/schema.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog, startEngine, until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";

/** An engine in memory whose clock a test moves, with the entries its audit trail has. */
async function stage() {
  const clock = manualClock();
  const { store, faults } = withFaults(createMemoryStore({ clock, limits: DEFAULT_LIMITS }));
  const scene = await startEngine({ store, clock });
  const entries = async (): Promise<AuditEntry[]> => {
    await scene.engine.journal.drained();
    return (await store.audit({ limit: 1_000 })).toReversed();
  };
  return { ...scene, clock, faults, entries };
}

const audits = (item: StoreItem): boolean =>
  item.kind === "append" && item.rows.some(({ kind }) => kind === "audit");

test("a change and its entry are one operation, so that neither is there without the other", async () => {
  const { engine, faults, connect, entries, close, store } = await stage();
  const ann = connect("ann");
  await ann.request("session.create", { session_id: "s" });
  await ann.request("session.share", { session_id: "s", user: "bob", role: "editor" });
  const { id } = (await store.named("ann", "s")) as { id: string };
  const share = { session_id: "s", user: "eve", role: "viewer" };
  faults.failItem(audits, { ok: false, reason: "full", what: "keys_per_user" });
  await expect(ann.request("session.share", share)).rejects.toMatchObject({ reason: "CONFLICT" });
  expect(engine.directory.sharedWith("eve")).toEqual([]);
  await ann.request("session.delete", { session_id: "s" });
  const operations = faults.groups.flat().filter(audits) as Extract<StoreItem, { kind: "append" }>[];
  expect(operations.map(({ rows }) => rows.map(({ kind }) => kind))).toEqual([
    ["record.put", "audit"],
    ["record.put", "audit"],
    ["audit"],
    ["session.close", "record.drop", "audit"],
  ]);
  const from = { user: "ann", method: "token", transport: "ws", remote: "127.0.0.1", client_id: ann.id };
  expect(await entries()).toMatchObject([
    {
      ...from,
      action: "session.share",
      outcome: "ok",
      target: id,
      details: '{"user":"bob","role":"editor"}',
    },
    {
      ...from,
      action: "session.share",
      outcome: "CONFLICT",
      target: id,
      details: '{"user":"eve","role":"viewer"}',
    },
    { ...from, action: "session.delete", outcome: "ok", target: id },
  ]);
  await close();
});

test("what is refused is there with the code it was refused with, whatever it was refused for", async () => {
  const { connect, entries, close } = await stage();
  const eve = connect("eve");
  const refused = async (method: string, params: unknown): Promise<unknown> =>
    eve.request(method, params).catch((error: { reason: string }) => error.reason);
  expect(await refused("session.delete", { session_id: "ses_of_somebody" })).toBe("NOT_FOUND");
  expect(await refused("session.delete", { id: 1 })).toBe("INVALID_REQUEST");
  (eve.principal.scopes as Set<Scope>).delete("sessions.manage");
  expect(await refused("session.share", { session_id: "x", user: "eve", role: "editor" })).toBe("FORBIDDEN");
  expect((await entries()).map(({ action, outcome, target }) => [action, outcome, target])).toEqual([
    ["session.delete", "NOT_FOUND", "ses_of_somebody"],
    ["session.delete", "INVALID_REQUEST", null],
    ["session.share", "FORBIDDEN", null],
  ]);
  await close();
});

test("a method that only reads, sends or broadcasts leaves nothing", async () => {
  const { connect, entries, engine, close } = await stage();
  const ann = connect("ann");
  await ann.request("chat.send", { session_id: "s", message: "a text that is nobody's business" });
  await engine.runs.settled();
  await ann.request("session.list");
  await ann.request("event.broadcast", { event: "app.x", payload: {} });
  expect(await entries()).toEqual([]);
  await close();
});

test("the same refusal over and over is one entry, and later one more with the number of the others", async () => {
  const { connect, entries, clock, close } = await stage();
  const eve = connect("eve");
  for (let i = 0; i < 50; i++) {
    await eve.request("session.delete", { session_id: `guess-${i}` }).catch(() => undefined);
  }
  const same = { action: "session.delete", outcome: "NOT_FOUND", user: "eve" };
  expect(await entries()).toMatchObject([{ ...same, target: "guess-0", count: 1 }]);
  clock.advance(10 * 60_000);
  expect((await entries()).slice(1)).toMatchObject([{ ...same, target: null, count: 49 }]);
  clock.advance(10 * 60_000);
  expect(await entries()).toHaveLength(2);
  await eve.request("session.delete", { session_id: "guess-0" }).catch(() => undefined);
  expect((await entries()).slice(2)).toMatchObject([{ ...same, target: "guess-0", count: 1 }]);
  await close();
});

test("guesses from any number of addresses make a bounded number of entries, and each is counted", async () => {
  const { engine, entries, clock, close } = await stage();
  for (let i = 0; i < 10_000; i++) {
    engine.audit.tally({
      action: "login",
      outcome: "UNAUTHORIZED",
      method: "token",
      remote: `10.0.${i >> 8}.${i & 255}`,
    });
  }
  expect((await entries()).length).toBe(64);
  clock.advance(10 * 60_000);
  const all = await entries();
  expect(all).toHaveLength(65);
  expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(10_000);
  expect(all.at(-1)).toMatchObject({ action: "login", outcome: "UNAUTHORIZED", remote: "*", user: "" });
  // A flood of one hides nothing of another, and who was let in is told apart.
  engine.audit.tally({ action: "token.create", outcome: "FORBIDDEN", user: "eve" });
  for (let i = 0; i < 200; i++) engine.audit.tally({ action: "login", user: `user-${i}` });
  const last = (await entries()).slice(65);
  expect(last.map(({ user }) => user)).toEqual([
    "eve",
    ...Array.from({ length: 200 }, (_, i) => `user-${i}`),
  ]);
  await close();
});

test("what storage refuses is written later, in order, and what was only counted is written at a stop", async () => {
  const { engine, entries, faults, clock, close, store } = await stage();
  faults.outage("full");
  for (const target of ["a", "b", "c"]) engine.audit.record({ action: "x", target });
  await until(() => engine.journal.refused !== null, "storage refuses");
  engine.audit.record({ action: "x", target: "d" });
  for (let i = 0; i < 3; i++) engine.audit.tally({ action: "y", outcome: "FORBIDDEN" });
  faults.outage(null);
  for (let waited = 0; engine.journal.refused !== null && waited < 100; waited++) {
    clock.advance(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  clock.advance(1_000);
  expect((await entries()).map(({ target, action }) => target ?? action)).toEqual(["a", "b", "c", "d", "y"]);
  await engine.drain(0);
  expect((await store.audit({ limit: 1 }))[0]).toMatchObject({ action: "y", count: 2 });
  await close();
});

test("entries that wait for storage are bounded, and those that are lost are told", async () => {
  const lost: unknown[] = [];
  const log = { ...silentLog, error: (fields: Record<string, unknown>) => lost.push(fields) };
  const { engine, clock, close } = await stage();
  const appended: number[] = [];
  let refuse = true;
  const journal: Pick<typeof engine.journal, "append"> = {
    append: ({ rows, settle }) => {
      if (refuse) return settle({ ok: false, reason: "storage" });
      appended.push(rows.length);
      return settle({ ok: true, first_seq: 0, epoch: "", tail: null });
    },
  };
  const audit = new Audit({ journal, clock, log });
  for (let i = 0; i < 5_000; i++) audit.record({ action: "x" });
  refuse = false;
  clock.advance(1_000);
  expect(appended.reduce((sum, rows) => sum + rows, 0)).toBe(4_096);
  expect(Math.max(...appended)).toBe(256);
  expect(lost).toEqual([{ lost: 904 }]);
  await close();
});

test("audit.list pages through everything once, a page in bounds, and hands out no internals", async () => {
  const { connect, engine, close } = await stage();
  const admin = connect("admin");
  const details = JSON.stringify({ name: "x".repeat(2_000) });
  for (let i = 0; i < 450; i++) engine.audit.record({ action: "x", target: `${i}`, details });
  await engine.journal.drained();
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const params = { limit: 200, ...(cursor !== undefined && { cursor }) };
    const page = await admin.request<{ entries: { target: string }[]; next?: string }>("audit.list", params);
    expect(JSON.stringify(page).length).toBeLessThan(256 * 1_024);
    seen.push(...page.entries.map(({ target }) => target));
    cursor = page.next;
  } while (cursor !== undefined);
  expect(seen).toEqual(Array.from({ length: 450 }, (_, i) => `${449 - i}`));
  await close();
});

test("a request that found nothing to end is counted, however often it comes, and one that ended something is not", async () => {
  const { engine, clock, connect, entries, close } = await stage();
  const nothing = { authSession: () => null, revokeToken: () => null } as Partial<Credentials> as Credentials;
  const deps = {
    ...engine,
    clock,
    credentials: nothing,
    caughtUp: async () => undefined,
    tickets: { issue: () => expect.unreachable() },
  };
  for (const method of [...tokenMethods(deps), ...authSessionMethods(deps)]) engine.registry.add(method);
  const eve = connect("eve");
  for (let i = 0; i < 100; i++) {
    const asked = eve.request("auth_session.revoke", { auth_session_id: `aus_${i}` });
    expect(await asked).toEqual({ revoked: false });
    expect(await eve.request("token.revoke", { token_id: `tok_${i}` })).toEqual({ revoked: false });
  }
  expect((await entries()).map(({ action, count }) => [action, count])).toEqual([
    ["auth_session.revoke", 1],
    ["token.revoke", 1],
  ]);
  clock.advance(3_600_000);
  expect((await entries()).slice(2).map(({ action, user, count }) => [action, user, count])).toEqual([
    ["auth_session.revoke", "eve", 99],
    ["token.revoke", "eve", 99],
  ]);
  await close();
});

test("who logs in with ever new credentials hides nobody else's login", async () => {
  const { engine, clock, entries, close } = await stage();
  const login = (user: string, credential: string): void =>
    engine.audit.tally({ action: "login", user, credential, remote: "10.0.0.1" });
  for (let i = 0; i < 5_000; i++) login("eve", `aus_${i}`);
  login("bob", "tok_1");
  const told = await entries();
  expect(told).toHaveLength(256 + 1);
  expect(told.at(-1)).toMatchObject({ user: "bob", credential: "tok_1", remote: "10.0.0.1" });
  clock.advance(3_600_000);
  // The rest is still hers.
  expect((await entries()).slice(257)).toMatchObject([{ user: "eve", remote: "*", count: 5_000 - 256 }]);
  await close();
});

test("a request that is repeated with its key is only counted: it did nothing", async () => {
  const { engine, connect, entries, clock, close } = await stage();
  const once = defineMethod({
    name: "app.once",
    scope: null,
    mutates: true,
    idempotent: true,
    doc: "",
    audit: ({ target }) => ({ target }),
    params: Params({ target: Type.String(), idempotency_key: Type.Optional(IdempotencyKey) }),
    result: Empty,
  });
  const handler = handle(once, (_params, call) => {
    const nothing = { session: null, events: [], rows: [], remember: {} };
    append(call, engine.journal, clock.now(), { ...nothing, committed: () => ({}) });
    return undefined;
  });
  engine.registry.add(handler);
  const ann = connect("ann");
  for (let i = 0; i < 20; i++) await ann.request("app.once", { target: "a", idempotency_key: "k" });
  await expect(ann.request("app.once", { target: "b", idempotency_key: "k" })).rejects.toMatchObject({
    reason: "IDEMPOTENCY_MISMATCH",
  });
  expect((await entries()).map(({ target, outcome }) => [target, outcome])).toEqual([
    ["a", "ok"],
    ["a", "ok"],
    ["b", "IDEMPOTENCY_MISMATCH"],
  ]);
  await close();
});
