import { expect, test } from "bun:test";
import fc from "fast-check";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Store } from "../../src/core/store.ts";
import type { FoldEvent, Transcript } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript, fromSnapshot } from "../../src/core/transcript.ts";
import type { Snapshot } from "../../src/protocol/entities.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import type { FakeConnection, ReceivedFrame, TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

/** A client as protocol.md describes it: a cursor, a fold, and it subscribes again whenever it is told or sees a gap. */
class Client {
  transcript: Transcript = emptyTranscript();
  epoch: string | null = null;
  seq = 0;
  synced = false;
  connection: FakeConnection | null = null;
  opening: Promise<void> | null = null;
  #read = 0;

  readonly name: string;
  readonly connect: () => FakeConnection;
  readonly session_id: string;

  constructor(name: string, session_id: string, connect: () => FakeConnection) {
    this.name = name;
    this.session_id = session_id;
    this.connect = connect;
  }

  drop(): void {
    this.connection?.close();
    this.connection = null;
    this.synced = false;
  }

  /** Subscribes while everything else goes on; one at a time. */
  subscribe(from: "cursor" | "start" | "nothing"): void {
    if (this.opening !== null) return;
    this.opening = this.#subscribe(from).finally(() => (this.opening = null));
  }

  async #subscribe(from: "cursor" | "start" | "nothing"): Promise<void> {
    this.connection ??= this.connect();
    this.#read = this.connection.sent.length;
    const connection = this.connection;
    const cursor =
      from === "cursor" && this.epoch !== null
        ? { epoch: this.epoch, after: this.seq }
        : from === "start"
          ? { after: 0 }
          : {};
    if (from === "start") this.transcript = emptyTranscript();
    this.synced = false;
    const params = { session_id: this.session_id, ...cursor };
    const opening = await connection.request<Opening>("session.subscribe", params);
    // Events of the session that came between the request and its answer belong to the old subscription.
    const at = connection.sent.findIndex((text, i) => i >= this.#read && text.includes('"mode":"'));
    this.#read = at + 1;
    if (opening.snapshot !== undefined) this.transcript = fromSnapshot(opening.snapshot);
    this.epoch = opening.epoch;
    this.seq = opening.from;
  }

  /** Folds what came; whether it has to subscribe again. */
  read(): boolean {
    const { connection } = this;
    if (connection === null || this.opening !== null) return false;
    let again = false;
    for (const text of connection.sent.slice(this.#read)) {
      const frame = JSON.parse(text) as ReceivedFrame;
      if (frame.event === "session.unsubscribed") again = true;
      if (frame.event === "session.synced") this.synced = true;
      if (frame.seq === undefined) continue;
      expect(frame.epoch).toBe(this.epoch ?? "");
      // Never lost, doubled or out of order: the next one is the next one.
      expect(`${this.name}: ${frame.seq}`).toBe(`${this.name}: ${this.seq + 1}`);
      expect(applyEvent(this.transcript, frame as FoldEvent)).toBe("ok");
      this.seq = frame.seq;
    }
    this.#read = connection.sent.length;
    return again;
  }
}

interface Opening {
  readonly mode: string;
  readonly epoch: string;
  readonly from: number;
  readonly snapshot?: Snapshot;
}

type Step =
  | { readonly do: "send"; readonly pieces: number; readonly wait: boolean }
  | { readonly do: "inject" | "retitle" | "trim" | "shed" | "pause" }
  | { readonly do: "drop" | "resume" | "fresh" | "start" | "stall" | "drain"; readonly reader: number };

const READERS = 4;
const reader = fc.nat({ max: READERS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("send" as const),
      pieces: fc.integer({ min: 0, max: 40 }),
      wait: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("inject", "retitle", "trim", "shed", "pause") }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom("drop", "resume", "fresh", "start", "stall", "drain"),
      reader,
    }),
  },
);

/** A store whose reads come late: what they tell is old when it arrives. */
function lateReads(store: Store, turns: readonly number[]): Store {
  let next = 0;
  const late = async <T>(read: Promise<T>): Promise<T> => {
    const result = await read;
    for (let i = turns[next++ % turns.length] ?? 0; i > 0; i--)
      await new Promise((resolve) => setImmediate(resolve));
    return result;
  };
  return {
    ...store,
    page: (...args) => late(store.page(...args)),
    snapshot: (...args) => late(store.snapshot(...args)),
    session: (...args) => late(store.session(...args)),
    commit: (...args) => late(store.commit(...args)),
  };
}

