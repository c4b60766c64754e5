import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Receiver } from "../support/webhook-receiver.ts";
import { startReceiver } from "../support/webhook-receiver.ts";
import { makeHook } from "./inbound.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

/** What somebody set up goes on without them: with no more rights than they have now, and for nobody who has fewer. */

let stack: Stack;
let owner: Person;
let ann: Person;
let receiver: Receiver;
let made = 0;
beforeAll(async () => {
  stack = await startStack({
    config: { webhooks: { allow: ["127.0.0.1"] }, limits: { webhook_attempts: 2 } },
  });
  ({ owner } = stack);
  ann = await stack.guest({ user: "ann", role: "user" });
});
beforeEach(() => {
  receiver = startReceiver();
});
afterAll(() => stack[Symbol.asyncDispose]());

const READING = ["chat.read", "sessions.manage"];
const WRITING = ["chat.write", "sessions.manage"];

/** A session of the owner's that is shared with ann, with a webhook of hers. */
async function shared(): Promise<{ session_id: string; webhook_id: string; say: () => Promise<unknown> }> {
  const { session_id } = await owner.call("session.create");
  await owner.call("session.share", { session_id, user: "ann", role: "viewer" });
  const { webhook_id } = await ann.call("webhook.create", { url: receiver.url, types: ["message.created"] });
  const content = `private ${++made}`;
  const say = (): Promise<unknown> => owner.call("chat.inject", { session_id, role: "user", content });
  return { session_id, webhook_id, say };
}

/** Whatever was begun for a webhook is over. */
async function settled(webhook_id: string, by = ann) {
  return eventually(
    () => by.call("webhook.deliveries", { webhook_id }),
    (answer) => answer.waiting_sessions === 0,
  );
}

describe("a delivery that is tried again", () => {
  test.each([
    [
      "the session is shared no more",
      (session_id: string) => owner.call("session.unshare", { session_id, user: "ann" }),
    ],
    ["the session is deleted", (session_id: string) => owner.call("session.delete", { session_id })],
    ["its owner is shut out", () => owner.call("user.disable", { user: "ann" })],
  ])("is not, once %s, and nothing of it is kept", async (_, end) => {
    const { session_id, webhook_id, say } = await shared();
    receiver.answers.push(new Response(null, { status: 503, headers: { "retry-after": "1" } }));
    await say();
    await receiver.until(1);
    await end(session_id);
    const { dead } = await settled(webhook_id, owner);
    expect([receiver.got.length, dead]).toEqual([1, []]);
    await owner.call("user.disable", { user: "ann", disabled: false });
  });

  test("by hand goes nowhere, once the session is shared no more", async () => {
    const { session_id, webhook_id, say } = await shared();
    receiver.otherwise = 400;
    await say();
    const { dead } = await eventually(
      () => ann.call("webhook.deliveries", { webhook_id }),
      (answer) => answer.dead.length === 1,
    );
    await owner.call("session.unshare", { session_id, user: "ann" });
    const before = receiver.got.length;
    expect(await ann.call("webhook.redeliver", { webhook_id })).toEqual({
      delivered: [],
      failed: [{ delivery_id: dead[0].delivery_id, reason: "its owner may not read this session any more" }],
    });
    expect(receiver.got).toHaveLength(before);
  });
});

describe("a credential with fewer scopes", () => {
  const needs = (scope: string): object => ({ code: "FORBIDDEN", details: { kind: "scope", scope } });

  test("leads no webhook elsewhere that has more of them, but may end it", async () => {
    const all = await owner.call("webhook.create", {
      url: receiver.url,
      types: ["message.created"],
      sessions: "all",
    });
    const own = await owner.call("webhook.create", { url: receiver.url, types: ["message.created"] });
    const plain = await stack.guest({ user: "owner", role: "user" });
    const blind = await stack.guest({ user: "owner", scopes: WRITING });
    for (const [by, { webhook_id }, scope] of [
      [plain, all, "admin"],
      [blind, own, "chat.read"],
    ] as const) {
      for (const method of ["webhook.update", "webhook.rotate", "webhook.test", "webhook.redeliver"]) {
        expect([method, await refusal(by.call(method, { webhook_id }))]).toMatchObject([
          method,
          needs(scope),
        ]);
      }
      expect(await by.call("webhook.delete", { webhook_id })).toEqual({ deleted: true });
    }
  });

  test("says nothing by a hook or a schedule that may write", async () => {
    const mute = await stack.guest({ user: "ann", scopes: READING });
    const { hook_id } = await makeHook(ann);
    const { schedule_id } = await ann.call("schedule.create", { cron: "0 0 1 1 *", message: "yearly" });
    for (const [method, params] of [
      ["hook.update", { hook_id, template: "mine" }],
      ["hook.rotate", { hook_id }],
      ["schedule.update", { schedule_id, message: "mine" }],
      ["schedule.run", { schedule_id }],
    ] as const) {
      expect([method, await refusal(mute.call(method, params))]).toMatchObject([method, needs("chat.write")]);
    }
    expect(await mute.call("hook.delete", { hook_id })).toEqual({ deleted: true });
    expect(await mute.call("schedule.delete", { schedule_id })).toEqual({ deleted: true });
  });
});

test("a schedule says nothing for who is shut out, whoever runs it", async () => {
  const { schedule_id } = await ann.call("schedule.create", { cron: "0 0 1 1 *", message: "yearly" });
  await owner.call("user.disable", { user: "ann" });
  expect(await refusal(owner.call("schedule.run", { schedule_id }))).toMatchObject({
    code: "CONFLICT",
    details: { kind: "state" },
  });
  await owner.call("user.disable", { user: "ann", disabled: false });
  expect(await owner.call("schedule.run", { schedule_id })).toMatchObject({ status: "started" });
});
