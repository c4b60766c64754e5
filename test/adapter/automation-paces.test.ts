import { expect, test } from "bun:test";
import { Paces } from "../../src/automation/paces.ts";
import { manualClock } from "../support/clock.ts";

test("what was used long ago is not kept, and what is left of the rest stays", () => {
  const clock = manualClock();
  const paces = new Paces(clock, () => 2);
  for (let i = 0; i < 1_000; i++) expect(paces.take(`hook${i}`)).toBe(0);
  clock.advance(59_000);
  expect([paces.take("hook0"), paces.take("hook0"), paces.take("hook0") > 0]).toEqual([0, 0, true]);
  expect(paces.size).toBe(1_000);
  clock.advance(1_000);
  expect([paces.take("hook0") > 0, paces.take("hook1000"), paces.size]).toEqual([true, 0, 2]);
});

test("another pace counts at once, for what has little left, too", () => {
  const clock = manualClock();
  let per_minute = 1;
  const paces = new Paces(clock, () => per_minute);
  expect([paces.take("a"), paces.take("a")]).toEqual([0, 60_000]);
  per_minute = 60;
  expect([paces.take("a"), paces.take("b"), paces.take("b")]).toEqual([1_000, 0, 0]);
  per_minute = 1;
  expect([paces.take("b"), paces.take("b")]).toEqual([0, 60_000]);
});
