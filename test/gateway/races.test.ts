import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { script } from "../support/model-script.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, idle, log, startStack, typesOf } from "./stack.ts";

/** Requests that meet while what one of them changes is being written. */

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

test("chat.abort right behind chat.send, on one connection, stops what was sent", async () => {
  // It may be stopped before it is asked for.
  stack.model.otherwise(() => script().text("so far").hang());
  await using socket = await owner.connect();
  await socket.request("session.create", { session_id: "behind" });
  const [sent, aborted] = await Promise.all([
    socket.request("chat.send", { session_id: "behind", message: "x" }),
    socket.request("chat.abort", { session_id: "behind" }),
  ]);
  expect(aborted).toEqual({ run_ids: [sent.run_id], status: "aborted" });
  expect(await owner.call("run.get", { run_id: sent.run_id })).toMatchObject({ status: "aborted" });
});

test("session.delete right behind chat.send: the run ends before the log does", async () => {
  await using socket = await owner.connect();
  await socket.request("session.create", { session_id: "deleted" });
  await socket.request("session.subscribe", { session_id: "deleted", after: 0 });
  await Promise.all([
    socket.request("chat.send", { session_id: "deleted", message: "x" }),
    socket.request("session.delete", { session_id: "deleted" }),
  ]);
  await socket.nextEvent("session.unsubscribed");
  const types = typesOf(log(socket, "deleted"));
  expect(types.slice(-2)).toEqual(["run.aborted", "session.closed"]);
});

test("a repeated chat.send says to begin before the message that is still being written", async () => {
  stack.model.reply().text("so far").hang();
  await using socket = await owner.connect();
  await socket.request("chat.send", { session_id: "repeat", message: "1" });
  await socket.nextEvent("message.delta");
  const params = { session_id: "repeat", message: "2", idempotency_key: "repeat-1" };
  const first = await owner.call("chat.send", params);
  expect(first.from).toBeLessThan(first.seq - 1);
  expect(await owner.call("chat.send", params)).toEqual(first);
  await owner.call("chat.abort", { session_id: "repeat" });
});

test("a subscription that is opened while the share is taken back ends like any other", async () => {
  const bea = await stack.guest({ user: "bea", role: "user" });
  for (let i = 0; i < 40; i++) {
    const name = `race-${i}`;
    await owner.call("session.create", { session_id: name });
    await owner.call("session.share", { session_id: name, user: "bea", role: "viewer" });
    const { session_id } = (await bea.call("session.list", { limit: 1 })).sessions[0];
    await using hers = await bea.connect();
    await using mine = await owner.connect();
    const taken = mine.request("session.unshare", { session_id: name, user: "bea" });
    // The one goes ahead of the other by a little more each time.
    await Bun.sleep(i / 25);
    const opened = await hers.request("session.subscribe", { session_id }).then(
      () => true,
      () => false,
    );
    await taken;
    if (!opened) continue;
    const last = await hers.nextEvent("session.unsubscribed", 1_000);
    expect(last.json.payload).toMatchObject({ reason: "revoked" });
  }
});

test("many who send the first message of a session at once all send it to one session", async () => {
  stack.model.otherwise(() => script().text("x"));
  const sockets = await Promise.all(Array.from({ length: 8 }, () => owner.connect()));
  const send = sockets.map((socket, i) =>
    socket.request("chat.send", { session_id: "first", message: `m${i}` }),
  );
  const sent = await Promise.all(send);
  expect(new Set(sent.map(({ epoch }) => epoch)).size).toBe(1);
  for (const { run_id } of sent) await ended(owner, run_id);
  expect((await owner.call("chat.history", { session_id: "first" })).total).toBe(16);
  for (const socket of sockets) socket.close();
});
