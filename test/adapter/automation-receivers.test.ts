import { beforeEach, expect, test } from "bun:test";
import { Scene, turns } from "./automation-deliveries.fixture.ts";

/** What becomes of a receiver that takes nothing, and of what is owed to it. */

let scene: Scene;
beforeEach(async () => {
  scene = await new Scene().start();
});

const DAY_MS = 86_400_000;

test("a receiver that was asked nothing for days is not turned off for one failure", async () => {
  scene.status = 500;
  await scene.fail(1);
  scene.clock.advance(4 * DAY_MS);
  await scene.fail(2);
  expect([scene.off, scene.delivered]).toEqual([[], ["1", "1", "2", "2"]]);
  expect(scene.counted).toEqual({ taken: 0, failed: 4, given_up: 2 });
  await scene.deliveries.stop();
});

test("one that takes nothing for three days is, counted from its first failure", async () => {
  scene.status = 500;
  for (let seq = 1; seq <= 6; seq++) {
    await scene.fail(seq);
    expect(scene.off).toEqual([]);
    scene.clock.advance(8 * 3_600_000);
  }
  scene.status = 204;
  await scene.fail(7);
  scene.status = 500;
  for (let seq = 8; seq <= 13; seq++) {
    await scene.fail(seq);
    expect(scene.off).toEqual([]);
    scene.clock.advance(8 * 3_600_000);
  }
  scene.clock.advance(1);
  await scene.fail(14);
  expect(scene.off).toEqual(["nothing was taken for three days: answered 500"]);
  await scene.deliveries.stop();
});

test("neither a restart nor another node that goes on has a receiver be borne anew", async () => {
  scene.status = 500;
  let seq = 0;
  for (let days = 0; scene.off.length === 0 && days < 9; days += 0.5) {
    await scene.fail(++seq);
    scene.clock.advance(8 * 3_600_000);
    await scene.restart();
  }
  expect([scene.off, seq]).toEqual([["nothing was taken for three days: answered 500"], 7]);
  await scene.deliveries.stop();
});

test("a clock that is set back keeps nothing from anybody", async () => {
  scene.status = 500;
  scene.write(1)();
  await turns();
  scene.clock.jump(-36_000_000);
  scene.write(2)();
  scene.status = 204;
  for (let i = 0; i < 3; i++) {
    scene.clock.advance(3_600_000);
    await turns();
  }
  expect(scene.delivered).toEqual(["1", "1", "2"]);
  scene.webhook = { ...scene.webhook, since: scene.clock.now() };
  scene.deliveries.changed();
  scene.clock.jump(-36_000_000);
  scene.clock.advance(2_000);
  scene.write(3)();
  await turns();
  expect(scene.delivered.slice(3)).toEqual(["3"]);
  await scene.deliveries.stop();
});

test("who comes while something waits for others is owed nothing of that", async () => {
  scene.status = 500;
  scene.write(1)();
  await turns();
  scene.clock.advance(1);
  scene.webhook = { ...scene.webhook, since: scene.clock.now() };
  scene.deliveries.changed();
  scene.status = 204;
  scene.write(2)();
  for (let i = 0; i < 3; i++) {
    scene.clock.advance(3_600_000);
    await turns();
  }
  expect(scene.delivered).toEqual(["1", "1", "2"]);
  await scene.deliveries.stop();
});

test("one that is deleted while it is asked is tried no more, and nothing is kept for it", async () => {
  scene.status = 500;
  await scene.fail(1);
  expect([scene.delivered, scene.dead, scene.deliveries.failingSince("whk_1")]).toEqual([
    ["1", "1"],
    1,
    expect.any(Number),
  ]);
  scene.onTry = () => {
    scene.isGone = true;
    scene.deliveries.changed();
  };
  await scene.fail(2);
  expect([scene.delivered, scene.dead, scene.deliveries.failingSince("whk_1")]).toEqual([
    ["1", "1", "2"],
    1,
    null,
  ]);
  await scene.deliveries.stop();
});

test.each([
  ["whose address changes", (it: Scene) => (it.webhook = { ...it.webhook, url: "https://two.example" })],
  ["that took something sent by hand", (it: Scene) => it.deliveries.took("whk_1")],
])("a receiver %s gets at once what waits for it", async (_, happens) => {
  scene.status = 500;
  scene.write(1)();
  await turns();
  scene.status = 204;
  scene.deliveries.changed();
  await turns();
  expect(scene.delivered).toEqual(["1"]);
  happens(scene);
  scene.deliveries.changed();
  await turns();
  expect(scene.delivered).toEqual(["1", "1"]);
  await scene.deliveries.stop();
});

test("nothing waits for a webhook that is gone", async () => {
  scene.status = 500;
  scene.write(1)();
  await turns();
  expect(scene.deliveries.waiting("whk_1")).toBe(1);
  scene.isGone = true;
  scene.deliveries.changed();
  await turns();
  expect(scene.clock.pending).toBeLessThanOrEqual(1);
  await scene.deliveries.stop();
});

test("the answer of where a webhook was before turns off nothing, and nothing waits for it where it is now", async () => {
  scene.status = 410;
  scene.onTry = () => {
    scene.status = 204;
    scene.webhook = { ...scene.webhook, url: "https://two.example" };
    scene.deliveries.changed();
  };
  scene.write(1)();
  await turns();
  expect([scene.off, scene.delivered, scene.deliveries.failingSince("whk_1")]).toEqual([
    [],
    ["1", "1"],
    null,
  ]);
  await scene.deliveries.stop();
});

test("where a webhook is now everything is tried as often as anywhere", async () => {
  scene.status = 500;
  scene.onTry = () => {
    scene.onTry = () => undefined;
    scene.webhook = { ...scene.webhook, url: "https://two.example" };
    scene.deliveries.changed();
  };
  await scene.fail(1);
  expect([scene.delivered, scene.dead]).toEqual([["1", "1", "1"], 1]);
  await scene.deliveries.stop();
});

test("one that is turned off by itself keeps what was changed of it while it was asked", async () => {
  scene.status = 410;
  scene.onTry = () => (scene.webhook = { ...scene.webhook, secret: "another" });
  scene.write(1)();
  await turns();
  expect([scene.off.length, scene.webhook]).toEqual([
    1,
    expect.objectContaining({ enabled: false, secret: "another" }),
  ]);
  await scene.deliveries.stop();
});

test("what failed of one while somebody turned it off is forgotten when it is on again", async () => {
  scene.status = 500;
  scene.onTry = () => {
    scene.webhook = { ...scene.webhook, enabled: false };
    scene.deliveries.changed();
  };
  scene.write(1)();
  await turns();
  expect([scene.delivered, scene.deliveries.failingSince("whk_1")]).toEqual([["1"], null]);
  await scene.deliveries.stop();
});
