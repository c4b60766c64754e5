import { afterAll, beforeAll, expect, test } from "bun:test";
import { openRaw } from "./raw-socket.ts";
import type { Stack } from "./stack.ts";
import { eventually, startStack } from "./stack.ts";

let stack: Stack;
beforeAll(async () => {
  const limits = {
    bad_frames_per_minute: 4,
    control_frames_per_second: 20,
    message_bytes: 64,
    frame_bytes: 8_192,
  };
  stack = await startStack({ config: { limits } });
});
afterAll(() => stack[Symbol.asyncDispose]());

async function counted(option: string): Promise<number> {
  return (await stack.owner.call("system.stats")).limits[option] ?? 0;
}

test("bad_frames_per_minute: answered, and the last one closes the socket with 4000", async () => {
  await using beside = await stack.owner.connect();
  await using socket = await stack.owner.connect();
  for (let i = 0; i < 3; i++) socket.send("{");
  expect(await socket.request("heartbeat")).toBeObject();
  socket.send("{");
  expect((await socket.closed).code).toBe(4000);
  expect(socket.frames.filter(({ json }) => json.error?.code === "INVALID_REQUEST")).toHaveLength(4);
  expect(await counted("bad_frames_per_minute")).toBe(1);
  expect(await beside.request("heartbeat")).toBeObject();
});

test("frame_bytes: a larger frame closes the socket with 1009", async () => {
  await using beside = await stack.owner.connect();
  await using socket = await stack.owner.connect();
  socket.send({ type: "req", id: "big", method: "heartbeat", pad: "x".repeat(8_192) });
  expect((await socket.closed).code).toBe(1009);
  await eventually(
    () => counted("frame_bytes"),
    (count) => count === 1,
  );
  expect(await beside.request("heartbeat")).toBeObject();
});

test("control_frames_per_second: a flood of pings closes the socket with 4029, told why", async () => {
  await using beside = await stack.owner.connect();
  await using socket = await openRaw(stack.gateway.address, stack.owner.token);
  socket.ping(50);
  expect(await socket.closed).toBe(4029);
  expect(socket.frames.at(-1)).toMatchObject({
    error: {
      code: "RATE_LIMITED",
      details: { kind: "control_frames", what: "control_frames_per_second", limit: 20 },
      retry_after_ms: expect.any(Number),
    },
  });
  expect(await counted("control_frames_per_second")).toBe(1);
  expect(await beside.request("heartbeat")).toBeObject();
});
