import { describe, expect, test } from "bun:test";
import { cronCalendar, onceCalendar, planOf } from "../../src/automation/cron.ts";

const at = (text: string): number => Date.parse(text);
const iso = (times: readonly (number | null)[]): string[] =>
  times.map((each) => (each === null ? "never" : new Date(each).toISOString().replace(":00.000Z", "Z")));

function following(expression: string, timezone: string, from: string, count: number): string[] {
  const calendar = cronCalendar(expression, timezone);
  const found: (number | null)[] = [];
  for (let next = calendar.next(at(from)); found.length < count; next = next && calendar.next(next))
    found.push(next);
  return iso(found);
}

describe("the moments of an expression", () => {
  test.each([
    ["0 9 * * MON-FRI", "Europe/Berlin", "2026-03-26T12:00Z", ["2026-03-27T08:00Z", "2026-03-30T07:00Z"]],
    [
      "*/20 * * * *",
      "UTC",
      "2026-01-01T00:05Z",
      ["2026-01-01T00:20Z", "2026-01-01T00:40Z", "2026-01-01T01:00Z"],
    ],
    ["@daily", "America/New_York", "2026-07-01T12:00Z", ["2026-07-02T04:00Z"]],
    [
      "30 4 1,15 * 5",
      "UTC",
      "2026-05-02T00:00Z",
      ["2026-05-08T04:30Z", "2026-05-15T04:30Z", "2026-05-22T04:30Z"],
    ],
    ["0 0 29 2 *", "UTC", "2026-01-01T00:00Z", ["2028-02-29T00:00Z"]],
    ["0 0 30 2 *", "UTC", "2026-01-01T00:00Z", ["never"]],
    // Half past two is skipped on 29 March, and comes twice on 25 October.
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]],
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]],
    [
      "30 * * * *",
      "Europe/Berlin",
      "2026-10-24T23:00Z",
      ["2026-10-24T23:30Z", "2026-10-25T00:30Z", "2026-10-25T01:30Z"],
    ],
    ["15 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00Z", ["2026-04-04T14:15Z", "2026-04-05T14:45Z"]],
  ])("%s in %s after %s", (expression, timezone, from, expected) => {
    expect(following(expression, timezone, from, expected.length)).toEqual(expected);
  });

  test.each([
    ["* * * * * *", "UTC", "cron: "],
    ["61 * * * *", "UTC", "cron: Invalid value for minute: 61"],
    ["tomorrow", "UTC", "cron: "],
    ["* * * * *", "Mars/Base", 'timezone: "Mars/Base" is none'],
  ])("%s in %s are none", (expression, timezone, message) => {
    expect(() => cronCalendar(expression, timezone)).toThrow(message);
  });

  test("between two, the newest are told, both ends with them", () => {
    const calendar = cronCalendar("*/10 * * * *", "UTC");
    const [from, upto] = [at("2026-01-01T00:00Z"), at("2026-01-01T00:30Z")];
    expect(iso(calendar.between(from, upto, 9))).toEqual([
      "2026-01-01T00:00Z",
      "2026-01-01T00:10Z",
      "2026-01-01T00:20Z",
      "2026-01-01T00:30Z",
    ]);
    expect(iso(calendar.between(from, upto + 59_999, 1))).toEqual(["2026-01-01T00:30Z"]);
    expect(calendar.between(from + 1, upto - 1, 9)).toHaveLength(2);
    expect(onceCalendar(from).between(from, from, 9)).toEqual([from]);
  });
});

describe("what moments that have come come to", () => {
  const hourly = cronCalendar("0 * * * *", "UTC");
  const next = at("2026-01-01T01:00Z");
  const plan = (now: string, missed: "skip" | "once" | "all", catch_up = 24): string[] => {
    const found = planOf(hourly, next, at(now), missed, catch_up);
    return iso([found.due, found.next]);
  };

  test.each(["skip", "once", "all"] as const)("in time, %p makes no difference", (missed) => {
    expect(plan("2026-01-01T01:00Z", missed)).toEqual(["2026-01-01T01:00Z", "2026-01-01T02:00Z"]);
    expect(plan("2026-01-01T01:01Z", missed)).toEqual(["2026-01-01T01:00Z", "2026-01-01T02:00Z"]);
  });

  test("later, it is nothing, the newest alone, or one after another", () => {
    const now = "2026-01-01T04:30Z";
    expect(plan(now, "skip")).toEqual(["never", "2026-01-01T05:00Z"]);
    expect(plan(now, "once")).toEqual(["2026-01-01T04:00Z", "2026-01-01T05:00Z"]);
    expect(plan(now, "all")).toEqual(["2026-01-01T01:00Z", "2026-01-01T02:00Z"]);
    expect(plan(now, "all", 2)).toEqual(["2026-01-01T03:00Z", "2026-01-01T04:00Z"]);
    expect(plan(now, "all", 1)).toEqual(["2026-01-01T04:00Z", "2026-01-01T05:00Z"]);
    // One that has just come is not missed with the others.
    expect(plan("2026-01-01T04:00Z", "skip")).toEqual(["2026-01-01T04:00Z", "2026-01-01T05:00Z"]);
  });

  test("after years it takes no longer", () => {
    const every = cronCalendar("* * * * *", "Europe/Berlin");
    const found = planOf(every, at("2016-01-01T00:00Z"), at("2026-01-01T00:00Z"), "all", 3);
    expect(iso([found.due, found.next])).toEqual(["2025-12-31T23:58Z", "2025-12-31T23:59Z"]);
  });

  test("one that could not be said in time was not missed, as long as it is tried", () => {
    const [tried, now] = [at("2026-01-01T01:00:30Z"), at("2026-01-01T01:10Z")];
    const found = planOf(hourly, next, now, "skip", 9, tried);
    expect(iso([found.due, found.next])).toEqual(["2026-01-01T01:00Z", "2026-01-01T02:00Z"]);
    expect(planOf(hourly, next, now, "skip", 9, now).due).toBeNull();
  });

  test("of one moment there is one", () => {
    const once = onceCalendar(next);
    expect(planOf(once, next, next + 5, "skip", 9)).toEqual({ due: next, next: null });
    expect(planOf(once, next, next + 3_600_000, "skip", 9)).toEqual({ due: null, next: null });
    expect(planOf(once, next, next + 3_600_000, "all", 9)).toEqual({ due: next, next: null });
  });
});