async function play(steps: readonly Step[], turns: readonly number[]): Promise<void> {
  let pieces = 0;
  const bounds = {
    page_events: 5,
    tail_events: 12,
    far_events: 60,
    delta_window_ms: 0,
    catch_up_buffer_bytes: 1_000,
  };
  const limits = { ...DEFAULT_LIMITS, ...bounds, maintenance_rows: 7 };
  const setup: TestEngine = await startEngine({
    // Small bounds, so that every path is met: pages, trims between them, far cursors, tails that do not reach back.
    limits,
    store: lateReads(createMemoryStore({ clock: systemClock, limits }), turns),
    script: async function* (_request, signal) {
      for (let i = 0; i < pieces && !signal.aborted; i++) {
        yield { type: i % 9 === 8 ? "reasoning" : "text", text: `t${i}😀 ` };
        await new Promise((resolve) => setImmediate(resolve));
      }
      yield { type: "done", finish_reason: "stop" };
    },
  });
  const { engine } = setup;
  const log: FoldEvent[] = [];
  engine.hub.addListener({
    publish(topic, frame) {
      if (topic.startsWith("o:") && frame.seq !== null) log.push(JSON.parse(frame.text) as FoldEvent);
    },
  });
  const owner = setup.connect("ann");
  await owner.request("session.create", { session_id: "s" });
  await owner.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  const bob = setup.connect("bob");
  const shared = await bob.request<{ sessions: { session_id: string }[] }>("session.list");
  const shareId = shared.sessions[0]?.session_id ?? "";
  await owner.request("session.subscribe", { session_id: "s", after: 0 });
  // The first event was published before anybody followed.
  const first = owner.events()[0];
  if (first !== undefined) log.unshift(first as FoldEvent);
  const clients = Array.from({ length: READERS }, (_, i) => {
    const user = i % 2 === 0 ? "ann" : "bob";
    return new Client(`${user}${i}`, i % 2 === 0 ? "s" : shareId, () => setup.connect(user));
  });

  for (const each of steps) {
    switch (each.do) {
      case "send":
        pieces = each.pieces;
        await owner
          .request("chat.send", { session_id: "s", message: `say ${each.pieces}`, subscribe: false })
          .catch(busy);
        if (each.wait) await engine.runs.settled();
        break;
      case "inject":
        await owner.request("chat.inject", { session_id: "s", role: "user", content: "by the way" });
        break;
      case "retitle":
        await owner.request("session.update", { session_id: "s", title: `title ${log.length}` });
        break;
      case "trim": {
        const id = [...owner.subscriptions.keys()][0] ?? "";
        await engine.journal.run({ kind: "trim", session: id, before: Date.now() + 1, max_rows: 7 });
        break;
      }
      case "shed":
        engine.journal.tails.peek([...owner.subscriptions.keys()][0] ?? "")?.shrink(0, 0);
        break;
      case "pause":
        await new Promise((resolve) => setImmediate(resolve));
        break;
      default:
        act(clients[each.reader], each.do);
    }
    for (const client of clients) if (client.read()) client.subscribe("cursor");
  }

  await engine.runs.settled();
  for (const client of clients) {
    client.connection?.drain();
    await client.opening;
    if (client.connection === null) client.subscribe(client.epoch === null ? "nothing" : "cursor");
  }
  const head = log.at(-1)?.seq ?? 0;
  for (const client of clients) {
    await until(() => {
      client.connection?.drain();
      if (client.read()) client.subscribe("cursor");
      return client.seq === head && client.opening === null;
    }, `${client.name} at ${head}`);
  }
  compare(log, clients, shareId);
  await setup.close();
  expect(setup.fatal.error).toBeNull();
}

function busy(error: { reason: string }): void {
  expect(error.reason).toBe("CONFLICT");
}

function act(
  client: Client | undefined,
  what: "drop" | "resume" | "fresh" | "start" | "stall" | "drain",
): void {
  if (client === undefined || client.opening !== null) return;
  switch (what) {
    case "drop":
      client.read();
      return client.drop();
    case "resume":
      if (client.read() || client.connection === null || !client.synced) return client.subscribe("cursor");
      return;
    case "fresh":
      return client.subscribe("nothing");
    case "start":
      return client.subscribe("start");
    case "stall":
      if (client.connection !== null) client.connection.pending = 1_000_000;
      return;
    case "drain":
      return client.connection?.drain();
  }
}

function compare(log: readonly FoldEvent[], clients: readonly Client[], shareId: string): void {
  const reference = emptyTranscript();
  expect(log.map((event) => event.seq)).toEqual(log.map((_, i) => i + 1));
  for (const event of log) {
    applyEvent(reference, event);
    if (event.event !== "message.completed") continue;
    const { message, sha256, length } = event.payload as {
      message: { content: string };
      sha256: string;
      length: number;
    };
    expect(new Bun.CryptoHasher("sha256").update(message.content).digest("hex")).toBe(sha256);
    expect(message.content.length).toBe(length);
  }
  for (const client of clients) {
    const named = JSON.parse(JSON.stringify(client.transcript).replaceAll(shareId, "s")) as Transcript;
    expect(named.messages).toEqual(reference.messages);
    expect(named.session).toEqual(reference.session);
    for (const run of named.runs) {
      expect(run).toEqual(reference.runs.find((each) => each.run_id === run.run_id) as typeof run);
    }
  }
}

const turns = fc.array(fc.nat({ max: 6 }), { minLength: 1, maxLength: 12 });
const runs = Number(Bun.env["AGENTBUS_TEST_CASES"] ?? 200);
test(
  "any schedule of writes, drops, resumes, slow readers, snapshots and trims folds to the log",
  async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), turns, play), {
      numRuns: runs,
    });
  },
  { timeout: 300_000 },
);
