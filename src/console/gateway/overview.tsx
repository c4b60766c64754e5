import { useMemo } from "react";
import { useAsked } from "../asked.ts";
import { useStore } from "../store.ts";
import { duration } from "../time.ts";
import { Chart } from "./chart.tsx";
import { Problem } from "./problem.tsx";
import type { Sample, watchStats } from "./samples.ts";
import { EVERY_MS } from "./samples.ts";
import { Table } from "./table.tsx";

interface OverviewProps {
  readonly watch: ReturnType<typeof watchStats>;
}

/** How the gateway is, now and over the last minutes. */
export function Overview({ watch }: OverviewProps) {
  const { samples, stats } = useStore(watch.store);
  const { data: status, error } = useAsked("system.status", {}, EVERY_MS * 2);
  const drawn = useMemo(() => linesOf(samples), [samples]);
  return (
    <>
      <Problem error={error} />
      {status !== null && (
        <dl className="facts">
          <Fact name="Status" value={status.status} bad={status.status !== "healthy"} />
          <Fact name="Up for" value={duration(status.uptime)} />
          <Fact
            name="Storage"
            value={status.storage.reason ?? (status.storage.ok ? status.storage.kind : "refuses")}
            bad={!status.storage.ok || status.storage.reason !== undefined}
          />
          {stats !== null && (
            <>
              <Fact name="Sessions" value={stats.total_sessions.toLocaleString()} />
              <Fact name="Messages" value={stats.messages_total.toLocaleString()} />
              <Fact name="Slow readers closed" value={stats.slow_consumers.toLocaleString()} />
              <Fact name="Guesses slowed" value={stats.throttled.toLocaleString()} />
            </>
          )}
        </dl>
      )}
      <div className="charts">
        {drawn.charts.map((chart) => (
          <Chart key={chart.title} times={drawn.times} {...chart} />
        ))}
      </div>
      {status !== null && (
        <>
          <h2>Providers</h2>
          <Table label="Providers" head={["Name", "State"]}>
            {status.providers.map(({ name, ready, reason }) => (
              <tr key={name}>
                <td>{name}</td>
                <td className={ready ? "good" : "bad"}>{ready ? "ready" : (reason ?? "not ready")}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
      {stats !== null && <Counts errors={stats.errors} limits={stats.limits} />}
    </>
  );
}

function Fact({
  name,
  value,
  bad = false,
}: {
  readonly name: string;
  readonly value: string;
  readonly bad?: boolean;
}) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className={bad ? "bad" : undefined}>{value}</dd>
    </div>
  );
}

interface CountsProps {
  readonly errors: Readonly<Record<string, number>>;
  readonly limits: Readonly<Record<string, number>>;
}

/** What was refused since the start, most first. */
function Counts({ errors, limits }: CountsProps) {
  const rows = [
    ...Object.entries(errors).map(([name, count]) => ({ what: "error", name, count })),
    ...Object.entries(limits).map(([name, count]) => ({ what: "limit", name, count })),
  ]
    .filter(({ count }) => count > 0)
    .toSorted((one, other) => other.count - one.count);
  if (rows.length === 0) return null;
  return (
    <>
      <h2>Errors and limits since the start</h2>
      <Table label="Errors and limits" head={["Name", "What", "How often"]}>
        {rows.map(({ what, name, count }) => (
          <tr key={what + name}>
            <td>
              <code>{name}</code>
            </td>
            <td>{what}</td>
            <td>{count.toLocaleString()}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

function linesOf(samples: readonly Sample[]) {
  const of = (name: Exclude<keyof Sample, "at">): (number | null)[] => samples.map((sample) => sample[name]);
  return {
    times: samples.map(({ at }) => at),
    charts: [
      { title: "Connections", unit: "", lines: [{ label: "connections", values: of("connections") }] },
      {
        title: "Runs",
        unit: "",
        lines: [
          { label: "active", values: of("active_runs") },
          { label: "queued", values: of("queued_runs") },
        ],
      },
      { title: "Tokens", unit: "per s", lines: [{ label: "tokens", values: of("tokens") }] },
      { title: "Events", unit: "per s", lines: [{ label: "events", values: of("events") }] },
      {
        title: "Lag",
        unit: "ms",
        lines: [
          { label: "event", values: of("event_lag") },
          { label: "request", values: of("round_trip") },
        ],
      },
      { title: "Errors", unit: "per s", lines: [{ label: "errors", values: of("errors") }] },
      { title: "Memory", unit: "MB", lines: [{ label: "memory", values: of("memory_mb") }] },
    ],
  };
}
