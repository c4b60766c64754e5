import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { AppendItem, StoreItem } from "../../src/core/operation.ts";
import type { Store } from "../../src/core/store.ts";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { Script, TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";
import type { Faults } from "../support/fault-store.ts";
import { withFaults } from "../support/fault-store.ts";

const TERMINAL = ["run.completed", "run.failed", "run.aborted", "run.interrupted"];
const SESSIONS = ["s1", "s2"] as const;

interface Scene extends TestEngine {
  readonly faults: Faults;
  /** Everything that was published, in order. */
  readonly published: FoldEvent[];
}

async function stage(
  script: Script = pieces(12),
  more: Parameters<typeof startEngine>[0] = {},
): Promise<Scene> {
  const limits = { ...DEFAULT_LIMITS, delta_window_ms: 0, storage_retry_min_ms: 1, storage_retry_max_ms: 4 };
  const { store, faults } = withFaults(createMemoryStore({ clock: systemClock, limits }));
  const engine = await startEngine({ store, script, ...more, limits: { ...limits, ...more.limits } });
  const published: FoldEvent[] = [];
  engine.engine.hub.addListener({
    publish(_topic, frame) {
      if (frame.seq !== null) published.push(JSON.parse(frame.text) as FoldEvent);
    },
  });
  const watcher = engine.connect();
  for (const session_id of SESSIONS) {
    await watcher.request("session.create", { session_id });
    await watcher.request("session.subscribe", { session_id });
  }
  return { ...engine, faults, published };
}

function pieces(count: number): Script {
  return async function* (_request, signal) {
    for (let i = 0; i < count && !signal.aborted; i++) {
      yield { type: "text", text: `t${i} ` };
      await new Promise((resolve) => setImmediate(resolve));
    }
    yield signal.aborted ? { type: "aborted" } : { type: "done", finish_reason: "stop" };
  };
}

/** Sends to both sessions and waits until every accepted run has ended; how the sends were answered. */
async function talk(scene: Scene): Promise<PromiseSettledResult<Record<string, unknown>>[]> {
  const socket = scene.connect();
  const sent = await Promise.allSettled(
    SESSIONS.map((session_id) =>
      socket.request("chat.send", { session_id, message: "hi", subscribe: false }),
    ),
  );
  await scene.engine.runs.settled();
  socket.close();
  return sent;
}

async function logOf(store: Store, session: string): Promise<FoldEvent[]> {
  const row = await store.named("owner", session);
  if (row === null || row === "gone") throw new Error(`no ${session}`);
  const events: FoldEvent[] = [];
  for (;;) {
    const page = await store.page(row.id, events.length, row.head);
    if (page === null || page.events.length === 0) break;
    for (const event of page.events) {
      const payload = JSON.parse(event.payload) as unknown;
      events.push({ ...event, event: event.type, session_id: session, epoch: page.epoch, payload });
    }
  }
  expect(events.map((event) => event.seq)).toEqual(Array.from({ length: row.head }, (_, i) => i + 1));
  return events;
}

/** What has to hold whatever went wrong. */
async function check(scene: Scene, sent: PromiseSettledResult<Record<string, unknown>>[]): Promise<void> {
  for (const [i, session] of SESSIONS.entries()) {
    const log = await logOf(scene.store, session);
    const bySeq = new Map(log.map((event) => [event.seq, event]));
    const mine = scene.published.filter((event) => event.session_id === session);
    expect(mine.map((event) => event.seq)).toEqual(mine.map((_, n) => (mine[0]?.seq ?? 0) + n));
    for (const event of mine) expect(bySeq.get(event.seq)?.payload).toEqual(event.payload);
    expect(mine.length).toBe(log.length - ((mine[0]?.seq ?? log.length + 1) - 1));
    const answer = sent[i];
    const ends = log.filter((event) => TERMINAL.includes(event.event));
    const starts = log.filter((event) => event.event === "run.queued");
    expect(ends.map((event) => event.run_id)).toEqual(starts.map((event) => event.run_id));
    if (answer?.status === "fulfilled") {
      expect(starts.map((event) => event.run_id)).toContain(answer.value["run_id"] as string);
      expect(log.at(-1)?.event).toBe(ends[0]?.event as string);
    } else expect(starts).toEqual([]);
    const transcript = emptyTranscript();
    for (const event of log) expect(applyEvent(transcript, event)).toBe("ok");
    expect(transcript.messages.filter((message) => message.status === "streaming")).toEqual([]);
  }
}

const GROUPS = 14;
for (const reason of ["full", "readonly", "busy", "nomem"] as const) {
  test(`each group in turn is refused (${reason}): commands are told, answers are held and then whole`, async () => {
    for (let nth = 1; nth <= GROUPS; nth++) {
      const scene = await stage();
      scene.faults.refuse(reason, nth);
      const sent = await talk(scene);
      await check(scene, sent);
      for (const answer of sent) {
        if (answer.status === "rejected")
          expect(answer.reason).toMatchObject({ reason: "UNAVAILABLE", retryable: true });
      }
      if (nth > 2) {
        const transcript = emptyTranscript();
        for (const event of await logOf(scene.store, "s1")) applyEvent(transcript, event);
        expect(transcript.messages[1]?.content).toBe(Array.from({ length: 12 }, (_, i) => `t${i} `).join(""));
      }
      expect(scene.fatal.error).toBeNull();
      await scene.close();
    }
  });
}

const isAppend = (item: StoreItem): item is AppendItem => item.kind === "append";

test("each operation of a run in turn fails alone: its run ends once, the other session does not notice", async () => {
  for (let nth = 1; nth <= 16; nth++) {
    const scene = await stage();
    let seen = 0;
    const target = (await scene.store.named("owner", "s1")) as { id: string };
    scene.faults.failItem((item) => isAppend(item) && item.session === target.id && ++seen === nth, {
      ok: false,
      reason: "full",
      what: "messages_per_session",
    });
    const sent = await talk(scene);
    await check(scene, sent);
    const other = await logOf(scene.store, "s2");
    expect(other.at(-1)?.event).toBe("run.completed");
    expect(scene.fatal.error).toBeNull();
    await scene.close();
  }
});

test("a group whose outcome is unknown ends everything, and nothing of it or after it is published", async () => {
  for (const applied of [false, true]) {
    for (let nth = 1; nth <= 8; nth++) {
      const scene = await stage();
      scene.faults.lose(nth, applied);
      const socket = scene.connect();
      for (const session_id of SESSIONS) {
        void socket
          .request("chat.send", { session_id, message: "hi", subscribe: false })
          .catch(() => undefined);
      }
      await until(() => scene.fatal.error !== null, "the journal gives up");
      const published = scene.published.length;
      const lost = scene.faults.groups.at(-1) ?? [];
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(scene.published.length).toBe(published);
      for (const item of lost) {
        if (!isAppend(item)) continue;
        for (const event of item.events) {
          expect(scene.published.map((each) => JSON.stringify(each.payload))).not.toContain(event.payload);
        }
      }
      // Neither acknowledged nor refused: nobody knows.
      if (nth === 1) expect(socket.frames().filter((frame) => frame.type === "res")).toEqual([]);
    }
  }
});

test("while storage refuses, commands are turned away at once, and a run holds what it may and then stops pulling", async () => {
  let pulled = 0;
  const scene = await stage(
    async function* (_request, signal) {
      while (!signal.aborted && pulled < 1_000) {
        pulled++;
        yield { type: "text", text: "x".repeat(1_000) };
      }
      yield signal.aborted ? { type: "aborted" } : { type: "done", finish_reason: "stop" };
    },
    { limits: { run_held_bytes: 20_000, assistant_bytes: 4_000_000 } },
  );
  const socket = scene.connect();
  await socket.request("chat.send", { session_id: "s1", message: "hi", subscribe: false });
  scene.faults.outage("full");
  await until(() => scene.engine.journal.refused !== null);
  await expect(socket.request("chat.send", { session_id: "s2", message: "no" })).rejects.toMatchObject({
    reason: "UNAVAILABLE",
    details: { kind: "storage" },
  });
  const held = pulled;
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(pulled - held).toBeLessThan(40);
  expect(scene.engine.status()).toBe("degraded");
  scene.faults.outage(null);
  await scene.engine.runs.settled();
  expect(pulled).toBe(1_000);
  const log = await logOf(scene.store, "s1");
  expect(log.at(-1)?.event).toBe("run.completed");
  await until(() => scene.engine.journal.refused === null);
  await socket.request("chat.send", { session_id: "s2", message: "yes", subscribe: false });
  await scene.engine.runs.settled();
  await scene.close();
});

test("storage that does not come back aborts the run upstream; the end it is owed is written first when it does", async () => {
  let aborted = false;
  const scene = await stage(
    async function* (_request, signal) {
      yield { type: "text", text: "so far" };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      aborted = true;
      yield { type: "aborted" };
    },
    { storage_stall_ms: 100 },
  );
  const socket = scene.connect();
  await socket.request("chat.send", { session_id: "s1", message: "hi", subscribe: false });
  await until(() => scene.published.some((event) => event.event === "message.delta"));
  scene.faults.outage("full");
  await socket
    .request("chat.inject", { session_id: "s2", role: "user", content: "x" })
    .catch(() => undefined);
  await until(() => aborted, "the run is aborted upstream");
  scene.faults.outage(null);
  await scene.engine.runs.settled();
  const log = await logOf(scene.store, "s1");
  expect(log.at(-1)).toMatchObject({ event: "run.failed" });
  expect(log.at(-2)).toMatchObject({
    event: "message.completed",
    payload: { message: { status: "partial", content: "so far" } },
  });
  await scene.close();
});
