import { UsageError } from "./exit.ts";

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds since 1970 of "90s", "15m", "1h", "7d" before `now`, or of a date. @throws UsageError */
export function parseSince(text: string, now: number): number {
  const [, amount, unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (amount !== undefined) return Math.max(0, now - Number(amount) * (UNITS[unit] ?? 0));
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (at >= 0) return at;
  throw new UsageError(`"${text}" is no time: write 15m, 1h, 7d, or a date like 2026-01-31T12:00Z`);
}
