import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import { createShrink } from "../../src/store/sqlite/shrink.ts";
import { append, close, commitAll, create, event, put, say } from "./store.builders.ts";
import { workplace } from "../support/executable.ts";
import { openSqlite } from "./store.sqlite.ts";

/** What is deleted makes the file smaller. */

const MIB = 1024 * 1024;
const MESSAGES = 200;

test("the file gives back what was deleted, a little at a time, while others write; all else stays whole", async () => {
  await using fixture = await openSqlite();
  const { store, data_dir } = fixture;
  const path = join(data_dir, "agentbus.db");
  await commitAll(store, create("ses_a"), create("ses_b"));
  const data = JSON.stringify({ content: "x".repeat(60_000) });
  for (let n = 0; n < MESSAGES; n++) {
    await commitAll(
      store,
      append("ses_a", [event("message.created")], [put(`msg_a${n}`, { data })]),
      say("ses_b", `msg_b${n}`, { content: `stays ${n}` }),
    );
  }
  await store.scrub();
  const before = statSync(path).size;
  expect(before).toBeGreaterThan(11 * MIB);
  await commitAll(store, close("ses_a"));
  for (let done = false; !done;) {
    const [result] = await commitAll(store, { kind: "erase", session: "ses_a", max_rows: 100 });
    done = result?.ok === true && "done" in result && result.done;
  }
  while ((await store.index(500)) > 0);
  const scrubbed = store.scrub();
  let written = 0;
  const isOver = scrubbed.then(() => true);
  while (!(await Promise.race([isOver, Promise.resolve(false)])))
    await commitAll(store, say("ses_b", `msg_c${written++}`));
  while (!(await store.scrub())) while ((await store.index(500)) > 0);
  // Some stay free, for what is written next.
  expect(statSync(path).size).toBeLessThan(6 * MIB);
  expect(written).toBeGreaterThan(0);
  await store.close();
  using db = new Database(path, { readonly: true });
  expect(db.query("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  const { n } = db.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM messages").get() ?? { n: 0 };
  expect(n).toBe(MESSAGES + written);
});

test("a step ends with its time, however many pages are free, and gives one back in any case", () => {
  using place = workplace();
  using db = new Database(join(place.path, "step.db"));
  db.run("PRAGMA auto_vacuum = INCREMENTAL");
  db.run("CREATE TABLE large (body BLOB)");
  db.run("INSERT INTO large VALUES (zeroblob(8 * 1024 * 1024))");
  db.run("DELETE FROM large");
  const free = (): number =>
    db.query<{ freelist_count: number }, []>("PRAGMA freelist_count").get()?.freelist_count ?? 0;
  let [time, takes] = [0, 0];
  const shrink = createShrink(
    db,
    (task) => db.transaction(task)(),
    () => (time += takes),
  );
  const given = (ms: number): number => {
    const before = free();
    takes = ms;
    expect(shrink()).toBe(true);
    return before - free();
  };
  expect([given(0), given(1), given(60)]).toEqual([32, 5, 1]);
});
