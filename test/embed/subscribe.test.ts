import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { SessionEvent } from "../../src/client/events.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { eventually } from "../gateway/stack.ts";
import type { Embedded } from "./embed.fixture.ts";
import { embed, refusedWith } from "./embed.fixture.ts";

let it: Embedded;
beforeAll(async () => {
  it = await embed();
});
afterAll(() => it[Symbol.asyncDispose]());

async function newSession(...contents: readonly string[]): Promise<string> {
  const { sessionId } = await it.gateway.chat.createSession();
  for (const content of contents) await it.gateway.chat.addMessage(sessionId, { role: "user", content });
  return sessionId;
}

/** The next events, so many. */
async function take(events: AsyncIterator<SessionEvent>, count: number): Promise<SessionEvent[]> {
  const taken: SessionEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await events.next();
    if (done === true) throw new Error(`it ended after ${taken.length}`);
    taken.push(value);
  }
  return taken;
}

const placed = ({ event, seq }: SessionEvent): string => `${event} ${seq}`;

describe("subscribe", () => {
  test("begins with a snapshot, then every event once, in order, up to the end of the loop", async () => {
    const sessionId = await newSession("Hi");
    it.model.reply().text("one two three", { chunks: 3 });
    const seen: SessionEvent[] = [];
    const { done } = await it.gateway.chat.createRun(sessionId);
    for await (const event of it.gateway.subscribe(sessionId)) {
      seen.push(event);
      if (event.event === "run.completed") break;
    }
    const [first, ...rest] = seen;
    expect(first).toMatchObject({ event: "session.snapshot", session_id: sessionId });
    expect(rest.map(({ seq }) => seq)).toEqual(rest.map((_, i) => (first?.seq ?? 0) + 1 + i));
    expect(seen.every(({ epoch }) => epoch === first?.epoch)).toBe(true);
    expect((await done).status).toBe("completed");
  });

  test("goes on after a cursor; without one that means anything it says so and begins anew", async () => {
    const sessionId = await newSession("a", "b", "c");
    const events = it.gateway.subscribe(sessionId);
    const [{ epoch }] = (await take(events, 1)) as [SessionEvent];
    await events.return?.();
    const resumed = it.gateway.subscribe(sessionId, { epoch, after: 2 });
    expect((await take(resumed, 3)).map(placed)).toEqual([
      "session.resumed 2",
      "message.created 3",
      "message.created 4",
    ]);
    await it.gateway.chat.addMessage(sessionId, { role: "user", content: "d" });
    expect((await take(resumed, 1)).map(placed)).toEqual(["message.created 5"]);
    await resumed.return?.();
    const foreign = it.gateway.subscribe(sessionId, { epoch: "otherlog", after: 2 });
    const [reset] = await take(foreign, 1);
    expect(reset).toMatchObject({ event: "session.reset", epoch, payload: { reason: "epoch" } });
    await foreign.return?.();
    const ahead = it.gateway.subscribe(sessionId, { epoch, after: 99 });
    expect(await take(ahead, 1)).toMatchObject([{ event: "session.reset", payload: { reason: "ahead" } }]);
    await ahead.return?.();
  });

  test("a reader that takes nothing keeps little of a long log waiting, and then reads all of it once", async () => {
    const sessionId = await newSession();
    const [opening] = await take(it.gateway.subscribe(sessionId), 1);
    const reader = it.gateway.subscribe(sessionId, { epoch: opening?.epoch ?? "", after: 0 });
    expect((await take(reader, 1)).map(placed)).toEqual(["session.resumed 0"]);
    // Three times what may wait.
    const content = "x".repeat(64 * 1024);
    const count = (3 * DEFAULT_LIMITS.slow_soft_bytes) / content.length;
    for (let i = 0; i < count; i++) await it.gateway.chat.addMessage(sessionId, { role: "user", content });
    const read = await take(reader, count + 1);
    expect(read.map(({ seq }) => seq)).toEqual(read.map((_, i) => i + 1));
    await it.gateway.chat.addMessage(sessionId, { role: "user", content: "live again" });
    expect((await take(reader, 1)).map(placed)).toEqual([`message.created ${count + 2}`]);
    await reader.return?.();
  });

  test("who asks for several events at once gets them in order", async () => {
    const sessionId = await newSession("a", "b");
    const [opening] = await take(it.gateway.subscribe(sessionId), 1);
    const events = it.gateway.subscribe(sessionId, { epoch: opening?.epoch ?? "", after: 0 });
    const asked = [1, 2, 3, 4].map(() => events.next());
    const values = (await Promise.all(asked)).map(({ value }) => (value === undefined ? "" : placed(value)));
    expect(values).toEqual([
      "session.resumed 0",
      "session.created 1",
      "message.created 2",
      "message.created 3",
    ]);
    await events.return?.();
  });

  test("ends where the signal is aborted, also while it waits, before it began and when it is left", async () => {
    const sessionId = await newSession();
    const abort = new AbortController();
    const events = it.gateway.subscribe(sessionId, { signal: abort.signal });
    await take(events, 1);
    const waiting = events.next();
    abort.abort();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect(await it.gateway.subscribe(sessionId, { signal: abort.signal }).next()).toEqual({
      done: true,
      value: undefined,
    });
    const left = it.gateway.subscribe(sessionId);
    await take(left, 1);
    const pending = left.next();
    await left.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
  });

  test("ends after the last event of a session that is deleted", async () => {
    const sessionId = await newSession("a");
    const events = it.gateway.subscribe(sessionId);
    await take(events, 1);
    await using socket = await it.connect();
    await socket.request("session.delete", { session_id: sessionId });
    const rest: string[] = [];
    for await (const { event } of events) rest.push(event);
    expect(rest).toEqual(["session.closed"]);
    expect(await refusedWith(it.gateway.subscribe(sessionId).next())).toBe("NOT_FOUND");
  });

  test("a session that is not there, or a cursor that is none, is refused at the first event", async () => {
    const sessionId = await newSession();
    const events = it.gateway.subscribe("nowhere");
    expect(await refusedWith(events.next())).toBe("NOT_FOUND");
    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect(await refusedWith(it.gateway.subscribe(sessionId, { after: 3 }).next())).toBe("INVALID_REQUEST");
  });

  test("is nobody's connection, and no presence", async () => {
    const sessionId = await newSession();
    await using socket = await it.connect();
    await socket.request("session.subscribe", { session_id: sessionId });
    const before = it.gateway.status().connections;
    const events = it.gateway.subscribe(sessionId);
    await take(events, 1);
    expect(it.gateway.status().connections).toBe(before);
    expect((await socket.request("presence.list", { session_id: sessionId })).watchers).toHaveLength(1);
    await events.return?.();
    expect(
      socket.frames.filter(
        ({ json }) => json.event === "presence.updated" && json.payload.client_id === "embedded",
      ),
    ).toEqual([]);
  });
});

test("stop() ends what is subscribed, after its last event; what waits can still be taken", async () => {
  const own = await embed();
  const { gateway, model } = own;
  const { sessionId } = await gateway.chat.createSession();
  await gateway.chat.addMessage(sessionId, { role: "user", content: "Hi" });
  model.reply().text("so far").hang();
  const { done } = await gateway.chat.createRun(sessionId);
  await eventually(
    () => model.open,
    (open) => open === 1,
  );
  const reading = (async () => {
    const seen: string[] = [];
    for await (const { event } of gateway.subscribe(sessionId)) seen.push(event);
    return seen;
  })();
  const slow = gateway.subscribe(sessionId);
  await slow.next();
  const never = gateway.subscribe(sessionId);
  await gateway.stop({ graceMs: 0 });
  expect((await reading).at(-1)).toBe("run.interrupted");
  expect((await done).status).toBe("interrupted");
  const rest: string[] = [];
  for await (const { event } of slow) rest.push(event);
  expect(rest.at(-1)).toBe("run.interrupted");
  expect(await refusedWith(never.next())).toBe("UNAVAILABLE");
  await own[Symbol.asyncDispose]();
});
