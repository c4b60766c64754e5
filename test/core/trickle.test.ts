import { expect, test } from "bun:test";
import { Trickle } from "../../src/core/trickle.ts";
import { manualClock } from "../support/clock.ts";

test("what is over waits, the last of each thing, its keys apart; of what is too much the newest is kept", () => {
  const clock = manualClock();
  const trickle = new Trickle({ clock, per_second: 2 });
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
  for (let n = 0; n < 10_003; n++) offer("a", `${n}`);
  trickle.flush();
  expect(said).toHaveLength(10_002);
  expect([said[1], said[2], said.at(-1)]).toEqual(["a1", "a3", "a10002"]);
  for (const about of ["1", "2", "3"]) offer("c", about);
  trickle.close();
  clock.advance(10_000);
  expect(said.at(-1)).toBe("c2");
  expect(clock.pending).toBe(0);
});
