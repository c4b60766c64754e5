import { beforeEach, expect, test } from "bun:test";
import { Scene, turns } from "./automation-deliveries.fixture.ts";

/** What is delivered while the store does not answer, or has not got yet what it will. */

let scene: Scene;
beforeEach(async () => {
  scene = await new Scene().start();
});

test("a store that does not answer is asked again after a while, and not all the time", async () => {
  scene.isDown = true;
  scene.write(1)();
  await turns();
  expect([scene.reads, scene.delivered]).toEqual([1, []]);
  scene.clock.advance(2_000);
  await turns();
  expect([scene.reads, scene.delivered]).toEqual([2, []]);
  scene.isDown = false;
  scene.clock.advance(2_000);
  await turns();
  expect(scene.delivered).toEqual(["1"]);
  await scene.deliveries.stop();
});

test("webhooks of people who may not read a session cost no look at the store", async () => {
  scene.strangers = Array.from({ length: 50 }, (_, i) => ({
    ...scene.webhook,
    id: `whk_of_${i}`,
    owner: `user${i}`,
  }));
  scene.deliveries.changed();
  for (const seq of [1, 2]) scene.write(seq)();
  await turns();
  scene.clock.advance(1_000);
  await turns();
  expect([scene.delivered, scene.owed.size]).toEqual([["1", "2"], 0]);
  expect(scene.reads).toBeLessThan(10);
  await scene.deliveries.stop();
});

test("what the last process left is read again where the store did not answer first", async () => {
  scene.isDown = true;
  scene.head = 2;
  scene.owed.load([scene.rowOf({ whk_1: 1 })]);
  scene.deliveries.changed();
  await turns();
  scene.isDown = false;
  scene.clock.advance(2_000);
  await turns();
  expect(scene.delivered).toEqual(["2"]);
  await scene.deliveries.stop();
});

test("a webhook that changes while a session is being made misses nothing of it", async () => {
  const commit = scene.write(1);
  scene.deliveries.changed();
  await turns();
  commit();
  await turns();
  expect(scene.delivered).toEqual(["1"]);
  await scene.deliveries.stop();
});

test("what was appended since the row was dropped is delivered once, also where the drop is heard of only then", async () => {
  scene.write(1)();
  await turns();
  scene.onTry = async () => {
    scene.onTry = () => undefined;
    await scene.reread(null);
    // It stands there anew, for the second event.
    await scene.reread(scene.rowOf({}));
  };
  scene.write(2)();
  await turns();
  expect(scene.delivered).toEqual(["1", "2"]);
  await scene.deliveries.stop();
});

test("what another node owes is delivered, also where its log was heard of before it was known to be owed", async () => {
  scene.head = 1;
  scene.owed.grown(scene.rowOf({}).id);
  await scene.reread(scene.rowOf({}));
  await turns();
  expect(scene.delivered).toEqual(["1"]);
  await scene.deliveries.stop();
});

test("what another node appended is delivered, also where this one heard of it only after its own", async () => {
  scene.write(2)();
  await turns();
  expect(scene.delivered).toEqual(["2"]);
  await scene.reread(scene.rowOf({}, scene.clock.now() - 1));
  await turns();
  expect(scene.delivered).toEqual(["2", "1", "2"]);
  scene.onTry = async () => {
    scene.onTry = () => undefined;
    await scene.reread(scene.rowOf({}, scene.clock.now() - 2));
  };
  scene.write(3)();
  await turns();
  expect(scene.delivered.slice(3)).toEqual(["3", "1", "2", "3"]);
  await scene.deliveries.stop();
});
