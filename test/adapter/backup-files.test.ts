import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { backUp } from "../../src/store/sqlite/backup.ts";
import { backUpBeside } from "../../src/store/sqlite/backup-thread.ts";
import { checkRoom, createDraft, draftOf, publish } from "../../src/store/sqlite/draft.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { silentLog } from "../support/engine.ts";

let home: string;
let data_dir: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "agentbus-copies-"));
  data_dir = join(home, "data");
  const store = createSqliteStore({
    data_dir,
    durability: "full",
    clock: systemClock,
    log: silentLog,
    limits: DEFAULT_LIMITS,
  });
  await store.open();
  await store.close();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

test("a name that anything has is refused, a link that leads nowhere too, and stays what it is", () => {
  const link = join(home, "copy.db");
  symlinkSync(join(home, "nowhere"), link);
  expect(() => backUp(data_dir, link)).toThrow("exists already");
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(existsSync(join(home, "nowhere"))).toBe(false);
  expect(readdirSync(home).toSorted()).toEqual(["copy.db", "data"]);
});

test("a name that somebody takes while the copy is made is theirs", () => {
  const file = join(home, "copy.db");
  const draft = draftOf(file);
  createDraft(draft);
  writeFileSync(file, "theirs");
  expect(() => publish(draft, file)).toThrow("made by somebody else meanwhile");
  expect(readFileSync(file, "utf8")).toBe("theirs");
});

test("what killed backups left is cleared, what another process is making is not", async () => {
  const gone = Bun.spawn(["true"]);
  await gone.exited;
  const [dead, alive, old, mine] = [gone.pid, process.ppid, process.ppid, process.pid].map((pid, i) =>
    join(home, `agentbus-${i}.db.${pid}.part`),
  ) as [string, string, string, string];
  const journal = join(home, `agentbus-4.db.${gone.pid}.part-journal`);
  for (const file of [dead, alive, old, mine, `${dead}-journal`, journal]) writeFileSync(file, "");
  const hours_ago = Date.now() / 1_000 - 2 * 3_600;
  utimesSync(old, hours_ago, hours_ago);
  // By a process before this one that had the same id.
  utimesSync(mine, hours_ago, hours_ago);
  backUp(data_dir, join(home, "copy.db"));
  expect(readdirSync(home).toSorted()).toEqual([alive.slice(home.length + 1), "copy.db", "data"].toSorted());
});

test("in a thread of its own: the same copy, the same refusals, and it can be given up", async () => {
  const file = join(home, "copy.db");
  const { made } = backUpBeside(data_dir, file, systemClock);
  expect(await made).toMatchObject({ sessions: 0, messages: 0 });
  expect(lstatSync(file).mode & 0o777).toBe(0o600);
  const again = backUpBeside(data_dir, file, systemClock);
  await expect(again.made).rejects.toThrow("exists already");
  const nowhere = backUpBeside(data_dir, join(home, "nowhere/copy.db"), systemClock);
  await expect(nowhere.made).rejects.toThrow(`there is no directory ${join(home, "nowhere")}: make it first`);
  const work = backUpBeside(data_dir, join(home, "other.db"), systemClock);
  work.giveUp();
  await expect(work.made).rejects.toThrow("closed");
});

test("a disk is not filled: what has to stay free stays free", () => {
  mkdirSync(join(home, "small"));
  const { bavail, bsize } = statfsSync(home);
  expect(() => checkRoom(home, 1)).not.toThrow();
  expect(() => checkRoom(home, bavail * bsize)).toThrow(
    /MiB free, a copy takes .* have to stay free: make room/,
  );
});
