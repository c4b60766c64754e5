import type { Limits } from "../../core/limits.ts";
import type { UsageEntry, UsageGrouping, UsageQuery, UsageRow } from "../../core/usage.ts";
import { OTHER_MODELS } from "../../core/usage.ts";
import { firstKeptDay, MOST_USED, USAGE_AMOUNTS, USAGE_COLUMNS } from "../rules.ts";
import type { Queries } from "./queries.ts";
import type { Work } from "./work.ts";

const ACCOUNTS = [
  { table: "usage_days", owner: "username", type: "text" },
  { table: "usage_sessions", owner: "session_key", type: "bigint" },
] as const;
type Account = (typeof ACCOUNTS)[number];

/** Adds to the day of the user and, with a session, of the session. */
export async function addUsage(work: Work, entry: UsageEntry, session_key: number | null): Promise<void> {
  await add(work, ACCOUNTS[0], entry.user, entry);
  if (session_key !== null) await add(work, ACCOUNTS[1], session_key, entry);
}

async function add(
  { q, limits }: Work,
  { table, owner, type }: Account,
  whose: string | number,
  { day, model, currency, ...entry }: UsageEntry,
): Promise<void> {
  const found = await q.one<{ known: boolean; models: number }>(
    `SELECT count(DISTINCT model)::float8 AS models, coalesce(bool_or(model = $3::text), false) AS known
     FROM ${table} WHERE ${owner} = $1::${type} AND day = $2::text`,
    [whose, day, model],
  );
  const full = found !== null && !found.known && found.models >= limits.usage_models;
  const sums = USAGE_COLUMNS.map((each) => `${each} = LEAST(u.${each} + excluded.${each}, ${MOST_USED})`);
  await q.run(
    `INSERT INTO ${table} AS u (${owner}, day, model, currency, ${USAGE_COLUMNS.join(", ")})
     VALUES ($1::${type}, $2::text, $3::text, $4::text, ${USAGE_COLUMNS.map((_, at) => `$${at + 5}::bigint`).join(", ")})
     ON CONFLICT (${owner}, day, model, currency) DO UPDATE SET ${sums.join(", ")}`,
    [whose, day, full ? OTHER_MODELS : model, currency, ...USAGE_COLUMNS.map((each) => entry[each])],
  );
}

export function readUsage(
  q: Queries,
  { by, user, session, since, until, currency, limit }: UsageQuery,
): Promise<UsageRow[]> {
  const values = [currency, since ?? "", until ?? "9999-12-31", limit, user ?? session ?? null];
  return q.all<UsageRow>(readText(by, session), values);
}

/** One of the few texts there are. */
function readText(by: UsageGrouping, session: string | undefined): string {
  const ofSessions = by === "session" || session !== undefined;
  const from = ofSessions
    ? "usage_sessions AS u JOIN sessions AS s ON s.session_key = u.session_key AND s.state = 'live'"
    : "usage_days AS u";
  const key = { total: "''", day: "u.day", model: "u.model", user: "u.username", session: "s.id" }[by];
  const whose =
    session !== undefined
      ? "s.id = $5::text"
      : `${ofSessions ? "s.owner" : "u.username"} = $5::text OR $5::text IS NULL`;
  const sum = (what: string, name: string): string =>
    `LEAST(coalesce(sum(${what}), 0), ${MOST_USED})::float8 AS ${name}`;
  const priced = (what: string): string => `CASE WHEN u.currency = $1::text THEN ${what} ELSE 0 END`;
  const columns = [
    ...USAGE_AMOUNTS.map((each) => sum(`u.${each}`, each)),
    sum(priced("u.calls"), "priced_calls"),
    sum(priced("u.cost"), "cost"),
  ];
  const order = by === "day" ? "1 DESC" : "sum(u.input_tokens::numeric + u.output_tokens) DESC, 1";
  return `SELECT ${key} AS key, ${columns.join(", ")} FROM ${from}
    WHERE u.day >= $2::text AND u.day <= $3::text AND (${whose})
    ${by === "total" ? "" : `GROUP BY 1 ORDER BY ${order}`} LIMIT $4::bigint`;
}

/** Erases what was used in a session, so many rows at the most; the number erased. */
export function eraseUsage(q: Queries, session_key: number, max_rows: number): Promise<number> {
  return drop(q, ACCOUNTS[1], session_key, max_rows);
}

/** Erases what a user used; the number erased. */
export function forgetUsage(q: Queries, user: string, max_rows: number): Promise<number> {
  return drop(q, ACCOUNTS[0], user, max_rows);
}

function drop(
  q: Queries,
  { table, owner, type }: Account,
  whose: string | number,
  max_rows: number,
): Promise<number> {
  return q.run(
    `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${table} WHERE ${owner} = $1::${type} LIMIT $2::bigint))`,
    [whose, max_rows],
  );
}

/** Erases days that are too long ago; the number erased. */
export async function expireUsage(
  q: Queries,
  limits: Limits,
  now: number,
  max_rows: number,
): Promise<number> {
  const first = firstKeptDay(limits.usage_ttl_secs, now);
  let erased = 0;
  for (const { table } of ACCOUNTS) {
    erased += await q.run(
      `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM ${table} WHERE day < $1::text ORDER BY day LIMIT $2::bigint FOR UPDATE SKIP LOCKED))`,
      [first, max_rows],
    );
  }
  return erased;
}
