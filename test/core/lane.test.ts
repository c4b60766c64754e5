import { expect, test } from "bun:test";
import type { LaneRun } from "../../src/core/lane.ts";
import { Lanes } from "../../src/core/lane.ts";

class FakeRun implements LaneRun {
  readonly run_id: string;
  readonly ended: Promise<void>;
  isEnded = false;
  isStarted = false;
  interrupted = false;
  #resolve: () => void = () => undefined;

  constructor(run_id: string) {
    this.run_id = run_id;
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
  }
  start(): void {
    this.isStarted = true;
  }
  interrupt(): void {
    this.interrupted = true;
  }
  async end(): Promise<void> {
    this.isEnded = true;
    this.#resolve();
    // What waits for the end runs in microtasks.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("one run at a time, the others in the order they were reserved, whatever order they commit in", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [a, b, c] = ["a", "b", "c"].map((id) => new FakeRun(id)) as [FakeRun, FakeRun, FakeRun];
  const places = [a, b, c].map(() => lanes.reserve("s", "queue"));
  expect(places.map((place) => place.status)).toEqual(["started", "queued", "queued"]);
  places[2]?.commit(c);
  expect(c.isStarted).toBe(false);
  places[0]?.commit(a);
  places[1]?.commit(b);
  expect([a.isStarted, b.isStarted, c.isStarted]).toEqual([true, false, false]);
  await a.end();
  expect([b.isStarted, c.isStarted]).toEqual([true, false]);
  await b.end();
  expect(c.isStarted).toBe(true);
  await c.end();
  expect(lanes.reserve("s", "reject").status).toBe("started");
});

test("a place that is given back lets the next one go", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const first = lanes.reserve("s", "queue");
  const second = lanes.reserve("s", "queue");
  const run = new FakeRun("b");
  second.commit(run);
  expect(run.isStarted).toBe(false);
  first.release();
  expect(run.isStarted).toBe(true);
});

test("reject refuses while the lane is busy, and a bound holds", () => {
  const lanes = new Lanes({ running: 10, queued: 2 });
  const a = new FakeRun("a");
  lanes.reserve("s", "queue").commit(a);
  expect(() => lanes.reserve("s", "reject")).toThrow(
    expect.objectContaining({ reason: "CONFLICT", retryable: true, details: { kind: "busy", run_id: "a" } }),
  );
  lanes.reserve("s", "queue");
  lanes.reserve("s", "queue");
  expect(() => lanes.reserve("s", "queue")).toThrow(
    expect.objectContaining({
      reason: "CONFLICT",
      retryable: false,
      details: { kind: "full", what: "queued_runs", limit: 2 },
    }),
  );
  expect(lanes.reserve("other", "reject").status).toBe("started");
});

test("interrupt goes before those that wait and stops the active run once it is committed", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [active, waiting, urgent] = ["a", "w", "u"].map((id) => new FakeRun(id)) as [
    FakeRun,
    FakeRun,
    FakeRun,
  ];
  lanes.reserve("s", "queue").commit(active);
  lanes.reserve("s", "queue").commit(waiting);
  const place = lanes.reserve("s", "interrupt");
  expect(active.interrupted).toBe(false);
  place.commit(urgent);
  expect(active.interrupted).toBe(true);
  await active.end();
  expect([urgent.isStarted, waiting.isStarted]).toEqual([true, false]);
  await urgent.end();
  expect(waiting.isStarted).toBe(true);
});

test("the bound over all sessions holds, and a run that ended while it waited takes no place", async () => {
  const lanes = new Lanes({ running: 1, queued: 16 });
  const [a, b, c] = ["a", "b", "c"].map((id) => new FakeRun(id)) as [FakeRun, FakeRun, FakeRun];
  lanes.reserve("1", "queue").commit(a);
  lanes.reserve("2", "queue").commit(b);
  lanes.reserve("3", "queue").commit(c);
  expect([lanes.running, lanes.queued]).toEqual([1, 2]);
  await b.end();
  expect(lanes.queued).toBe(1);
  await a.end();
  expect(c.isStarted).toBe(true);
  await c.end();
  expect([lanes.running, lanes.queued]).toEqual([0, 0]);
});

test("a queued run that is aborted leaves the lane before its turn", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [a, b, c] = ["a", "b", "c"].map((id) => new FakeRun(id)) as [FakeRun, FakeRun, FakeRun];
  for (const run of [a, b, c]) lanes.reserve("s", "queue").commit(run);
  await b.end();
  expect(lanes.of("s").map((run) => run.run_id)).toEqual(["a", "c"]);
  await a.end();
  expect(c.isStarted).toBe(true);
});

test("giving a place back twice takes nothing from whoever came since", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const first = lanes.reserve("s", "queue");
  first.release();
  const run = new FakeRun("a");
  const second = lanes.reserve("s", "queue");
  second.commit(run);
  first.release();
  expect(lanes.activeOf("s")).toBe(run);
  expect(lanes.reserve("s", "queue").status).toBe("queued");
});

test("reserved() waits for the places that are taken now, whether they are committed or given back", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [a, b] = [lanes.reserve("s", "queue"), lanes.reserve("s", "queue")];
  let isSettled = false;
  const settled = lanes.reserved("s").then(() => (isSettled = true));
  a.commit(new FakeRun("a"));
  lanes.reserve("s", "queue");
  await new Promise((resolve) => setImmediate(resolve));
  expect(isSettled).toBe(false);
  b.release();
  await settled;
  await lanes.reserved("nothing");
});

test("a closed session takes no run until everybody who closed it opened it again", () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [one, two] = [lanes.close("s"), lanes.close("s")];
  one();
  expect(() => lanes.reserve("s", "queue")).toThrow("is being deleted");
  expect(lanes.reserve("other", "queue").status).toBe("started");
  two();
  expect(lanes.reserve("s", "queue").status).toBe("started");
});

test("of several that interrupt only the newest one is answered", async () => {
  const lanes = new Lanes({ running: 10, queued: 16 });
  const [active, first, second] = ["a", "1", "2"].map((id) => new FakeRun(id)) as [FakeRun, FakeRun, FakeRun];
  lanes.reserve("s", "queue").commit(active);
  lanes.reserve("s", "interrupt").commit(first);
  lanes.reserve("s", "interrupt").commit(second);
  expect([active.interrupted, first.interrupted, second.interrupted]).toEqual([true, true, false]);
  await first.end();
  await active.end();
  expect([first.isStarted, second.isStarted]).toEqual([false, true]);
});
