import { useState } from "react";
import type { ResultFor } from "../../client/methods.ts";
import { useAsked } from "../asked.ts";
import { useHome } from "../home-context.ts";
import { sessionPath } from "../route.ts";
import { longTime } from "../time.ts";
import { Chart } from "./chart.tsx";
import { Problem } from "./problem.tsx";
import { Table } from "./table.tsx";

type Answer = ResultFor<"usage.get">;
type Group = NonNullable<Answer["groups"]>[number];

const GROUPS = ["model", "user", "session"] as const;
type By = (typeof GROUPS)[number];

const DAY_MS = 86_400_000;
const SPANS: readonly [string, number][] = [
  ["7 days", 7],
  ["30 days", 30],
  ["90 days", 90],
];

/** What models were used for, and what it cost. */
export function Usage() {
  const { may } = useHome();
  const everybody = may("system.read");
  const [days, setDays] = useState(30);
  const [by, setBy] = useState<By>("model");
  const [now] = useState(() => Date.now());
  const whose = { ...(everybody && { everybody: true }), since: dayOf(now - (days - 1) * DAY_MS) };
  const daily = useAsked("usage.get", { by: "day", ...whose, limit: days });
  const grouped = useAsked("usage.get", { by, ...whose });
  if (daily.data === null) return <Problem error={daily.error} />;
  const { total, currency, budgets = [] } = daily.data;
  return (
    <>
      <Problem error={daily.error ?? grouped.error} />
      <div className="bar">
        <label className="check">
          <span>Over</span>
          <select value={days} onChange={({ target }) => setDays(Number(target.value))}>
            {SPANS.map(([label, value]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </div>
      <dl className="facts">
        <Fact name="Calls of models" value={total.calls.toLocaleString()} />
        <Fact name="Tokens in" value={total.input_tokens.toLocaleString()} />
        <Fact name="Tokens out" value={total.output_tokens.toLocaleString()} />
        <Fact name="Cost" value={costOf(total.cost, currency)} />
      </dl>
      {budgets.length > 0 && <Budgets budgets={budgets} currency={currency} />}
      <Days groups={daily.data.groups ?? []} now={now} days={days} />
      <div className="bar">
        <h2>By {by}</h2>
        <label className="check">
          <span>In groups by</span>
          <select
            value={by}
            onChange={({ target }) => setBy(GROUPS.find((each) => each === target.value) ?? "model")}
          >
            {GROUPS.filter((each) => each !== "user" || everybody).map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </div>
      {grouped.data !== null && <Groups groups={grouped.data.groups ?? []} by={by} currency={currency} />}
    </>
  );
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

interface DaysProps {
  readonly groups: readonly Group[];
  readonly now: number;
  readonly days: number;
}

function Days({ groups, now, days }: DaysProps) {
  const known = new Map(groups.map((group) => [group.day, group]));
  const times = Array.from({ length: days }, (_, at) => now - (days - 1 - at) * DAY_MS);
  const of = (name: "input_tokens" | "output_tokens"): number[] =>
    times.map((at) => known.get(dayOf(at))?.[name] ?? 0);
  const lines = [
    { label: "in", values: of("input_tokens") },
    { label: "out", values: of("output_tokens") },
  ];
  return (
    <div className="charts">
      <Chart title="Tokens a day" unit="" times={times} lines={lines} days />
    </div>
  );
}

interface GroupsProps {
  readonly groups: readonly Group[];
  readonly by: By;
  readonly currency: string;
}

function Groups({ groups, by, currency }: GroupsProps) {
  if (groups.length === 0) return <p className="hint">Nothing was used in this time.</p>;
  return (
    <Table label={`Usage by ${by}`} head={[by, "calls", "tokens in", "tokens out", "cost"]}>
      {groups.map((group) => (
        <tr key={group.model ?? group.user ?? group.session_id}>
          <td>
            {group.session_id === undefined ? (
              (group.model ?? group.user)
            ) : (
              <a href={sessionPath(group.session_id)}>{group.session_id}</a>
            )}
          </td>
          <td>{group.calls.toLocaleString()}</td>
          <td>{group.input_tokens.toLocaleString()}</td>
          <td>{group.output_tokens.toLocaleString()}</td>
          <td>{costOf(group.cost, currency)}</td>
        </tr>
      ))}
    </Table>
  );
}

interface BudgetsProps {
  readonly budgets: NonNullable<Answer["budgets"]>;
  readonly currency: string;
}

function Budgets({ budgets, currency }: BudgetsProps) {
  return (
    <>
      <h2>Budgets</h2>
      <Table label="Budgets" head={["Of", "Spent", "Of at most", "Begins anew"]}>
        {budgets.map(({ what, spent, limit, resets_at }) => {
          const told = (amount: number): string =>
            what.endsWith("cost") ? costOf(amount, currency) : amount.toLocaleString();
          return (
            <tr key={what}>
              <td>{what.replace("_", ", ")}</td>
              <td className={spent >= limit ? "bad" : undefined}>{told(spent)}</td>
              <td>{told(limit)}</td>
              <td>{longTime(resets_at)}</td>
            </tr>
          );
        })}
      </Table>
    </>
  );
}

/** As usage is counted: by the days of UTC. */
function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function costOf(nano: number | undefined, currency: string): string {
  if (nano === undefined) return "–";
  const amount = nano / 1e9;
  const digits = amount > 0 && amount < 0.01 ? 6 : 2;
  return `${amount.toLocaleString(undefined, { maximumFractionDigits: digits })} ${currency}`.trim();
}
