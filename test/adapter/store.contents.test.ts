import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { StoreItem } from "../../src/core/operation.ts";
import { fileFaults } from "../support/file-check.ts";
import { seeded } from "../support/random.ts";
import { tell, upload, piece, done, file } from "./store.attachments.ts";
import { append, close, commit, commitAll, copyOf, create, event, START } from "./store.builders.ts";
import { openSqlite, sqliteStore, temporaryDirectory } from "./store.sqlite.ts";

const HOUR = 3_600_000;

function counts(path: string): { contents: number; pieces: number } {
  using db = new Database(join(path, "agentbus.db"), { readonly: true });
  const count = (table: string): number =>
    db.query<{ rows: number }, []>(`SELECT COUNT(*) AS rows FROM ${table}`).get()?.rows ?? -1;
  return { contents: count("contents"), pieces: count("pieces") };
}

test("one content is kept once, and goes with the last who names it", async () => {
  await using directory = await temporaryDirectory();
  const { store } = sqliteStore(directory.path);
  await store.open();
  await commitAll(store, create("ses_a"), create("ses_b", { owner: "bob" }));
  await commitAll(store, ...upload("att_1", "same"), ...upload("att_2", "same", "bob"));
  expect(counts(directory.path)).toEqual({ contents: 1, pieces: 1 });
  await commitAll(store, tell("ses_a", "msg_1", ["att_1"]), tell("ses_b", "msg_1", ["att_2"], "bob"));
  await store.expire(START + HOUR, 1_000);
  await commitAll(store, close("ses_a"), { kind: "erase", session: "ses_a", max_rows: 1_000 });
  expect(counts(directory.path)).toEqual({ contents: 1, pieces: 1 });
  await commitAll(store, close("ses_b"), { kind: "erase", session: "ses_b", max_rows: 1_000 });
  expect(counts(directory.path)).toEqual({ contents: 0, pieces: 0 });
  await store.close();
});

test("a large content is erased in steps, and is not found by its hash meanwhile", async () => {
  await using directory = await temporaryDirectory();
  const { store } = sqliteStore(directory.path);
  await store.open();
  await commitAll(store, create("ses_a"), create("ses_b"));
  const text = "0123456789".repeat(10);
  for (let n = 0; n < 10; n++) await commitAll(store, piece("upl_1", n, text.slice(n * 10, n * 10 + 10)));
  await commitAll(store, done("upl_1", file("att_1", text)), tell("ses_a", "msg_1", ["att_1"]));
  await store.expire(START + HOUR, 1_000);
  await commitAll(store, close("ses_a"));
  const step = { kind: "erase", session: "ses_a", max_rows: 100 } as const;
  expect(await commit(store, step)).toEqual([{ ok: true, done: false }]);
  expect(counts(directory.path)).toMatchObject({ contents: 1 });
  expect(counts(directory.path).pieces).toBeLessThan(10);
  expect(fileFaults(join(directory.path, "agentbus.db"))).toEqual([]);
  await commitAll(store, piece("upl_2", 0, text), done("upl_2", file("att_2", text)));
  await commitAll(store, tell("ses_b", "msg_1", ["att_2"]));
  for (let i = 0; i < 20; i++) await commit(store, step);
  expect(counts(directory.path)).toEqual({ contents: 1, pieces: 1 });
  expect(Buffer.from((await store.piece("ses_b", "att_2", 0)) ?? []).toString()).toBe(text);
  await store.close();
});

test("of a bounded database files leave a part to messages", async () => {
  await using fixture = await openSqlite({ max_bytes: 4 * 1024 * 1024 });
  const { store } = fixture;
  await commitAll(store, create("ses_a"));
  let n = 0;
  for (;;) {
    const [result] = await commit(store, piece("upl_1", n, "x".repeat(200_000)));
    if (result?.ok === false) {
      expect(result).toEqual({ ok: false, reason: "full", what: "room" });
      break;
    }
    expect(++n).toBeLessThan(30);
  }
  expect(n).toBeGreaterThan(10);
  await commitAll(store, append("ses_a", [event("x", { text: "y".repeat(100_000) })]));
  await commitAll(store, append(null, [], [{ kind: "upload.drop", upload_id: "upl_1" }]));
  await commitAll(store, piece("upl_2", 0, "x".repeat(200_000)));
});

test("whatever is done in whatever order, every name has its content and every content a name", async () => {
  await using directory = await temporaryDirectory();
  const { store, clock } = sqliteStore(directory.path, {
    limits: { attachments_per_user: 12, attachment_bytes_per_user: 60 },
  });
  await store.open();
  const random = seeded(20_261_129);
  const pick = <T>(of: readonly T[]): T => of[random.between(0, of.length - 1)] as T;
  const users = ["ada", "bob"];
  /** The newest of them are more likely to be there. */
  const recent = (of: readonly string[]): string => pick(random.chance(0.8) ? of.slice(-3) : of);
  const sessions: string[] = [];
  const files: string[] = [];
  let made = 0;
  const steps: (() => StoreItem[])[] = [
    () => {
      sessions.push(`ses_${++made}`);
      return [create(`ses_${made}`, { owner: pick(users) })];
    },
    () => {
      files.push(`att_${++made}`);
      return upload(`att_${made}`, pick(["one", "two two", "three three three"]), pick(users));
    },
    () => [piece(`upl_${++made}`, 0, "left half done", pick(users))],
    () => [tell(recent(sessions), `msg_${++made}`, [recent(files), recent(files)], pick(users))],
    () => [tell(recent(sessions), `msg_${++made}`, [recent(files)], pick(users))],
    () => [tell(recent(sessions), `msg_${++made}`, [recent(files)], pick(users))],
    () => [copyOf(recent(sessions), `ses_c${++made}`, { owner: pick(users), max_rows: pick([1, 100]) })],
    () => [append(pick(sessions), [event("x")], [{ kind: "session.transfer", owner: pick(users) }])],
    () => [close(pick(sessions))],
    () => [{ kind: "erase", session: pick(sessions), max_rows: pick([1, 60, 1_000]) }],
    () => [{ kind: "forget", user: pick(users), max_rows: 1 }],
  ];
  for (const step of [0, 0, 1, 1]) await commit(store, ...(steps[step]?.() ?? []));
  let told = 0;
  for (let i = 0; i < 800; i++) {
    const items = pick(steps)();
    const [result] = await commit(store, ...items);
    const tells = items.some(
      (item) => item.kind === "append" && item.rows.some(({ kind }) => kind === "attachment.use"),
    );
    if (tells && result?.ok === true) told++;
    if (i % 40 === 0) await store.expire(clock.now() + (i % 80 === 0 ? HOUR : 0), 100);
    if (i % 20 === 0) expect(fileFaults(join(directory.path, "agentbus.db"))).toEqual([]);
  }
  // That there was something to go wrong.
  expect(told).toBeGreaterThan(15);
  for (const session of sessions) await commit(store, close(session));
  for (const session of sessions) {
    await commit(store, { kind: "erase", session, max_rows: 10_000 });
  }
  expect(fileFaults(join(directory.path, "agentbus.db"))).toEqual([]);
  await store.close();
});
