import { expect, test } from "bun:test";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { append, commitAll, create, event, put } from "./store.builders.ts";
import { openSqlite } from "./store.sqlite.ts";

/** More than the log holds where it is moved into the database file in time, less than is written. */
const BOUND_BYTES = 25_000_000;

test("a long log is moved into the database file while readers read", async () => {
  await using fixture = await openSqlite();
  const { store, limits } = fixture;
  await commitAll(store, create("ses_a"));
  const events = Array.from({ length: 64 }, () => event("x", { text: "x".repeat(15_000) }));
  for (let i = 0; i < 40; i++) {
    await commitAll(store, append("ses_a", events));
    await store.page("ses_a", i * 64, i * 64 + limits.page_events);
  }
  // 40 MB were written; without checkpoints the log would hold them all.
  expect(await logBytes(fixture.data_dir)).toBeLessThan(BOUND_BYTES);
  expect(await store.session("ses_a")).toMatchObject({ head: 1 + 40 * 64 });
  expect(limits).toEqual(DEFAULT_LIMITS);
});

test("a log that grows as messages are made findable is moved, too, where nobody says anything meanwhile", async () => {
  await using fixture = await openSqlite();
  const { store } = fixture;
  await commitAll(store, create("ses_a"));
  for (let i = 0; i < 10; i++) {
    const messages = Array.from({ length: 30 }, (_, n) => wordy(i * 30 + n));
    await commitAll(store, append("ses_a", Array(30).fill(event("message.created")), messages));
  }
  while ((await store.index(1)) > 0);
  expect(await logBytes(fixture.data_dir)).toBeLessThan(BOUND_BYTES);
});

/** A message of 2,000 words that no other has. */
function wordy(n: number): ReturnType<typeof put> {
  const content = Array.from({ length: 2_000 }, (_, word) => `word${n * 2_000 + word}`).join(" ");
  const message_id = `msg_${n}`;
  return put(message_id, { event: n % 30, data: JSON.stringify({ message_id, role: "user", content }) });
}

async function logBytes(data_dir: string): Promise<number> {
  return (await stat(join(data_dir, "agentbus.db-wal"))).size;
}
