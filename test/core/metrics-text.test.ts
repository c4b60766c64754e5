import { expect, test } from "bun:test";
import { countRun } from "../../src/core/counted-runs.ts";
import { Histogram } from "../../src/core/histogram.ts";
import { Ledger } from "../../src/core/ledger.ts";
import { watchLoop } from "../../src/core/loop-lag.ts";
import { Measures } from "../../src/core/measures.ts";
import { createPrices } from "../../src/core/prices.ts";
import { SampledLog } from "../../src/core/sampled-log.ts";
import { Spending } from "../../src/core/spending.ts";
import { Stats } from "../../src/core/stats.ts";
import { timeStore } from "../../src/core/timed-store.ts";
import type { EventRun } from "../../src/protocol/entities.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { expose } from "../../src/telemetry/exposition.ts";
import { by, one, spread } from "../../src/telemetry/family.ts";
import { modelFamilies } from "../../src/telemetry/model-families.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

test("both formats: counters have their suffix, labels are escaped, what cannot be known is left out", () => {
  const lag = new Histogram([0.5, 1]);
  lag.observe(0.5);
  lag.observe(0.6, 3);
  lag.observe(7);
  const families = [
    one("counter", "a", 'what "a" is,\nin \\ two lines', 2),
    by("gauge", "b", "b", "what", [
      ['q"\\\n', 1.5],
      ["none", null],
      ["inf", Number.POSITIVE_INFINITY],
    ]),
    spread("c_seconds", "c", ["kind", { x: lag }]),
  ];
  const samples = [
    'b{what="q\\"\\\\\\n"} 1.5',
    'b{what="inf"} +Inf',
    "# HELP c_seconds c",
    "# TYPE c_seconds histogram",
    'c_seconds_bucket{kind="x",le="0.5"} 1',
    'c_seconds_bucket{kind="x",le="1.0"} 4',
    'c_seconds_bucket{kind="x",le="+Inf"} 5',
    'c_seconds_sum{kind="x"} 9.3',
    'c_seconds_count{kind="x"} 5',
  ];
  const help = 'what "a" is,\\nin \\\\ two lines';
  expect(expose(families, "prometheus").split("\n")).toEqual([
    `# HELP a_total ${help}`,
    "# TYPE a_total counter",
    "a_total 2",
    "# HELP b b",
    "# TYPE b gauge",
    ...samples,
    "",
  ]);
  expect(expose(families, "openmetrics").split("\n")).toEqual([
    `# HELP a ${help}`,
    "# TYPE a counter",
    "a_total 2",
    "# HELP b b",
    "# TYPE b gauge",
    ...samples,
    "# EOF",
    "",
  ]);
});

test("models past the first 64 are counted together, whatever names clients send", () => {
  const clock = manualClock();
  const costs = { costOf: createPrices({ p: { "m*": { input: 1, output: 2 } } }), currency: "EUR" };
  const spending = new Spending({
    ...costs,
    clock,
    store: { usage: async () => [] },
    boundsOf: () => NOTHING,
  });
  const ledger = new Ledger({ ...costs, clock, spending });
  for (let i = 0; i < 1_000; i++) {
    const model = `p/m${i}/x`;
    ledger.book("ada", { model, usage: ledger.priced(model, { input_tokens: 1_000_000, output_tokens: 1 }) });
  }
  ledger.book("ada", { model: "p/m0/x" });
  const [calls, unknown, tokens, cost] = modelFamilies({ ledger }).map((family) =>
    family.kind === "histogram" ? [] : family.values,
  );
  expect(calls).toHaveLength(65);
  expect(calls?.[0]).toEqual({ labels: { provider: "p", model: "m0/x" }, value: 2 });
  expect(calls?.at(-1)).toEqual({ labels: { provider: "other", model: "other" }, value: 936 });
  expect(unknown?.[0]?.value).toBe(1);
  expect(tokens?.slice(-4).map(({ labels, value }) => [labels["kind"], value])).toEqual([
    ["input", 936_000_000],
    ["output", 936],
    ["cached", 0],
    ["reasoning", 0],
  ]);
  expect(cost?.[1]).toEqual({
    labels: { provider: "p", model: "m1/x", currency: "EUR" },
    value: 1.000_002,
  });
});
const NOTHING = { day_tokens: 0, day_cost: 0, month_tokens: 0, month_cost: 0 };

