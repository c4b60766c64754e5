import { expect, test } from "bun:test";
import { Trickle } from "../../src/core/trickle.ts";
import { manualClock } from "../support/clock.ts";

test("what is over waits, the last of each thing, its keys apart; of what is too much the newest is kept", () => {
  const clock = manualClock();
  let per_second = 2;
  const trickle = new Trickle({ clock, per_second: () => per_second });
  const said: string[] = [];
  const offer = (key: string, about: string, what = about): void =>
    trickle.offer(key, about, () => void said.push(`${key}${what}`));
  for (const about of ["1", "2", "3", "4", "5"]) offer("a", about);
  offer("b", "1");
  offer("a", "3", "3 again");
  expect(said).toEqual(["a1", "a2", "b1"]);
  clock.advance(1_000);
  expect(said.slice(3)).toEqual(["a3 again", "a4"]);
  clock.advance(1_000);
  expect(said.slice(5)).toEqual(["a5"]);
  expect(clock.pending).toBe(0);
  said.length = 0;
  clock.advance(1_000);
  per_second = 200;
  for (let n = 0; n < 10_203; n++) offer("a", `${n}`);
  trickle.flush();
  expect(said).toHaveLength(10_200);
  expect([said[199], said[200], said.at(-1)]).toEqual(["a199", "a203", "a10202"]);
  // Nothing is told more than a minute late.
  per_second = 2;
  said.length = 0;
  clock.advance(1_000);
  for (let n = 0; n < 1_000; n++) offer("a", `${n}`);
  trickle.flush();
  expect(said).toHaveLength(2 + 120);
  expect([said[1], said[2], said.at(-1)]).toEqual(["a1", "a880", "a999"]);
  clock.advance(1_000);
  for (const about of ["1", "2", "3"]) offer("c", about);
  trickle.close();
  clock.advance(10_000);
  expect(said.at(-1)).toBe("c2");
  expect(clock.pending).toBe(0);
});
