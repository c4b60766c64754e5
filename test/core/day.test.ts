import { expect, test } from "bun:test";
import fc from "fast-check";
import { dayOf, endOfDay, endOfMonth, monthOf } from "../../src/core/day.ts";

const DAY_MS = 86_400_000;
const YEAR_9999 = Date.UTC(9999, 11, 31);

test("the day of a time is the one that the calendar has", () => {
  const times = fc.integer({ min: 0, max: YEAR_9999 });
  fc.assert(fc.property(times, (time) => dayOf(time) === new Date(time).toISOString().slice(0, 10)));
  for (const [time, day] of [
    [0, "1970-01-01"],
    [DAY_MS - 1, "1970-01-01"],
    [Date.UTC(2000, 1, 29), "2000-02-29"],
    [Date.UTC(2100, 1, 28) + DAY_MS, "2100-03-01"],
    [Date.UTC(2024, 11, 31, 23, 59, 59, 999), "2024-12-31"],
  ] as const)
    expect(dayOf(time)).toBe(day);
});

test("a day ends at midnight, a month with its last day", () => {
  const time = Date.UTC(2024, 1, 10, 13, 5);
  expect([endOfDay(time), endOfMonth(time)]).toEqual([Date.UTC(2024, 1, 11), Date.UTC(2024, 2, 1)]);
  expect(endOfDay(endOfDay(time))).toBe(Date.UTC(2024, 1, 12));
  expect(endOfMonth(Date.UTC(2025, 11, 31, 23))).toBe(Date.UTC(2026, 0, 1));
  expect(monthOf(dayOf(time))).toBe("2024-02");
});
