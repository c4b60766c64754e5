import { expect, test } from "bun:test";
import { NotSent } from "../../src/tool/mcp-link.ts";
import type { Session, SessionEvents } from "../../src/tool/mcp-server.ts";
import { McpServer } from "../../src/tool/mcp-server.ts";
import type { ManualClock } from "../support/clock.ts";
import { manualClock } from "../support/clock.ts";
import { silentLog } from "../support/engine.ts";

type Made = SessionEvents & { calls: number; isClosed: boolean };

interface Scene {
  readonly server: McpServer;
  readonly clock: ManualClock;
  /** Sessions so far, the last is the one that is used. */
  readonly made: Made[];
  lists: number;
  /** How the next sessions behave. */
  does: {
    open?: () => Promise<void>;
    list?: () => unknown[];
    call?: () => Promise<unknown>;
    hasId?: boolean;
  };
}

const tool = (name: string) => ({ name, inputSchema: { type: "object" } });

function start(does: Scene["does"] = {}, random = 1): Scene {
  const clock = manualClock();
  const scene: Scene = { server: null as never, clock, made: [], lists: 0, does };
  const connect = async (events: SessionEvents): Promise<Session> => {
    const made: Made = { ...events, calls: 0, isClosed: false };
    scene.made.push(made);
    return {
      trouble: null,
      hasId: scene.does.hasId ?? false,
      open: async () => scene.does.open?.(),
      list: async () => {
        scene.lists++;
        return scene.does.list?.() ?? [tool("go")];
      },
      call: async () => {
        made.calls++;
        return scene.does.call?.() ?? { content: [{ type: "text", text: "done" }] };
      },
      retire: () => void (made.isClosed = true),
      close: async () => void (made.isClosed = true),
      kill: () => undefined,
    };
  };
  const server = new McpServer({
    name: "s",
    connect,
    mask: (text) => text,
    clock,
    log: silentLog,
    random: () => random,
  });
  Object.assign(scene, { server });
  server.start();
  return scene;
}

