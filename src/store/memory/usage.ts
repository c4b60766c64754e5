import type { Limits } from "../../core/limits.ts";
import type { UsageEntry, UsageQuery, UsageRow } from "../../core/usage.ts";
import { addCapped, OTHER_MODELS } from "../../core/usage.ts";
import { firstKeptDay } from "../rules.ts";
import type { MemoryState, MemoryUsage } from "./state.ts";

const AMOUNTS = [
  "calls",
  "unknown_calls",
  "input_tokens",
  "output_tokens",
  "cached_tokens",
  "reasoning_tokens",
] as const;

/** Adds to the day of the user and, with a session, of the session; what takes it back. */
export function keepUsage(
  usage: MemoryUsage,
  limits: Limits,
  entry: UsageEntry,
  session: string | null,
): () => void {
  const undo = [add(usage.days, limits, entry.user, entry)];
  if (session !== null) undo.push(add(usage.sessions, limits, session, { ...entry, session }));
  return () => undo.forEach((step) => step());
}

function add<T extends UsageEntry>(map: Map<string, T>, limits: Limits, whose: string, entry: T): () => void {
  const { day } = entry;
  const models = new Set<string>();
  for (const [key, row] of map) {
    const [owner, on] = JSON.parse(key) as [string, string];
    if (owner === whose && on === day) models.add(row.model);
  }
  const isFull = !models.has(entry.model) && models.size >= limits.usage_models;
  const model = isFull ? OTHER_MODELS : entry.model;
  const key = JSON.stringify([whose, day, model, entry.currency]);
  const before = map.get(key);
  const sums = [...AMOUNTS, "cost" as const].map((each) => [
    each,
    addCapped(before?.[each] ?? 0, entry[each]),
  ]);
  map.set(key, { ...entry, model, ...(Object.fromEntries(sums) as Partial<T>) });
  return () => {
    if (before === undefined) map.delete(key);
    else map.set(key, before);
  };
}

export function usageRows({ usage, sessions }: MemoryState, query: UsageQuery): UsageRow[] {
  const { by, user, session, since = "", until = "9999-12-31", currency, limit } = query;
  const owner = (id: string): string | undefined => {
    const found = sessions.get(id);
    return found?.state === "live" ? found.row.owner : undefined;
  };
  const all: readonly { readonly entry: UsageEntry; readonly key: string }[] =
    by === "session" || session !== undefined
      ? [...usage.sessions.values()]
          .filter(({ session: id }) => owner(id) !== undefined && (session === undefined || session === id))
          .filter(({ session: id }) => user === undefined || owner(id) === user)
          .map((entry) => ({ entry, key: keyOf(by, entry, entry.session) }))
      : [...usage.days.values()]
          .filter((entry) => user === undefined || entry.user === user)
          .map((entry) => ({ entry, key: keyOf(by, entry, "") }));
  const within = all.filter(({ entry }) => entry.day >= since && entry.day <= until);
  if (by === "total")
    return [
      sumOf(
        "",
        within.map(({ entry }) => entry),
        currency,
      ),
    ];
  const groups = Map.groupBy(within, ({ key }) => key);
  const rows = [...groups].map(([key, group]) =>
    sumOf(
      key,
      group.map(({ entry }) => entry),
      currency,
    ),
  );
  const tokens = (row: UsageRow): number => row.input_tokens + row.output_tokens;
  const byKey = (a: UsageRow, b: UsageRow): number => (a.key < b.key ? -1 : 1);
  return rows
    .toSorted((a, b) => (by === "day" ? byKey(b, a) : tokens(b) - tokens(a) || byKey(a, b)))
    .slice(0, limit);
}

function keyOf(by: UsageQuery["by"], { day, model, user }: UsageEntry, session: string): string {
  return { total: "", day, model, user, session }[by];
}

function sumOf(key: string, entries: readonly UsageEntry[], currency: string): UsageRow {
  const priced = entries.filter((entry) => entry.currency === currency);
  const sum = (some: readonly UsageEntry[], what: "cost" | (typeof AMOUNTS)[number]): number =>
    some.reduce((total, entry) => addCapped(total, entry[what]), 0);
  return {
    key,
    calls: sum(entries, "calls"),
    unknown_calls: sum(entries, "unknown_calls"),
    input_tokens: sum(entries, "input_tokens"),
    output_tokens: sum(entries, "output_tokens"),
    cached_tokens: sum(entries, "cached_tokens"),
    reasoning_tokens: sum(entries, "reasoning_tokens"),
    priced_calls: sum(priced, "calls"),
    cost: sum(priced, "cost"),
  };
}

/** Keys of what was used in a session. */
export function* usageOf({ sessions }: MemoryUsage, id: string): Generator<string> {
  for (const [key, { session }] of sessions) if (session === id) yield key;
}

/** Erases what a user used; the number erased. */
export function forgetUsage({ days }: MemoryUsage, user: string, max_rows: number): number {
  return drop(days, max_rows, (entry) => entry.user === user);
}

/** Erases days that are too long ago; the number erased. */
export function expireUsage(usage: MemoryUsage, limits: Limits, now: number, max_rows: number): number {
  const first = firstKeptDay(limits.usage_ttl_secs, now);
  const old = ({ day }: UsageEntry): boolean => day < first;
  return drop(usage.days, max_rows, old) + drop(usage.sessions, max_rows, old);
}

function drop<T extends UsageEntry>(map: Map<string, T>, max_rows: number, which: (entry: T) => boolean) {
  const keys = [...map]
    .filter(([, entry]) => which(entry))
    .toSorted(([, a], [, b]) => (a.day < b.day ? -1 : 1));
  for (const [key] of keys.slice(0, max_rows)) map.delete(key);
  return Math.min(keys.length, max_rows);
}
