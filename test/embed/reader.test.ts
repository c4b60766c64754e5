import { afterEach, expect, test } from "bun:test";
import { Local } from "../../src/embed/local.ts";
import { ReaderTopics, SessionReader } from "../../src/embed/reader.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { topicOf } from "../../src/core/session.ts";
import type { TestEngine } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

let running: TestEngine | null = null;
afterEach(async () => {
  await running?.close();
  running = null;
});

test("what waits for a reader that takes nothing is bounded, and nothing is lost", async () => {
  running = await startEngine();
  const { engine } = running;
  const local = new Local({ engine, isRunning: () => true });
  const topics = new ReaderTopics();
  engine.hub.addListener(topics);
  const socket = running.connect();
  await socket.request("session.create", { session_id: "long" });
  const session = await engine.directory.find("owner", "long", "read");
  const reader = new SessionReader({ local, topics, session, user: "owner", from: {} });
  expect((await reader.next())?.event).toBe("session.snapshot");
  await until(() => [...reader.subscriptions.values()].some(({ state }) => state === "live"));
  const content = "x".repeat(64 * 1024);
  const count = (4 * DEFAULT_LIMITS.slow_soft_bytes) / content.length;
  expect(engine.hub.followers(topicOf(session, "owner"))).toBe(1);
  let most = 0;
  for (let i = 0; i < count; i++) {
    await socket.request("chat.inject", { session_id: "long", role: "user", content });
    most = Math.max(most, reader.buffered());
  }
  const frame_bytes = 2 * content.length + 1_024;
  expect(most).toBeWithin(DEFAULT_LIMITS.slow_soft_bytes, DEFAULT_LIMITS.slow_soft_bytes + frame_bytes);
  expect(reader.subscriptions.size).toBe(0);
  const seqs: number[] = [];
  while (seqs.length < count) {
    const event = await reader.next();
    seqs.push(event?.seq ?? 0);
    // Read again from the store it is paced.
    if (seqs.length > count / 2) expect(reader.buffered()).toBeLessThan(DEFAULT_LIMITS.slow_soft_bytes / 2);
  }
  expect(seqs).toEqual(seqs.map((_, i) => i + 2));
  await socket.request("chat.inject", { session_id: "long", role: "user", content: "the last" });
  expect(await reader.next()).toMatchObject({ event: "message.created", seq: count + 2 });
  reader.leave();
  expect(reader.subscriptions.size).toBe(0);
  expect(engine.hub.followers(topicOf(session, "owner"))).toBe(0);
  expect(await reader.next()).toBeNull();
});
