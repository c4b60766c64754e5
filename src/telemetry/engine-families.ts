import type { Connections } from "../core/connections.ts";
import type { Journal } from "../core/journal.ts";
import type { Limits } from "../core/limits.ts";
import type { Measures } from "../core/measures.ts";
import type { Lanes } from "../core/lane.ts";
import type { Slots } from "../core/slots.ts";
import type { Stats } from "../core/stats.ts";
import { ERRORS } from "../protocol/errors.ts";
import type { Family } from "./family.ts";
import { by, one, spread } from "./family.ts";

/** What of the engine is measured. */
export interface EngineParts {
  readonly connections: Pick<Connections, "all" | "opened">;
  readonly stats: Stats;
  readonly measures: Measures;
  readonly journal: Pick<Journal, "queue_bytes" | "queue_length" | "refused" | "tails">;
  readonly limits: Limits;
  readonly reads: Pick<Slots, "used" | "waiting">;
  readonly runs: { readonly lanes: Pick<Lanes, "running" | "queued"> };
  readonly max_concurrent_runs: () => number;
  readonly status: () => "healthy" | "degraded" | "draining";
  readonly version: string;
}

const STATUS = ["healthy", "degraded", "draining"] as const;
const TRANSPORTS = ["ws", "sse"] as const;
const STATES = ["connecting", "authenticating", "connected", "closing"] as const;

/** How the gateway is, and who is there. */
export function gatewayFamilies(parts: EngineParts): Family[] {
  const { status, version, limits, connections, stats } = parts;
  const now = status();
  const info = { labels: { version, bun: Bun.version }, value: 1 };
  return [
    {
      kind: "gauge",
      name: "agentbus_build_info",
      help: "What runs here, always 1.",
      values: [info],
    },
    by(
      "gauge",
      "agentbus_status",
      "1 for what the gateway is now.",
      "status",
      STATUS.map((each) => [each, Number(each === now)]),
    ),
    connectionFamily(parts),
    one(
      "gauge",
      "agentbus_connections_max",
      "How many connections there may be at once.",
      limits.max_connections,
    ),
    by(
      "counter",
      "agentbus_connections_opened",
      "Connections that were opened.",
      "transport",
      TRANSPORTS.map((each) => [each, connections.opened[each]]),
    ),
    by(
      "counter",
      "agentbus_requests",
      "Requests that were answered.",
      "transport",
      Object.entries(stats.requests),
    ),
  ];
}

function connectionFamily({ connections }: EngineParts): Family {
  const counts = new Map<string, number>();
  for (const { transport, state } of connections.all()) {
    const key = `${transport} ${state}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const values = TRANSPORTS.flatMap((transport) =>
    STATES.map((state) => ({
      labels: { transport, state },
      value: counts.get(`${transport} ${state}`) ?? 0,
    })),
  );
  return { kind: "gauge", name: "agentbus_connections", help: "Connections that are open.", values };
}

/** Who was refused or ended, and why. */
export function refusalFamilies({ stats }: EngineParts): Family[] {
  const codes = Object.keys(ERRORS);
  return [
    by(
      "counter",
      "agentbus_errors",
      "Requests that were answered with an error.",
      "code",
      codes.map((code) => [code, stats.errors[code] ?? 0]),
    ),
    by(
      "counter",
      "agentbus_limits_reached",
      "How often a limit was reached, by its option.",
      "limit",
      Object.entries(stats.limits),
    ),
    one("counter", "agentbus_logins_throttled", "Logins that were slowed down.", stats.throttled),
    one(
      "counter",
      "agentbus_slow_consumers",
      "Connections that were ended because they did not read.",
      stats.slow_consumers,
    ),
    one("counter", "agentbus_plugin_faults", "Failures of plug-ins.", stats.plugin_faults),
  ];
}

/** What was said and what runs. */
export function runFamilies({ stats, measures, runs, max_concurrent_runs }: EngineParts): Family[] {
  const types = stats.event_types();
  const ofType = (type: string): number => types.find(([each]) => each === type)?.[1] ?? 0;
  const { running, queued } = runs.lanes;
  const codes = Object.keys(ERRORS);
  return [
    by("counter", "agentbus_messages", "Messages, by who says them.", "role", Object.entries(stats.messages)),
    by("counter", "agentbus_events", "Events that were committed.", "type", types),
    spread(
      "agentbus_event_lag_seconds",
      "From the append of an event until it was handed to its last reader.",
      measures.event_lag,
    ),
    by("gauge", "agentbus_runs", "Runs that have not ended.", "state", [
      ["active", running],
      ["queued", queued],
    ]),
    one("gauge", "agentbus_runs_max", "How many runs may be active at once.", max_concurrent_runs()),
    one("counter", "agentbus_runs_started", "Runs that were started.", ofType("run.started")),
    by("counter", "agentbus_runs_ended", "Runs that ended.", "outcome", Object.entries(stats.runs)),
    by(
      "counter",
      "agentbus_run_failures",
      "Runs that failed, by the error.",
      "code",
      codes.map((code) => [code, stats.run_failures[code] ?? 0]),
    ),
    one("counter", "agentbus_run_retries", "How often a model was asked again.", ofType("run.retrying")),
    spread("agentbus_run_duration_seconds", "From the start of a run to its end.", measures.runs),
    spread(
      "agentbus_first_token_seconds",
      "From asking a model to the first of its answer.",
      measures.first_token,
    ),
    by(
      "counter",
      "agentbus_tool_calls",
      "Calls of tools; refused: not made.",
      "outcome",
      Object.entries(stats.tools),
    ),
    spread("agentbus_tool_call_duration_seconds", "How long tools took.", measures.tools),
  ];
}

/** The log: how it is written and read, and what waits. */
export function storeFamilies({ journal, measures, reads, limits, stats }: EngineParts): Family[] {
  return [
    one(
      "gauge",
      "agentbus_store_writable",
      "1 while storage takes writes.",
      Number(journal.refused === null),
    ),
    spread("agentbus_store_commit_seconds", "Commits; full: they waited for the disk.", [
      "sync",
      measures.commits,
    ]),
    spread("agentbus_store_read_seconds", "Reads; page: of a log.", ["kind", measures.reads]),
    by("gauge", "agentbus_store_reads", "Reads for readers, those that wait for a place too.", "state", [
      ["active", reads.used],
      ["waiting", reads.waiting],
    ]),
    one(
      "gauge",
      "agentbus_journal_queue_operations",
      "Operations that wait to be written.",
      journal.queue_length,
    ),
    one("gauge", "agentbus_journal_queue_bytes", "What they weigh.", journal.queue_bytes),
    one(
      "gauge",
      "agentbus_journal_queue_max_bytes",
      "How much may wait before new messages are turned away.",
      limits.journal_queue_bytes,
    ),
    by(
      "counter",
      "agentbus_sessions_expired",
      "Sessions that storage.retention_days deleted, or archived ones that storage.max_bytes did.",
      "reason",
      Object.entries(stats.sessions_expired),
    ),
    one(
      "counter",
      "agentbus_events_trimmed_early",
      "Events that went before storage.event_grace_secs was over, for want of room.",
      stats.events_trimmed_early,
    ),
    one("gauge", "agentbus_tails", "Sessions whose recent events are in memory.", journal.tails.size),
    one("gauge", "agentbus_tails_bytes", "What these events weigh.", journal.tails.bytes),
    spread("agentbus_event_loop_lag_seconds", "How late timers come.", measures.loop_lag),
  ];
}
