import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import type { Message, Run } from "../../src/protocol/entities.ts";
import type { RunningGateway } from "../support/gateway-process.ts";
import { startGateway } from "../support/gateway-process.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { openEvents } from "../support/sse-client.ts";
import type { Transport, Watcher, WatcherOptions } from "../support/watcher.ts";
import { startWatcher } from "../support/watcher.ts";
import { openSocket } from "../support/ws-client.ts";
import type { Answered } from "./sender.ts";
import type { SessionLog } from "./direct.ts";
import { call, readLog, tokens } from "./direct.ts";
import { flood } from "./flood.ts";

const CHUNKS = 5_000;
const EVENTS = 100_000;
const FAR = 2_000;
const BOTH: readonly Transport[] = ["ws", "sse"];

let model: ModelServer;
let gateway: RunningGateway;

beforeAll(async () => {
  model = await startModelServer();
  gateway = await startGateway({
    config: {
      llm: {
        default_provider: "test",
        default_model: "test/model",
        providers: { test: { base_url: model.url() } },
      },
      // Every chunk is an event of its own, and what is needed is made as fast as it can be.
      limits: { delta_bytes: 1, mutations_per_second: 100_000, mutations_burst: 100_000 },
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  model.stop();
});

function watch(session_id: string, name: string, more: Partial<WatcherOptions>): Watcher {
  const { token } = gateway;
  return startWatcher({ name, session_id, token, route: () => gateway.url, stall_ms: 20_000, ...more });
}

async function ask(session_id: string, message: string): Promise<Answered> {
  return call<Answered>(gateway, "chat.send", { session_id, message });
}

/** Somebody joins without a cursor, over each transport, stays for some events and leaves; again and again. */
async function joinUntil(session_id: string, over: Promise<unknown>): Promise<Watcher[]> {
  const joiners: Watcher[] = [];
  let done = false;
  void over.finally(() => (done = true)).catch(() => undefined);
  const join = async (transport: Transport): Promise<void> => {
    while (!done) {
      const name = `joiner ${joiners.length} over ${transport}`;
      const joiner = watch(session_id, name, { transport: () => transport });
      joiners.push(joiner);
      await joiner.until(() => joiner.synced);
      const from = joiner.cursor?.seq ?? 0;
      while (!done && (joiner.cursor?.seq ?? 0) < from + 20) await Bun.sleep(1);
      await joiner.stop();
    }
  };
  await Promise.all(BOTH.map(join));
  const modes = joiners.flatMap(({ openings }) => openings.map(({ opening }) => opening.mode));
  expect(new Set(modes)).toEqual(new Set(["snapshot"]));
  expect(joiners.length).toBeGreaterThan(20);
  return joiners;
}

/** Everybody knows what the log says up to where they left. */
function checkJoiners(joiners: readonly Watcher[], { events, raw }: SessionLog): void {
  const transcript = emptyTranscript();
  let at = 0;
  for (const joiner of joiners.toSorted((a, b) => (a.cursor?.seq ?? 0) - (b.cursor?.seq ?? 0))) {
    for (; at < (joiner.cursor?.seq ?? 0); at++) applyEvent(transcript, events[at] as FoldEvent);
    const { name } = joiner;
    const { messages } = joiner.transcript;
    // A snapshot has the newest ones.
    expect(messages.length).toBeGreaterThanOrEqual(Math.min(200, transcript.messages.length));
    const newest = transcript.messages.slice(transcript.messages.length - messages.length);
    expect({ name, messages }).toEqual({ name, messages: newest });
    expect({ name, session: joiner.transcript.session }).toEqual({ name, session: transcript.session });
    for (const [where, text] of joiner.seen) expect(text).toBe(raw.get(where) ?? "");
  }
}

test(
  `an answer of ${CHUNKS} chunks, with somebody joining all the time, and the request after it`,
  async () => {
    const session_id = "long";
    await call(gateway, "session.create", { session_id });
    model.reply().tokens(CHUNKS, { everyMs: 1 });
    const followers = BOTH.map((transport) =>
      watch(session_id, `follower over ${transport}`, { transport: () => transport }),
    );
    await Promise.all(followers.map((follower) => follower.reached(1)));
    const { run_id } = await ask(session_id, "say very much");

    const run = call<Run>(gateway, "run.wait", { run_id, timeout_ms: 60_000 });
    const joiners = await joinUntil(session_id, run);
    expect((await run).status).toBe("completed");

    model.reply().tokens(20);
    const second = await ask(session_id, "and now less");
    expect((await call<Run>(gateway, "run.wait", { run_id: second.run_id })).status).toBe("completed");
    const shown = model.requests.at(-1)?.body.messages.map(({ content }: { content: string }) => content);
    expect(shown).toEqual(["say very much", tokens(CHUNKS), "and now less"]);

    const log = await readLog(gateway, session_id);
    expect(log.events.filter(({ event }) => event === "message.delta").length).toBeGreaterThanOrEqual(CHUNKS);
    const answers = log.transcript.messages.filter(({ role }) => role === "assistant");
    expect(answers.map(({ content, status }) => [content, status])).toEqual([
      [tokens(CHUNKS), "complete"],
      [tokens(20), "complete"],
    ]);
    for (const follower of followers) {
      await follower.reached(log.head);
      expect(follower.ends).toEqual([]);
      expect(follower.transcript.messages).toEqual(log.transcript.messages);
      for (const [at, raw] of follower.seen) expect(raw).toBe(log.raw.get(at) ?? "");
      await follower.stop();
    }
    checkJoiners(joiners, log);
  },
  { timeout: 120_000 },
);

test(
  "hundreds of short answers, with somebody joining all the time",
  async () => {
    const session_id = "short";
    await call(gateway, "session.create", { session_id });
    const asking = (async () => {
      for (let i = 0; i < 300; i++) {
        model.reply().tokens(3);
        const { run_id } = await ask(session_id, `number ${i}`);
        // Two are on their way at a time.
        if (i % 2 === 1) await call<Run>(gateway, "run.wait", { run_id });
      }
    })();
    const joiners = await joinUntil(session_id, asking);
    await asking;
    checkJoiners(joiners, await readLog(gateway, session_id));
  },
  { timeout: 60_000 },
);

test(
  `a session of ${EVENTS} events: joining late, and resuming from near, far and the beginning`,
  async () => {
    const session_id = "deep";
    await call(gateway, "session.create", { session_id });
    const began = performance.now();
    const filling = flood(gateway, EVENTS - 1, (i) =>
      i % 400 === 0
        ? { method: "chat.inject", params: { session_id, role: "user", content: `message ${i}` } }
        : { method: "event.send", params: { session_id, event: "app.tick", payload: { i }, durable: true } },
    );
    const joiners = await joinUntil(session_id, filling);
    await filling;
    const filled = performance.now();
    const { head, epoch } = await call<{ head: number; epoch: string }>(gateway, "session.get", {
      session_id,
    });
    expect(head).toBe(EVENTS);

    await joinLate(session_id, head);
    const joined = performance.now();
    await resumeFromThree(session_id, epoch, head);
    const resumed = performance.now();
    const log = await readLog(gateway, session_id);
    checkJoiners(joiners, log);
    await readHistory(session_id, log);
    console.log(
      `${EVENTS} events in ${Math.round(filled - began)} ms; two late joins in ${Math.round(joined - filled)} ms; ` +
        `resumes, three of the whole log among them, in ${Math.round(resumed - joined)} ms`,
    );
  },
  { timeout: 180_000 },
);

/** Without a cursor: a snapshot at the head, the same on both transports to the byte. */
async function joinLate(session_id: string, head: number): Promise<void> {
  const authorization = `Bearer ${gateway.token}`;
  await using socket = await openSocket(gateway.ws_url, { headers: { authorization } });
  const answer = await socket.request("session.subscribe", { session_id });
  expect([answer.mode, answer.reason, answer.head]).toEqual(["snapshot", undefined, head]);
  // The text that was made for somebody before serves as long as what follows it fits in a page.
  expect(answer.from).toBeWithin(head - 512, head + 1);
  expect(answer.snapshot.messages.length).toBe(200);
  expect(answer.snapshot.has_more).toBe(true);
  expect(answer.snapshot.session.head).toBe(answer.from);
  const stream = await openEvents(`${gateway.url}/api/v1/sessions/${session_id}/events`, {
    headers: { authorization },
  });
  const opening = await stream.next();
  stream.close();
  expect([opening.event, opening.id]).toEqual(["session.snapshot", `${answer.epoch}.${answer.from}`]);
  const frame = socket.frames.find(({ json }) => json.type === "res" && json.payload.mode === "snapshot");
  expect(snapshotText(opening.data)).toBe(snapshotText(frame?.raw ?? ""));
}

/** Both frames end with the snapshot and the same brackets. */
function snapshotText(raw: string): string {
  return raw.slice(raw.indexOf('"snapshot":'));
}

async function resumeFromThree(session_id: string, epoch: string, head: number): Promise<void> {
  const readers: {
    readonly watcher: Watcher;
    readonly from: number;
    readonly mode: string;
    readonly reason: string;
  }[] = [];
  for (const transport of BOTH) {
    const from = (after: number, catch_up: "auto" | "log", mode: string, reason = ""): void => {
      const name = `${transport} from ${after}, ${catch_up}`;
      const more = { transport: () => transport, start: { epoch, seq: after }, catch_up };
      readers.push({ watcher: watch(session_id, name, more), from: after, mode, reason });
    };
    from(head, "auto", "resume");
    from(head - 10, "auto", "resume");
    from(head - FAR, "auto", "resume");
    from(head - FAR - 1, "auto", "snapshot", "far");
    from(head / 2, "auto", "snapshot", "far");
    from(head / 2, "log", "resume");
    from(0, "log", "resume");
  }
  const reference = await readLog(gateway, session_id);
  // While they catch up it goes on.
  await flood(
    gateway,
    100,
    (i) => ({
      method: "event.send",
      params: { session_id, event: "app.late", payload: { i }, durable: true },
    }),
    1,
  );
  const last = await readLog(gateway, session_id, { epoch, seq: head });
  expect(last.head).toBe(head + 100);
  const raw = new Map([...reference.raw, ...last.raw]);
  expect(raw.size).toBe(last.head);
  for (const { watcher, from, mode, reason } of readers) {
    const { name } = watcher;
    await watcher.reached(last.head, 60_000);
    expect({ name, ends: watcher.ends }).toEqual({ name, ends: [] });
    expect(watcher.openings.length).toBe(1);
    const opening = watcher.openings[0]?.opening;
    expect([name, opening?.mode, opening?.reason ?? ""]).toEqual([name, mode, reason]);
    const first = mode === "resume" ? from : (opening?.from ?? 0);
    expect({ name, events: watcher.seen.size }).toEqual({ name, events: last.head - first });
    for (const [at, text] of watcher.seen) {
      if (raw.get(at) !== text) throw new Error(`${name}: ${at} is ${text}, not ${raw.get(at) ?? "there"}`);
    }
    await watcher.stop();
  }
}

/** The history, page by page from its end, is the messages of the log. */
async function readHistory(session_id: string, { transcript }: SessionLog): Promise<void> {
  interface Page {
    readonly messages: Message[];
    readonly total: number;
    readonly has_more: boolean;
  }
  let messages: Message[] = [];
  for (;;) {
    const [first] = messages;
    const before = first === undefined ? {} : { before: first.message_id };
    const page = await call<Page>(gateway, "chat.history", { session_id, limit: 100, ...before });
    messages = [...page.messages, ...messages];
    expect(page.total).toBe(transcript.messages.length);
    if (!page.has_more) break;
  }
  expect(messages).toEqual(transcript.messages);
}
