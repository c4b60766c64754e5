import { afterAll, beforeAll, expect, test } from "bun:test";
import type { FakeConnection, TestEngine } from "../support/engine.ts";
import { says, startEngine } from "../support/engine.ts";

/** What the log must not hold, as text and as JSON. */
const UNSOUND = /[\uD800-\uDFFF]|\0/;
const BAD = "a\ud800b\0c\udc00\ud83d\ude00";
const SOUND = "a\ufffdb\ufffdc\ufffd\ud83d\ude00";

let scene: TestEngine;
let socket: FakeConnection;
beforeAll(async () => {
  scene = await startEngine({ script: says("a") });
  socket = scene.connect();
});
afterAll(() => scene.close());

function texts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (value === null || typeof value !== "object") return [];
  return [...Object.keys(value), ...Object.values(value).flatMap(texts)];
}

function expectSound(value: unknown): void {
  for (const text of texts(value)) expect(text.isWellFormed() && !text.includes("\0")).toBe(true);
}

test("every text of a client is made well-formed at the door, wherever it stands", async () => {
  expect(UNSOUND.test(BAD)).toBe(true);
  const metadata = { [BAD]: BAD, list: [{ [`${BAD}2`]: BAD }], kept: "\\u0000 \\ud800" };
  const made = await socket.request("session.create", {
    session_id: "s",
    title: BAD,
    system_prompt: BAD,
    model: `test/${BAD}`,
    metadata,
  });
  expect(made).toMatchObject({
    title: SOUND,
    system_prompt: SOUND,
    model: `test/${SOUND}`,
    metadata: { [SOUND]: SOUND, list: [{ [`${SOUND}2`]: SOUND }], kept: "\\u0000 \\ud800" },
  });
  await socket.request("session.subscribe", { session_id: "s", after: 0 });
  await socket.request("session.update", { session_id: "s", title: BAD, system_prompt: BAD, metadata });
  const key = { idempotency_key: BAD };
  const send = { session_id: "s", message: BAD, model: `test/${BAD}`, metadata, ...key };
  const sent = await socket.request("chat.send", send);
  expect(await socket.request("chat.send", send)).toMatchObject({ run_id: sent["run_id"] as string });
  await socket.request("chat.inject", { session_id: "s", role: "user", content: BAD, metadata });
  const event = { session_id: "s", event: "app.x", payload: metadata };
  await socket.request("event.send", { ...event, durable: true });
  await socket.request("event.send", event);
  await socket.request("event.broadcast", { event: "app.y", payload: metadata });
  await scene.engine.runs.settled();
  const frames = socket.frames();
  expect(frames.filter((frame) => frame.event === "app.x")).toHaveLength(2);
  expect(frames.filter((frame) => frame.event === "app.y")).toHaveLength(1);
  for (const frame of frames) expectSound(frame);
  expectSound(await socket.request("chat.history", { session_id: "s" }));
  expectSound(await socket.request("session.get", { session_id: "s" }));
  expectSound(await socket.request("run.list", {}));
});

test("a bound is one of what is stored: what grows when it is made well-formed counts as it is then", async () => {
  const { message_bytes, metadata_bytes, system_prompt_bytes } = scene.limits;
  const nuls = (bytes: number): string => "\0".repeat(Math.floor(bytes / 3) + 1);
  const tooMuch: [string, object][] = [
    ["chat.send", { message: nuls(message_bytes) }],
    ["chat.send", { message: "x", metadata: { x: "\ud800".repeat(metadata_bytes / 3) } }],
    ["session.create", { system_prompt: nuls(system_prompt_bytes) }],
    ["session.create", { metadata: { x: "x".repeat(metadata_bytes) } }],
    ["event.broadcast", { event: "app.x", payload: { x: nuls(scene.limits.broadcast_bytes) } }],
  ];
  for (const [method, params] of tooMuch)
    await expect(socket.request(method, params)).rejects.toMatchObject({ reason: "TOO_LARGE" });
  const fits = "\0".repeat(Math.floor(message_bytes / 3));
  await socket.request("chat.send", { message: fits, subscribe: false });
});

test("names and keys that every object has are names and keys like others", async () => {
  for (const session_id of ["__proto__", "constructor", "toString"]) {
    const metadata = JSON.parse('{"__proto__":{"x":1},"constructor":"y"}') as object;
    const made = await socket.request("session.create", { session_id, metadata });
    expect(JSON.stringify(made["metadata"])).toBe(JSON.stringify(metadata));
    const params = { session_id, message: "hi", idempotency_key: session_id, metadata };
    const sent = await socket.request("chat.send", params);
    expect(await socket.request("chat.send", params)).toMatchObject({ run_id: sent["run_id"] as string });
    await scene.engine.runs.settled();
    const other = scene.connect();
    const opened = await other.request("session.subscribe", { session_id });
    expect(JSON.stringify(opened)).toContain('"metadata":{"__proto__":{"x":1},"constructor":"y"}');
    await socket.request("session.delete", { session_id });
    await expect(socket.request("session.get", { session_id })).rejects.toMatchObject({ reason: "GONE" });
  }
  await expect(
    socket.request("session.create", JSON.parse('{"__proto__":{"session_id":"x"}}')),
  ).rejects.toMatchObject({
    reason: "INVALID_REQUEST",
  });
});
