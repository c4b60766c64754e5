import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../src/core/limits.ts";
import type { StoreItem } from "../src/core/operation.ts";
import { termsOf } from "../src/core/search.ts";
import type { Store } from "../src/core/store.ts";
import { systemClock } from "../src/clock.ts";
import { createSqliteStore } from "../src/store/sqlite/store.ts";
import type { Bench, Figure } from "./support/bench.ts";
import { quantile, round } from "./support/numbers.ts";

const AIM_MS = 50;
/** `AGENTBUS_BENCH_MESSAGES=1000000` takes about ten minutes to fill. */
const MESSAGES = Number(process.env["AGENTBUS_BENCH_MESSAGES"] ?? 0);
const USERS = 10;
const A_SESSION = 1_000;
const A_GROUP = 250;
const WORDS = 20_000;
const WORDS_A_MESSAGE = 60;
const QUERIES = 400;

/** What was said is found among much: words of every frequency, one or two of them, whole or begun. */
export async function search(bench: Bench): Promise<Figure[]> {
  const count = MESSAGES || bench.pick(100_000, 20_000);
  const data_dir = mkdtempSync(join(tmpdir(), "agentbus-search-"));
  const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
  const limits = DEFAULT_LIMITS;
  const store = createSqliteStore({ data_dir, durability: "normal", clock: systemClock, log, limits });
  try {
    await store.open();
    const words = vocabulary();
    await fill(store, count, words);
    const began = performance.now();
    while ((await store.index(500)) > 0);
    const indexed = ((performance.now() - began) * 1_000) / count;
    const times = await ask(store, words);
    const sorted = times.toSorted((a, b) => a - b);
    const [p50, p99] = [quantile(sorted, 0.5), quantile(sorted, 0.99)];
    return [
      {
        what: `search among ${count.toLocaleString("en-US")} messages of ${WORDS_A_MESSAGE} words`,
        figure: `p50 ${round(p50)} ms, p99 ${round(p99)} ms; ${Math.round(indexed)} µs to index one`,
        aim: `p99 < ${AIM_MS} ms`,
        held: p99 < AIM_MS,
        data: { p50, p99, indexed },
      },
    ];
  } finally {
    await store.close();
    rmSync(data_dir, { recursive: true });
  }
}

function vocabulary(): string[] {
  return Array.from({ length: WORDS }, (_, i) => ((i * 7_919) % 100_003).toString(36).padStart(5, "word"));
}

/** Few words are said often, most of them seldom. */
function pick(words: readonly string[]): string {
  return words[Math.floor(Math.random() ** 3 * words.length)] ?? "";
}

async function fill(store: Store, count: number, words: readonly string[]): Promise<void> {
  for (let at = 0; at < count; at += A_GROUP) {
    const group: StoreItem[] = [];
    for (let i = at; i < Math.min(count, at + A_GROUP); i++) {
      const session = `ses_${Math.floor(i / A_SESSION)}`;
      if (i % A_SESSION === 0) group.push(made(session, `user${Math.floor(i / A_SESSION) % USERS}`));
      const content = Array.from({ length: WORDS_A_MESSAGE }, () => pick(words)).join(" ");
      group.push(said(session, `msg_${i}`, content));
    }
    const result = await store.commit(group);
    if (!result.ok) throw new Error(`the store refused: ${result.refused}`);
  }
}

function made(session: string, owner: string): StoreItem {
  const empty = {
    name: null,
    epoch: "epoch001",
    title: "",
    model: null,
    system_prompt: null,
    metadata: "{}",
  };
  const row = { kind: "session.create", owner, ...empty, created_at: 1, revive: false } as const;
  return append(session, "session.created", [row]);
}

function said(session: string, message_id: string, content: string): StoreItem {
  const data = JSON.stringify({ message_id, role: "user", content });
  const row = { role: "user", status: "complete", run_id: null, data } as const;
  return append(session, "message.created", [{ kind: "message.put", event: 0, message_id, ...row }]);
}

function append(
  session: string,
  type: string,
  rows: Extract<StoreItem, { kind: "append" }>["rows"],
): StoreItem {
  const events = [{ type, ts: 1, run_id: null, payload: "{}" }];
  return { kind: "append", session, run: null, ack: false, events, rows };
}

async function ask(store: Store, words: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < QUERIES; i++) {
    const query = [pick(words), ...(i % 2 === 0 ? [pick(words)] : [])].join(" ");
    const terms = termsOf(i % 4 === 0 ? query.slice(0, -1) : query);
    if (terms === null) continue;
    const began = performance.now();
    await store.search({ user: `user${i % USERS}`, shared: [], terms, limit: 20 });
    times.push(performance.now() - began);
  }
  return times;
}
