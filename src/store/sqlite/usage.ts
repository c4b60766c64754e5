import type { Database } from "bun:sqlite";
import type { Limits } from "../../core/limits.ts";
import type { UsageEntry, UsageGrouping, UsageQuery, UsageRow } from "../../core/usage.ts";
import { OTHER_MODELS } from "../../core/usage.ts";
import { firstKeptDay, MOST_USED, USAGE_AMOUNTS, USAGE_COLUMNS } from "../rules.ts";
import { hold } from "./database.ts";

/** Adds to the day of the user and, with a session, of the session. */
export function createUsageWriter(
  db: Database,
  limits: Limits,
): (entry: UsageEntry, session_key: number | null) => void {
  const ofUser = createAdd(db, "usage_days", "user", limits);
  const ofSession = createAdd(db, "usage_sessions", "session_key", limits);
  return (entry, session_key) => {
    ofUser(entry.user, entry);
    if (session_key !== null) ofSession(session_key, entry);
  };
}

function createAdd(db: Database, table: string, owner: string, limits: Limits) {
  const known = hold(db, `SELECT 1 FROM ${table} WHERE ${owner} = ? AND day = ? AND model = ? LIMIT 1`);
  const models = hold<{ models: number }>(
    db,
    `SELECT COUNT(DISTINCT model) AS models FROM ${table} WHERE ${owner} = ? AND day = ?`,
  );
  const sums = USAGE_COLUMNS.map((each) => `${each} = MIN(${each} + excluded.${each}, ${MOST_USED})`);
  const put = hold(
    db,
    `INSERT INTO ${table} (${owner}, day, model, currency, ${USAGE_COLUMNS.join(", ")})
     VALUES (?, ?, ?, ?, ${USAGE_COLUMNS.map(() => "?").join(", ")})
     ON CONFLICT (${owner}, day, model, currency) DO UPDATE SET ${sums.join(", ")}`,
  );
  return (whose: string | number, { day, model, currency, ...entry }: UsageEntry): void => {
    const full = (): boolean => (models.get(whose, day)?.models ?? 0) >= limits.usage_models;
    const counted = known.get(whose, day, model) === null && full() ? OTHER_MODELS : model;
    put.run(whose, day, counted, currency, ...USAGE_COLUMNS.map((each) => entry[each]));
  };
}

export function createUsageReads(db: Database) {
  const held = new Map<string, ReturnType<typeof hold<UsageRow>>>();
  return {
    usage({ by, user, session, since, until, currency, limit }: UsageQuery): UsageRow[] {
      const text = readText(by, user, session);
      const read = held.get(text) ?? hold<UsageRow>(db, text);
      held.set(text, read);
      return read.all(currency, since ?? "", until ?? "9999-12-31", limit, user ?? session ?? null);
    },
  };
}

/** One of the few texts there are. TOTAL, unlike SUM, is no error where it would not fit. */
function readText(by: UsageGrouping, user: string | undefined, session: string | undefined): string {
  const ofSessions = by === "session" || session !== undefined;
  const from = ofSessions
    ? "usage_sessions AS u JOIN sessions AS s ON s.session_key = u.session_key AND s.state = 'live'"
    : "usage_days AS u";
  const key = { total: "''", day: "u.day", model: "u.model", user: "u.user", session: "s.id" }[by];
  const whose =
    session !== undefined
      ? "s.id = ?5"
      : ofSessions
        ? "s.owner = ?5 OR ?5 IS NULL"
        : "u.user = ?5 OR ?5 IS NULL";
  const sum = (what: string, name: string): string =>
    `CAST(MIN(TOTAL(${what}), ${MOST_USED}) AS INTEGER) AS ${name}`;
  const priced = (what: string): string => `CASE WHEN u.currency = ?1 THEN ${what} ELSE 0 END`;
  const columns = [
    ...USAGE_AMOUNTS.map((each) => sum(`u.${each}`, each)),
    sum(priced("u.calls"), "priced_calls"),
    sum(priced("u.cost"), "cost"),
  ];
  const order = by === "day" ? "key DESC" : "TOTAL(u.input_tokens + u.output_tokens) DESC, key";
  return `SELECT ${key} AS key, ${columns.join(", ")} FROM ${from}
    WHERE u.day >= ?2 AND u.day <= ?3 AND (${whose})
    ${by === "total" ? "" : `GROUP BY key ORDER BY ${order}`} LIMIT ?4`;
}

/** Erases what was used in a session, so many rows at the most; the number erased. */
export function createUsageErase(db: Database): (session_key: number, max_rows: number) => number {
  const erase = hold(
    db,
    `DELETE FROM usage_sessions WHERE session_key = ?1 AND (day, model, currency) IN
       (SELECT day, model, currency FROM usage_sessions WHERE session_key = ?1 LIMIT ?2)`,
  );
  return (session_key, max_rows) => erase.run(session_key, max_rows).changes;
}

/** Erases what a user used; the number erased. */
export function createUsageForget(db: Database): (user: string, max_rows: number) => number {
  const forget = hold(
    db,
    `DELETE FROM usage_days WHERE user = ?1 AND (day, model, currency) IN
       (SELECT day, model, currency FROM usage_days WHERE user = ?1 LIMIT ?2)`,
  );
  return (user, max_rows) => forget.run(user, max_rows).changes;
}

/** Erases days that are too long ago; the number erased. */
export function createUsageExpire(db: Database, limits: Limits): (now: number, max_rows: number) => number {
  const drop = (table: string, owner: string) =>
    hold(
      db,
      `DELETE FROM ${table} WHERE (${owner}, day, model, currency) IN
         (SELECT ${owner}, day, model, currency FROM ${table} WHERE day < ? ORDER BY day LIMIT ?)`,
    );
  const [days, sessions] = [drop("usage_days", "user"), drop("usage_sessions", "session_key")];
  return (now, max_rows) => {
    const first = firstKeptDay(limits.usage_ttl_secs, now);
    return days.run(first, max_rows).changes + sessions.run(first, max_rows).changes;
  };
}
