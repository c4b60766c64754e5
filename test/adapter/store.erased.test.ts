import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { append, close, commitAll, create, event, put, say, START } from "./store.builders.ts";
import { tell, upload } from "./store.attachments.ts";
import { openSqlite } from "./store.sqlite.ts";
import { auditRow } from "./store.builders.ts";

/** What was deleted is not only out of reach: it is in none of the files. */

const MARK = "zqxmarker";
const ITEMS = 200;

/** In how many places of the data directory's files a text is. */
function places(data_dir: string, text: string): number {
  return readdirSync(data_dir)
    .map((name) => readFileSync(join(data_dir, name)).toString("latin1").toLowerCase().split(text).length - 1)
    .reduce((sum, count) => sum + count, 0);
}

async function index(store: Awaited<ReturnType<typeof openSqlite>>["store"]): Promise<void> {
  while ((await store.index(50)) > 0);
}

test("a deleted session is in no file any more: events, messages, words, files", async () => {
  await using fixture = await openSqlite();
  const { store, data_dir } = fixture;
  const text = (n: number): string => `${MARK}${n % 7} ${"some words ".repeat(n % 40)} ${MARK}end`;
  await commitAll(store, create("ses_a", { title: MARK }), create("ses_b"));
  const group = Array.from({ length: ITEMS }, (_, n) => {
    const data = JSON.stringify({ content: text(n) });
    const payload = JSON.stringify({ text: text(n) });
    return [
      append("ses_a", [event("message.created", { payload })], [put(`msg_a${n}`, { data })]),
      append("ses_b", [event("message.created")], [put(`msg_b${n}`, { data: '{"content":"stays here"}' })]),
    ];
  });
  for (let n = 0; n < ITEMS; n += 20) await commitAll(store, ...group.slice(n, n + 20).flat());
  await commitAll(
    store,
    ...upload("att_1", `${MARK} in a file `.repeat(2_000)),
    tell("ses_a", "msg_f", ["att_1"]),
  );
  await index(store);
  await store.expire(START + 3_600_000, 1_000);
  expect(places(data_dir, MARK)).toBeGreaterThan(ITEMS);
  // Some of it was trimmed before it was deleted.
  await commitAll(store, { kind: "trim", session: "ses_a", before: START + 1, max_rows: 50 });
  await commitAll(store, close("ses_a"));
  for (let done = false; !done;) {
    const [result] = await commitAll(store, { kind: "erase", session: "ses_a", max_rows: 100 });
    done = result?.ok === true && "done" in result && result.done;
  }
  expect(await store.scrub()).toBe(false);
  await index(store);
  expect(await store.scrub()).toBe(true);
  expect(places(data_dir, MARK)).toBe(0);
  expect(places(data_dir, "stays here")).toBeGreaterThan(0);
});

test("what is forgotten of a user is in no file any more", async () => {
  await using fixture = await openSqlite();
  const { store, data_dir } = fixture;
  const key = {
    kind: "idempotency",
    user: MARK,
    key: `${MARK}key`,
    fingerprint: "f",
    answer: `{"a":"${MARK}"}`,
  } as const;
  const record = {
    collection: "tokens",
    id: "tok_1",
    owner: MARK,
    data: `{"name":"${MARK}"}`,
    expires_at: null,
  };
  await commitAll(
    store,
    append(null, [], [{ ...key, created_at: START }]),
    append(null, [], [{ kind: "record.put", record }]),
    ...upload("att_1", `${MARK} in a file`, MARK),
  );
  expect(places(data_dir, MARK)).toBeGreaterThan(3);
  for (let done = false; !done;) {
    const [result] = await commitAll(store, { kind: "forget", user: MARK, max_rows: 100 });
    done = result?.ok === true && "done" in result && result.done;
  }
  await commitAll(store, append(null, [], [{ kind: "record.drop", collection: "tokens", id: "tok_1" }]));
  await store.expire(START + 3_600_000, 1_000);
  expect(await store.scrub()).toBe(true);
  expect(places(data_dir, MARK)).toBe(0);
});

test("who still reads in the log puts it off, and hinders nobody", async () => {
  await using fixture = await openSqlite();
  const { store, data_dir } = fixture;
  await commitAll(store, create("ses_a"), say("ses_a", "msg_1"));
  const { Database } = await import("bun:sqlite");
  const reader = new Database(join(data_dir, "agentbus.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT COUNT(*) FROM messages").get();
  await commitAll(store, say("ses_a", "msg_2"), append(null, [], [auditRow()]));
  expect(await store.scrub()).toBe(false);
  await commitAll(store, say("ses_a", "msg_3"));
  reader.run("COMMIT");
  reader.close(true);
  expect(await store.scrub()).toBe(true);
});
