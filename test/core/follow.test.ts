import { expect, test } from "bun:test";
import { decide } from "../../src/core/follow.ts";

const at = { epoch: "k3v9q2a7", floor: 100, head: 5_000 };
const auto = "auto" as const;
const log = "log" as const;

const table: [string, Parameters<typeof decide>[0], ReturnType<typeof decide>][] = [
  ["nothing", { catch_up: auto }, { mode: "snapshot" }],
  ["a current cursor", { epoch: at.epoch, after: 4_000, catch_up: auto }, { mode: "resume", from: 4_000 }],
  ["the head", { epoch: at.epoch, after: 5_000, catch_up: auto }, { mode: "resume", from: 5_000 }],
  ["exactly far", { epoch: at.epoch, after: 3_000, catch_up: auto }, { mode: "resume", from: 3_000 }],
  ["far", { epoch: at.epoch, after: 2_999, catch_up: auto }, { mode: "snapshot", reason: "far" }],
  ["far, all wanted", { epoch: at.epoch, after: 2_999, catch_up: log }, { mode: "resume", from: 2_999 }],
  ["the floor, all wanted", { epoch: at.epoch, after: 100, catch_up: log }, { mode: "resume", from: 100 }],
  ["below the floor", { epoch: at.epoch, after: 99, catch_up: log }, { mode: "snapshot", reason: "trimmed" }],
  ["the start without an epoch", { after: 0, catch_up: auto }, { mode: "snapshot", reason: "trimmed" }],
  ["beyond the head", { epoch: at.epoch, after: 5_001, catch_up: auto }, { mode: "reset", reason: "ahead" }],
  ["another epoch", { epoch: "aaaaaaaa", after: 4_000, catch_up: auto }, { mode: "reset", reason: "epoch" }],
];
test.each(table)("a client that has %s", (_what, request, decision) => {
  expect(decide(request, at, 2_000)).toEqual(decision);
});

test("the start of a log that was never trimmed is a resume", () => {
  expect(decide({ after: 0, catch_up: auto }, { epoch: at.epoch, floor: 0, head: 10 }, 2_000)).toEqual({
    mode: "resume",
    from: 0,
  });
});