test("events with names that somebody chose are one type; rows tell who says messages", () => {
  const stats = new Stats(new SampledLog(manualClock(), silentLog));
  for (let i = 0; i < 1_000; i++) stats.event(`app.${i}`);
  stats.event("message.delta");
  const types = Object.fromEntries(stats.event_types());
  expect(types).toMatchObject({ app: 1_000, "message.delta": 1, "run.failed": 0 });
  expect(stats.events).toBe(1_001);
  expect(Object.keys(types)).toHaveLength(20);
  const put = { kind: "message.put", event: 0, message_id: "m", status: "complete", run_id: null, data: "" };
  stats.rows([{ ...put, role: "tool" } as never, { kind: "message.drop", message_id: "m" }]);
  expect(stats.messages).toEqual({ user: 0, assistant: 0, system: 0, tool: 1 });
});

test("a run counts once it has an end in the log", () => {
  const stats = new Stats(new SampledLog(manualClock(), silentLog));
  const measures = new Measures();
  const run = (more: Partial<EventRun>): void =>
    countRun({ run_id: "r", model: "m", created_at: 0, ...more } as EventRun, stats, measures);
  run({ status: "running", started_at: 1_000 });
  run({ status: "completed", started_at: 1_000, ended_at: 4_000 });
  run({ status: "failed", ended_at: 5, error: { code: "UPSTREAM_ERROR" } as EventRun["error"] & object });
  expect(stats.runs).toEqual({ completed: 1, failed: 1, aborted: 0, interrupted: 0 });
  expect(stats.run_failures).toEqual({ UPSTREAM_ERROR: 1 });
  expect([measures.runs.count, measures.runs.sum]).toEqual([1, 3]);
});

test("how late timers come is measured until it is called off", () => {
  const clock = manualClock();
  const lag = new Histogram([1]);
  const stop = watchLoop(clock, lag);
  clock.advance(1_000);
  expect([lag.count, lag.sum]).toEqual([2, 0]);
  stop();
  clock.advance(1_000);
  expect(lag.count).toBe(2);
});

test("commits are told apart by whether they wait for the disk, reads by their kind; what fails counts, too", async () => {
  const clock = manualClock();
  const measures = new Measures();
  const { commits, reads } = measures;
  const counts = (): number[] =>
    [commits.full, commits.normal, reads.page, reads.other].map(({ count }) => count);
  const store = timeStore(createMemoryStore({ clock, limits: DEFAULT_LIMITS }), clock, measures, "full");
  await store.open();
  const append = { kind: "append", session: null, run: null, events: [], rows: [] } as const;
  await store.commit([{ ...append, ack: false }]);
  expect(counts()).toEqual([0, 1, 0, 0]);
  await store.commit([
    { ...append, ack: false },
    { ...append, ack: true },
  ]);
  expect(counts()).toEqual([1, 1, 0, 0]);
  await store.page("ses_none", 0, 1);
  await store.totals();
  await store.expire(0, 1);
  expect(counts()).toEqual([1, 1, 1, 1]);
  await store.close();
  await expect(store.totals()).rejects.toThrow();
  expect(counts()).toEqual([1, 1, 1, 2]);
  expect(store.kind).toBe("memory");
  const relaxed = new Measures();
  const normal = timeStore(createMemoryStore({ clock, limits: DEFAULT_LIMITS }), clock, relaxed, "normal");
  await normal.open();
  await normal.commit([{ ...append, ack: true }]);
  expect([relaxed.commits.full.count, relaxed.commits.normal.count]).toEqual([0, 1]);
});
