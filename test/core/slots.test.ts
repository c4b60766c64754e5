import { expect, test } from "bun:test";
import { inTurns, Slots } from "../../src/core/slots.ts";

test("who waits goes on a few in each turn, in order, and never more at once than there are slots", async () => {
  const turns: (() => void)[] = [];
  const clock = {
    after(_ms: number, task: () => void) {
      turns.push(task);
      return () => undefined;
    },
  };
  const slots = new Slots(4, inTurns(clock, 2));
  const begun: number[] = [];
  let most = 0;
  const done = Promise.all(
    Array.from({ length: 11 }, (_, i) =>
      slots.use(() => {
        begun.push(i);
        most = Math.max(most, slots.used);
        return Promise.resolve();
      }),
    ),
  );
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  await settle();
  // Four had a slot; what they give back goes on in later turns, two in each.
  const counts = [begun.length];
  while (turns.length > 0) {
    expect(turns).toHaveLength(1);
    turns.shift()?.();
    await settle();
    counts.push(begun.length);
  }
  expect(counts).toEqual([4, 6, 8, 10, 11]);
  await done;
  expect(begun).toEqual(Array.from({ length: 11 }, (_, i) => i));
  expect([most, slots.used, slots.waiting]).toEqual([4, 0, 0]);
});

test("another bound counts from the next end on: more are let in, or none until there are fewer", async () => {
  let limit = 1;
  const slots = new Slots(() => limit);
  const open: (() => void)[] = [];
  const all = Array.from({ length: 7 }, () => slots.use(() => new Promise<void>((end) => open.push(end))));
  const after = async (change: () => void): Promise<number[]> => {
    change();
    for (let i = 0; i < 20; i++) await Promise.resolve();
    return [slots.used, slots.waiting];
  };
  const end = (): void => open.shift()?.();
  expect(await after(() => undefined)).toEqual([1, 6]);
  limit = 3;
  expect(await after(end)).toEqual([3, 3]);
  limit = 2;
  expect(await after(end)).toEqual([2, 3]);
  expect(await after(end)).toEqual([2, 2]);
  while (slots.used > 0) await after(end);
  await Promise.all(all);
  expect([slots.used, slots.waiting]).toEqual([0, 0]);
});
