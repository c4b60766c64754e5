import { afterAll, beforeAll, expect, test } from "bun:test";
import { PARTS } from "./access-secrets.ts";
import type { World } from "./method-cases.ts";
import { createWorld } from "./method-cases.ts";
import type { Stack } from "./stack.ts";
import { ended, startStack } from "./stack.ts";

/** What scopes and owners mean where the matrix of access does not reach. */

let stack: Stack;
let world: World;
beforeAll(async () => {
  stack = await startStack();
  world = await createWorld(stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

test("who may write and not read is told where the answer is, and none of it", async () => {
  const writer = await stack.guest({ user: "owner", scopes: ["chat.write"] });
  await using socket = await writer.connect();
  const sent = await socket.request("chat.send", { session_id: "write-only", message: "hello" });
  expect(sent).toMatchObject({ status: "started", subscribed: false });
  await ended(stack.owner, sent.run_id);
  // What was published before this answer was read before it.
  await socket.request("heartbeat");
  const events = socket.frames.filter(({ json }) => json.type === "event").map(({ json }) => json.event);
  expect(events).toEqual([]);
});

test("admin means every scope", async () => {
  const { scopes: all } = await stack.owner.call("token.create", { name: "all", scopes: ["admin"] });
  expect(all.toSorted()).toEqual([...PARTS, "admin"].sort());
});

test("another user's session is nowhere, in the same words as one that does not exist", async () => {
  const eve = await stack.guest({ user: "eve", scopes: PARTS });
  const { session_id: hidden } = await stack.owner.call("session.create");
  await using socket = await eve.connect();
  const calls: [string, Record<string, unknown>][] = [
    ["session.get", {}],
    ["session.update", { title: "x" }],
    ["session.fork", {}],
    ["session.delete", {}],
    ["session.share", { user: "eve", role: "editor" }],
    ["session.unshare", { user: "owner" }],
    ["session.subscribe", {}],
    ["session.unsubscribe", {}],
    ["presence.list", {}],
    ["chat.send", { message: "x" }],
    ["chat.history", {}],
    ["chat.abort", {}],
    ["chat.inject", { role: "user", content: "x" }],
    ["run.list", {}],
    ["event.send", { event: "app.x", payload: {} }],
    ["event.broadcast", { event: "app.x", payload: {} }],
  ];
  for (const [name, params] of calls) {
    const tell = (session_id: string): Promise<unknown> => {
      const about_it = name === "event.broadcast" ? { filter: { session_id } } : { session_id };
      return socket.request(name, { ...params, ...about_it }).then(
        () => "answered",
        ({ code, message, details, retryable }) => ({ code, message, details, retryable }),
      );
    };
    const [known, unknown] = [await tell(hidden), await tell("ses_000000000000000000000000")];
    expect([name, known]).toEqual([name, unknown]);
    expect([name, known]).toMatchObject([name, { code: "NOT_FOUND", details: { kind: "session" } }]);
  }
  for (const name of ["run.get", "run.wait"]) {
    const refused = { code: "NOT_FOUND", details: { kind: "run" } };
    await expect(socket.request(name, { run_id: world.run_id })).rejects.toMatchObject(refused);
    await expect(socket.request(name, { run_id: "run_unknown" })).rejects.toMatchObject(refused);
  }
  await expect(socket.request("chat.abort", { run_id: world.run_id })).rejects.toMatchObject({
    code: "NOT_FOUND",
    details: { kind: "run" },
  });
  expect(await socket.request("session.list")).toEqual({ sessions: [] });
  expect(await socket.request("run.list")).toEqual({ runs: [] });
});
