import { expect, test } from "bun:test";
import { Paces } from "../../src/automation/paces.ts";
import { manualClock } from "../support/clock.ts";

test("what was used long ago is not kept, and what is left of the rest stays", () => {
  const clock = manualClock();
  const paces = new Paces(clock, 2);
  for (let i = 0; i < 1_000; i++) expect(paces.take(`hook${i}`)).toBe(0);
  clock.advance(59_000);
  expect([paces.take("hook0"), paces.take("hook0"), paces.take("hook0") > 0]).toEqual([0, 0, true]);
  expect(paces.size).toBe(1_000);
  clock.advance(1_000);
  expect([paces.take("hook0") > 0, paces.take("hook1000"), paces.size]).toEqual([true, 0, 2]);
});
