import { afterEach, expect, test } from "bun:test";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript, fromSnapshot } from "../../src/core/transcript.ts";
import type { Snapshot } from "../../src/protocol/entities.ts";
import type { TestEngine } from "../support/engine.ts";
import { says, startEngine, until } from "../support/engine.ts";

let running: TestEngine | null = null;
async function start(...options: Parameters<typeof startEngine>): Promise<TestEngine> {
  running = await startEngine(...options);
  return running;
}
afterEach(async () => {
  expect(running?.fatal.error ?? null).toBeNull();
  await running?.close();
  running = null;
});

const TURN = [
  "session.created",
  "message.created",
  "run.queued",
  "run.started",
  "message.started",
  "message.delta",
  "message.completed",
  "run.completed",
];

test("the sender reads its answer first, then every event once and in order", async () => {
  const { connect } = await start();
  const socket = connect();
  const answer = await socket.request("chat.send", { session_id: "s1", message: "hi" });
  await until(() => socket.events().some((event) => event.event === "run.completed"));
  expect(answer).toMatchObject({ session_id: "s1", status: "started", seq: 2, from: 1, subscribed: true });
  expect(socket.frames()[0]?.type).toBe("res");
  const events = socket.events();
  expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 2));
  const types = events.map((event) => event.event);
  expect(types.filter((type, i) => type !== types[i - 1])).toEqual(TURN.slice(1));
  expect(events.every((event) => event.session_id === "s1")).toBe(true);
});

test("a late reader gets a snapshot and what follows; folded it equals the log from its start", async () => {
  const { connect } = await start({ script: says(..."abcdefghij") });
  const first = connect();
  await first.request("session.create", { session_id: "s" });
  await first.request("session.subscribe", { session_id: "s", after: 0 });
  await first.request("chat.send", { session_id: "s", message: "one" });
  const late = connect();
  const opening = await late.request<{ mode: string; from: number; snapshot: Snapshot }>(
    "session.subscribe",
    {
      session_id: "s",
    },
  );
  await until(() =>
    [first, late].every((each) => each.events().some((event) => event.event === "run.completed")),
  );
  expect(opening.mode).toBe("snapshot");
  const fromLog = emptyTranscript();
  for (const event of first.events()) applyEvent(fromLog, event as FoldEvent);
  const fromThere = fromSnapshot(opening.snapshot);
  for (const event of late.events()) applyEvent(fromThere, event as FoldEvent);
  expect(late.events()[0]?.seq).toBe(opening.from + 1);
  expect(fromThere).toEqual(fromLog);
  expect(fromLog.messages.map((message) => message.content)).toEqual(["one", "abcdefghij"]);
});

