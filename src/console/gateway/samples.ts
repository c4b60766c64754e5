import type { Client } from "../../client/client.ts";
import type { ResultFor } from "../../client/methods.ts";
import { createStore } from "../store.ts";

type Stats = ResultFor<"system.stats">;

/** How the gateway was at one moment; what is counted since its start is told per second. */
export interface Sample {
  readonly at: number;
  readonly connections: number;
  readonly active_runs: number;
  readonly queued_runs: number;
  readonly tokens: number;
  readonly events: number;
  readonly errors: number;
  readonly memory_mb: number;
  /** Of a request from here and back, milliseconds. */
  readonly round_trip: number;
  /** From the moment in an event to its arrival here, milliseconds; null: none came. */
  readonly event_lag: number | null;
}

export interface Samples {
  readonly samples: readonly Sample[];
  readonly stats: Stats | null;
}

export const EVERY_MS = 2_000;
/** Four minutes. */
const KEPT = 120;

/** Looks at the gateway every so often while somebody looks at it. */
export function watchStats(client: Client) {
  const store = createStore<Samples>({ samples: [], stats: null });
  let before: { readonly stats: Stats; readonly at: number } | null = null;
  /** What the gateway's clock is ahead of this one's. */
  let ahead = 0;
  let lags: number[] = [];

  async function look(): Promise<void> {
    const asked = performance.now();
    const [stats, { ts }] = await Promise.all([
      client.request("system.stats", {}, { timeout_ms: EVERY_MS * 2 }),
      client.request("heartbeat", {}, { timeout_ms: EVERY_MS * 2 }),
    ]);
    const round_trip = performance.now() - asked;
    ahead = ts - (Date.now() - round_trip / 2);
    const now = { stats, at: Date.now() };
    const sample = sampleOf(now, before, { round_trip, event_lag: mostOf(lags) });
    lags = [];
    before = now;
    if (sample === null) store.set({ ...store.get(), stats });
    else store.set({ samples: [...store.get().samples, sample].slice(-KEPT), stats });
  }

  return {
    store,
    start(): () => void {
      const ask = (): void => void look().catch(() => undefined);
      ask();
      const timer = setInterval(ask, EVERY_MS);
      const stop = client.on("*", ({ ts }) => void lags.push(Math.max(0, Date.now() + ahead - ts)));
      return () => {
        clearInterval(timer);
        stop();
      };
    },
  };
}

interface Moment {
  readonly stats: Stats;
  readonly at: number;
}

function sampleOf(
  { stats, at }: Moment,
  before: Moment | null,
  measured: Pick<Sample, "round_trip" | "event_lag">,
): Sample | null {
  // Of the first one nothing can be told per second; nor across a restart.
  if (before === null || stats.uptime < before.stats.uptime) return null;
  const secs = Math.max(0.001, (at - before.at) / 1_000);
  return {
    at,
    connections: stats.connections,
    active_runs: stats.active_runs,
    queued_runs: stats.queued_runs,
    tokens: (stats.tokens.output - before.stats.tokens.output) / secs,
    events: (stats.events_total - before.stats.events_total) / secs,
    errors: (sumOf(stats.errors) - sumOf(before.stats.errors)) / secs,
    memory_mb: stats.memory_usage / 1_000_000,
    ...measured,
  };
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function mostOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.max(...values);
}
