import { parseArgs } from "node:util";
import { systemClock } from "../../src/clock.ts";
import type { Journal } from "../../src/core/journal.ts";
import { Ledger } from "../../src/core/ledger.ts";
import type { RowChange } from "../../src/core/operation.ts";
import { createPrices } from "../../src/core/prices.ts";
import type { SessionRef } from "../../src/core/session.ts";
import { Spending } from "../../src/core/spending.ts";
import { append, make, openJournal } from "./journal-load.ts";

export interface UsageResult {
  /** Processor time of an end, writer's thread among it, microseconds. */
  readonly without_us: readonly number[];
  readonly with_us: readonly number[];
  /** Of these, what is done before the journal: the price, the sums, the row. */
  readonly book_us: number;
}

const SESSIONS = 64;
const LANES = 512;
const MODELS = 5;
const PATTERNS = 50;
const BOOKED = 100_000;
const USAGE = { input_tokens: 4_321, output_tokens: 321, cached_tokens: 1_024, reasoning_tokens: 64 };

if (import.meta.main) {
  const options = {
    rounds: { type: "string", default: "4" },
    ends: { type: "string", default: "20000" },
  } as const;
  const { values } = parseArgs({ options });
  const result = await run(Number(values.rounds), Number(values.ends));
  console.log(JSON.stringify({ result }));
}

async function run(rounds: number, ends: number): Promise<UsageResult> {
  const { journal, store } = await openJournal("full");
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => make(journal, i)));
  const prices = Object.fromEntries(
    Array.from({ length: PATTERNS }, (_, n) => [
      `model-${n}*`,
      { input: 2.5, cached_input: 1.25, output: 10 },
    ]),
  );
  const bounds = { day_tokens: Number.MAX_SAFE_INTEGER, month_tokens: 0, day_cost: 0, month_cost: 0 };
  const common = { clock: systemClock, currency: "USD" };
  const spending = new Spending({ ...common, store, boundsOf: () => bounds });
  await spending.load("owner");
  const ledger = new Ledger({ ...common, costOf: createPrices({ a: prices }), spending });
  const book = (n: number): RowChange => {
    const model = `a/model-${n % MODELS}`;
    return ledger.book("owner", { model, usage: ledger.priced(model, USAGE) });
  };
  const [without_us, with_us]: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    const bare = await spend(journal, sessions, ends, () => []);
    const full = await spend(journal, sessions, ends, (n) => [book(n)]);
    // The first ones warm both sides up.
    if (round < 0) continue;
    without_us.push(bare);
    with_us.push(full);
  }
  const began = performance.now();
  for (let n = 0; n < BOOKED; n++) book(n);
  const book_us = ((performance.now() - began) * 1_000) / BOOKED;
  journal.stop();
  await store.close();
  return { without_us, with_us, book_us };
}

/** Ends so many runs, as far as the store is concerned; processor time of one, microseconds. */
async function spend(
  journal: Journal,
  sessions: readonly SessionRef[],
  ends: number,
  used: (n: number) => readonly RowChange[],
): Promise<number> {
  const before = process.cpuUsage();
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < ends) {
      const n = begun++;
      const payload = JSON.stringify({ run: { run_id: `run_${n}`, status: "completed" } });
      const event = { type: "run.completed", ts: Date.now(), run_id: `run_${n}`, payload };
      // A row that every end has, so that both sides have a savepoint.
      const data = JSON.stringify({ run_id: `run_${n}` });
      const record = { collection: "bench", id: String(n % 1_000), owner: "", data, expires_at: null };
      const session = sessions[n % sessions.length] as SessionRef;
      await append(journal, session, [event], [{ kind: "record.put", record }, ...used(n)]);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / ends;
}
