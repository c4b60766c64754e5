import { Database } from "bun:sqlite";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../src/clock.ts";
import { newEpoch } from "../../src/core/id.ts";
import type { Appended } from "../../src/core/append.ts";
import { Journal } from "../../src/core/journal.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { NewEvent, RowChange } from "../../src/core/operation.ts";
import type { SessionRef } from "../../src/core/session.ts";
import { createPostgresStore } from "../../src/store/postgres/store.ts";
import { createSqliteStore } from "../../src/store/sqlite/store.ts";
import { silentLog } from "../../test/support/engine.ts";
import { pause } from "./clock.ts";
import type { Quantiles } from "./numbers.ts";
import { quantiles } from "./numbers.ts";

export interface JournalResult {
  readonly per_second: readonly number[];
  readonly raw_per_second: readonly number[];
  /** From the append to its answer. */
  readonly commit_ms: Quantiles;
  readonly lag_ms: Quantiles;
  readonly idle_lag_ms: Quantiles;
}

/** Appends that are not answered yet, in all. */
const IN_FLIGHT = 1_024;
const RAW_ROWS = 512;
const PAYLOAD = JSON.stringify({ text: "a few words of an answer, ".repeat(5) });
const LAG_EVERY_MS = 5;
const IDLE_MS = 300;

type Durability = "full" | "normal";

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      durability: { type: "string", default: "full" },
      sessions: { type: "string", default: "64" },
      rounds: { type: "string", default: "3" },
      round_ms: { type: "string", default: "1000" },
    },
  });
  const durability = values.durability === "normal" ? "normal" : "full";
  const result = await run({
    durability,
    sessions: Number(values.sessions),
    rounds: Number(values.rounds),
    round_ms: Number(values.round_ms),
  });
  console.log(JSON.stringify({ result }));
}

interface Load {
  readonly durability: Durability;
  readonly sessions: number;
  readonly rounds: number;
  readonly round_ms: number;
}

async function run({ durability, sessions: count, rounds, round_ms }: Load): Promise<JournalResult> {
  const idle = watchLag();
  await pause(IDLE_MS);
  const idle_lag_ms = quantiles(idle.stop());
  const { journal, store } = await openJournal(durability);
  const raw = openRaw(durability, count);
  const sessions = await Promise.all(Array.from({ length: count }, (_, i) => make(journal, i)));
  const [per_second, raw_per_second]: [number[], number[]] = [[], []];
  const [commits, lags]: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const lag = watchLag();
    const times: number[] = [];
    const ours = await fill(journal, sessions, round_ms, times);
    const late = lag.stop();
    const bare = raw.fill(round_ms);
    if (round < 0) continue;
    per_second.push(ours);
    raw_per_second.push(bare);
    for (const each of times) commits.push(each);
    for (const each of late) lags.push(each);
  }
  journal.stop();
  await store.close();
  raw.close();
  return { per_second, raw_per_second, commit_ms: quantiles(commits), lag_ms: quantiles(lags), idle_lag_ms };
}

/** `url`: of a database; without one it is a file. */
export async function openJournal(durability: Durability, url: string | null = null) {
  const common = { clock: systemClock, limits: DEFAULT_LIMITS, log: silentLog };
  const data_dir = join(process.cwd(), "data");
  const facts = () => ({ version: "", sections: {} });
  const shared = { node_id: "", connections: 10, lease_ms: 15_000, facts };
  const store =
    url === null
      ? createSqliteStore({ ...common, data_dir, durability })
      : createPostgresStore({ ...common, ...shared, url, data_dir });
  await store.open();
  const journal = new Journal({
    ...common,
    store,
    publish: () => undefined,
    onStorage: (reason) => {
      if (reason !== null) throw new Error(`storage refuses: ${reason}`);
    },
    fatal: (error) => {
      throw error;
    },
  });
  return { journal, store };
}

export function append(
  journal: Journal,
  session: SessionRef,
  events: NewEvent[],
  rows: RowChange[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (outcome: Appended): void =>
      outcome.ok ? resolve() : reject(new Error(`an append failed: ${outcome.reason}`));
    journal.append({ session, run: null, ack: true, events, rows, settle });
  });
}

export async function make(journal: Journal, index: number): Promise<SessionRef> {
  const session = { id: `ses_bench${process.pid}_${index}`, owner: "owner", name: null };
  const row = { owner: "owner", name: null, title: "", model: null, system_prompt: null };
  const more = { metadata: "{}", created_at: Date.now(), epoch: newEpoch(), revive: false };
  await append(journal, session, [event()], [{ kind: "session.create", ...row, ...more }]);
  return session;
}

function event(): NewEvent {
  return { type: "app.bench", ts: Date.now(), run_id: null, payload: PAYLOAD };
}

/** Keeps every session's appends in flight full for so long; events a second. */
export async function fill(
  journal: Journal,
  sessions: readonly SessionRef[],
  for_ms: number,
  times: number[],
): Promise<number> {
  const began = performance.now();
  let done = 0;
  const lane = async (session: SessionRef): Promise<void> => {
    for (let now = began; now - began < for_ms; done++) {
      await append(journal, session, [event()], []);
      const after = performance.now();
      times.push(after - now);
      now = after;
    }
  };
  const at_once = Math.ceil(IN_FLIGHT / sessions.length);
  await Promise.all(sessions.flatMap((session) => Array.from({ length: at_once }, () => lane(session))));
  return (done * 1_000) / (performance.now() - began);
}

/** The same rows into a table of the same shape, as fast as one thread that does nothing else can. */
function openRaw(durability: Durability, sessions: number) {
  const db = new Database(join(process.cwd(), "raw.db"), { strict: true });
  db.run("PRAGMA journal_mode = WAL");
  db.run("PRAGMA wal_autocheckpoint = 4000");
  db.run(`PRAGMA synchronous = ${durability === "full" ? "FULL" : "NORMAL"}`);
  db.run(
    `CREATE TABLE events (session_key INTEGER, seq INTEGER, ts INTEGER, type TEXT, run_id TEXT, payload TEXT,
     PRIMARY KEY (session_key, seq)) WITHOUT ROWID, STRICT`,
  );
  const insert = db.prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)");
  let seq = 0;
  const group = db.transaction(() => {
    for (let i = 0; i < RAW_ROWS; i++, seq++) {
      insert.run(seq % sessions, seq, Date.now(), "app.bench", null, PAYLOAD);
    }
  });
  return {
    fill(for_ms: number): number {
      const began = performance.now();
      let done = 0;
      for (; performance.now() - began < for_ms; done += RAW_ROWS) group.immediate();
      return (done * 1_000) / (performance.now() - began);
    },
    close: () => db.close(),
  };
}

/** How much later than due timers come, milliseconds. */
function watchLag(): { stop(): number[] } {
  const lags: number[] = [];
  let due = performance.now() + LAG_EVERY_MS;
  let timer = setTimeout(tick, LAG_EVERY_MS);
  function tick(): void {
    const now = performance.now();
    lags.push(Math.max(0, now - due));
    due = now + LAG_EVERY_MS;
    timer = setTimeout(tick, LAG_EVERY_MS);
  }
  return {
    stop() {
      clearTimeout(timer);
      return lags;
    },
  };
}