test("somebody else reads ses_… where the owner reads their own name, and nothing unshared", async () => {
  const { connect } = await start();
  const owner = connect("ann");
  const other = connect("bob");
  const made = await owner.request<{ session_id: string }>("session.create", { session_id: "mine" });
  expect(made.session_id).toBe("mine");
  const gateway = [...owner.subscriptions.keys()];
  expect(gateway).toEqual([]);
  await expect(other.request("session.get", { session_id: "mine" })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
  await owner.request("session.share", { session_id: "mine", user: "bob", role: "viewer" });
  const list = await other.request<{ sessions: { session_id: string }[] }>("session.list");
  const id = list.sessions[0]?.session_id ?? "";
  expect(id).toStartWith("ses_");
  await other.request("session.subscribe", { session_id: id, after: 0 });
  await owner.request("chat.send", { session_id: "mine", message: "hi" });
  await until(() => other.events().some((event) => event.event === "run.completed"));
  expect(other.events().every((event) => event.session_id === id)).toBe(true);
  await expect(other.request("chat.send", { session_id: id, message: "x" })).rejects.toMatchObject({
    reason: "FORBIDDEN",
  });
  await owner.request("session.unshare", { session_id: "mine", user: "bob" });
  expect(other.subscriptions.size).toBe(0);
  await expect(other.request("session.get", { session_id: id })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
});

test("messages queue behind a run, and each gets its own answer in order", async () => {
  const { connect, engine } = await start({ script: says("a", "b") });
  const socket = connect();
  const sent = await Promise.all(
    ["1", "2", "3"].map((message) => socket.request("chat.send", { session_id: "q", message })),
  );
  expect(sent.map((each) => each["status"])).toEqual(["started", "queued", "queued"]);
  await engine.runs.settled();
  const history = await socket.request<{ messages: { role: string; content: string }[] }>("chat.history", {
    session_id: "q",
  });
  expect(history.messages.map((message) => message.content)).toEqual(["1", "2", "3", "ab", "ab", "ab"]);
});

test("abort keeps what was said, marked partial, and ends the run once", async () => {
  const { connect } = await start({
    script: async function* (_request, signal) {
      yield { type: "text", text: "so far" };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield { type: "aborted" };
    },
  });
  const socket = connect();
  await socket.request("chat.send", { session_id: "a", message: "hi" });
  await until(() => socket.events().some((event) => event.event === "message.delta"));
  const queued = await socket.request("chat.send", { session_id: "a", message: "next" });
  const aborted = await socket.request("chat.abort", { session_id: "a" });
  expect(aborted["status"]).toBe("aborted");
  expect((aborted["run_ids"] as string[]).includes(queued["run_id"] as string)).toBe(true);
  const ends = socket.events().filter((event) => event.event === "run.aborted");
  expect(ends).toHaveLength(2);
  const history = await socket.request<{ messages: { status: string; content: string }[] }>("chat.history", {
    session_id: "a",
  });
  expect(history.messages.map(({ status, content }) => [status, content])).toContainEqual([
    "partial",
    "so far",
  ]);
  expect(await socket.request("chat.abort", { session_id: "a" })).toEqual({ run_ids: [], status: "idle" });
});

test("a repeated request has one effect and one answer; another request under the key is refused", async () => {
  const { connect, engine } = await start();
  const socket = connect();
  const other = connect();
  const params = { session_id: "k", message: "once", idempotency_key: "key-1" };
  const answers = await Promise.all([socket, other, socket].map((each) => each.request("chat.send", params)));
  expect(new Set(answers.map((answer) => answer["run_id"])).size).toBe(1);
  expect(new Set(answers.map((answer) => answer["seq"])).size).toBe(1);
  await engine.runs.settled();
  const again = await other.request("chat.send", params);
  expect(again["message_id"]).toBe(answers[0]?.["message_id"]);
  const history = await socket.request<{ total: number }>("chat.history", { session_id: "k" });
  expect(history.total).toBe(2);
  await expect(socket.request("chat.send", { ...params, message: "twice" })).rejects.toMatchObject({
    reason: "IDEMPOTENCY_MISMATCH",
  });
});

test("a deleted session is GONE for its owner until it is made again, with another epoch", async () => {
  const { connect, engine } = await start();
  const socket = connect();
  const before = await socket.request("session.create", { session_id: "d" });
  await socket.request("session.subscribe", { session_id: "d" });
  await socket.request("session.delete", { session_id: "d" });
  await until(() => socket.frames().some((frame) => frame.event === "session.unsubscribed"));
  expect(socket.events().at(-1)?.event).toBe("session.closed");
  await expect(socket.request("chat.send", { session_id: "d", message: "x" })).rejects.toMatchObject({
    reason: "GONE",
  });
  await engine.maintenance.run();
  const after = await socket.request("session.create", { session_id: "d" });
  expect(after["epoch"]).not.toBe(before["epoch"]);
});

test("pipelined requests on a new session enter the log in the order they were read", async () => {
  const { connect, engine } = await start();
  const socket = connect();
  const messages = Array.from({ length: 16 }, (_, i) => `m${i}`);
  await Promise.all(
    messages.map((content, i) =>
      i === 0
        ? socket.request("chat.send", { session_id: "p", message: content, idempotency_key: "first" })
        : socket.request("chat.inject", { session_id: "p", role: "user", content }),
    ),
  );
  await engine.runs.settled();
  const created = socket
    .events()
    .filter((event) => event.event === "message.created")
    .map((event) => (event.payload["message"] as { content: string }).content);
  expect(created).toEqual(messages);
});

test("requests that call one session by its two names enter the log in the order they were read, too", async () => {
  const { connect, engine, store } = await start();
  const socket = connect();
  await socket.request("session.create", { session_id: "two" });
  await socket.request("session.subscribe", { session_id: "two" });
  const { id } = (await store.named("owner", "two")) as { id: string };
  await Promise.all([
    socket.request("session.update", { session_id: "two", title: "a" }),
    socket.request("chat.inject", { session_id: id, role: "user", content: "b" }),
    socket.request("chat.send", { session_id: "two", message: "c" }),
    socket.request("chat.inject", { session_id: id, role: "user", content: "d" }),
  ]);
  await engine.runs.settled();
  const written = socket.events().flatMap(({ event, payload }) => {
    if (event === "session.updated") return ["a"];
    return event === "message.created" ? [(payload["message"] as { content: string }).content] : [];
  });
  expect(written).toEqual(["a", "b", "c", "d"]);
});

test("a session that becomes known while requests wait for it keeps their order", async () => {
  const { connect, engine } = await start();
  const socket = connect();
  const sent: Promise<unknown>[] = [];
  for (let i = 0; i < 40; i++) {
    const content = `${i}`;
    const params = {
      session_id: "grows",
      ...(i % 4 === 0 ? { message: content } : { role: "user", content }),
    };
    sent.push(socket.request(i % 4 === 0 ? "chat.send" : "chat.inject", params).catch(() => undefined));
    // Some come in one tick, some while those before are under way.
    for (let turn = i % 3; turn > 0; turn--) await Promise.resolve();
  }
  await Promise.all(sent);
  await engine.runs.settled();
  const { messages } = await socket.request<{ messages: { role: string; content: string }[] }>(
    "chat.history",
    {
      session_id: "grows",
      limit: 200,
    },
  );
  const asked = messages.filter(({ role }) => role === "user").map(({ content }) => Number(content));
  expect(asked).toEqual(Array.from({ length: 40 }, (_, i) => i));
});