/** Lets everything that waits for nothing but its turn happen. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const run = ({ server }: Scene, signal = new AbortController().signal) => {
  const [go] = server.tools();
  if (go === undefined) throw new Error("no tool is listed");
  const outcome = go.run({}, { signal, session_id: "s", run_id: "r" });
  return outcome.catch((error: Error) => error.message);
};

test("attempts come further and further apart, spread, a minute at most", async () => {
  const refuses = async (): Promise<void> => {
    throw new Error("not today");
  };
  for (const [random, share] of [
    [1, 1],
    [0, 0.5],
  ] as const) {
    const scene = start({ open: refuses }, random);
    await settle();
    for (const delay of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      const before = scene.made.length;
      scene.clock.advance(delay * share - 1);
      await settle();
      expect(scene.made).toHaveLength(before);
      scene.clock.advance(1);
      await settle();
      expect(scene.made).toHaveLength(before + 1);
    }
    expect(scene.server.state()).toEqual({ name: "s", state: "failed", tools: 0, reason: "not today" });
    expect(scene.made.slice(0, -1).every(({ isClosed }) => isClosed)).toBe(true);
  }
});

test("one that goes after a while is taken up at once, one that comes and goes is not", async () => {
  const scene = start();
  await settle();
  scene.clock.advance(31_000);
  for (const delay of [0, 1_000, 2_000]) {
    scene.made.at(-1)?.ended();
    expect(scene.server.state()).toMatchObject({ state: "connecting", tools: 1 });
    scene.clock.advance(delay);
    await settle();
    expect(scene.server.state()).toMatchObject({ state: "ready" });
  }
  expect(scene.made).toHaveLength(4);
});

test("tools stay listed while it is taken up again, and calls wait; once that failed there are none", async () => {
  const scene = start();
  await settle();
  const gate = Promise.withResolvers<void>();
  scene.does = { open: () => gate.promise };
  scene.made.at(-1)?.ended();
  scene.clock.advance(0);
  const waiting = run(scene);
  await settle();
  gate.resolve();
  expect(await waiting).toBe("done");
  scene.does = { open: () => Promise.reject(new Error("gone for good")) };
  scene.clock.advance(60_000);
  scene.made.at(-1)?.ended();
  const lost = run(scene);
  scene.clock.advance(0);
  expect(await lost).toBe("the tool server s is failed: gone for good; the tool was not called");
  expect(scene.server.tools()).toEqual([]);
});

test("a call that waits for a server that does not come back is over after ten seconds, or when it is given up", async () => {
  const scene = start();
  await settle();
  scene.does = { open: () => new Promise(() => undefined) };
  scene.made.at(-1)?.ended();
  scene.clock.advance(0);
  const stop = new AbortController();
  const [late, given_up] = [run(scene), run(scene, stop.signal)];
  stop.abort();
  expect(await given_up).toContain("the tool was not called");
  scene.clock.advance(10_000);
  expect(await late).toContain("the tool was not called");
});

test("a call is made again once, and only where it cannot have run", async () => {
  const status = (code: number) => Object.assign(new Error("http"), { status: code });
  const rejects = (error: Error) => ({ call: () => Promise.reject(error) });
  const cases: [Scene["does"], number, string][] = [
    [{ ...rejects(status(404)), hasId: true }, 2, "the tool was not called"],
    [{ ...rejects(status(404)), hasId: false }, 1, "the tool was not called"],
    [rejects(new NotSent("it cannot be reached")), 2, "it cannot be reached; the tool was not called"],
    [
      rejects(status(401)),
      1,
      "it refuses the credentials (HTTP 401): check its headers; the tool was not called",
    ],
    [rejects(status(503)), 1, "it answers HTTP 503; whether the call had an effect is unknown"],
    [rejects(new TypeError("reset")), 1, "reset; whether the call had an effect is unknown"],
    [rejects(Object.assign(new Error("bad arguments"), { code: -32_602 })), 1, "bad arguments"],
  ];
  for (const [does, times, told] of cases) {
    const scene = start(does);
    await settle();
    scene.clock.advance(31_000);
    const call = run(scene);
    await settle();
    scene.clock.advance(0);
    await settle();
    expect(await call).toContain(told);
    expect(scene.made.reduce((sum, { calls }) => sum + calls, 0)).toBe(times);
  }
});

test("a list that changes again and again is asked for once a second, and the last change is seen", async () => {
  const scene = start();
  await settle();
  expect(scene.lists).toBe(1);
  for (let n = 0; n < 1_000; n++) scene.made.at(-1)?.changed();
  scene.clock.advance(999);
  await settle();
  expect(scene.lists).toBe(1);
  scene.does.list = () => [tool("go"), tool("stay")];
  scene.clock.advance(1);
  await settle();
  expect(scene.lists).toBe(2);
  expect(scene.server.tools().map(({ name }) => name)).toEqual(["s.go", "s.stay"]);
  scene.does.list = () => {
    throw new Error("not now");
  };
  scene.made.at(-1)?.changed();
  scene.clock.advance(1_000);
  await settle();
  expect(scene.server.state()).toEqual({ name: "s", state: "ready", tools: 2 });
  scene.does.list = () => [];
  scene.made.at(-1)?.changed();
  scene.clock.advance(1_000);
  await settle();
  expect(scene.server.state()).toEqual({ name: "s", state: "ready", tools: 0 });
});

test("a stop while it is being taken up leaves nothing waiting", async () => {
  const scene = start({ open: () => new Promise(() => undefined) });
  await settle();
  await scene.server.stop();
  expect(scene.server.state()).toEqual({ name: "s", state: "stopped", tools: 0 });
  expect(scene.made[0]?.isClosed).toBe(true);
  scene.clock.advance(600_000);
  await settle();
  expect(scene.made).toHaveLength(1);
});
