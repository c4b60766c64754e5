import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Receiver } from "../support/webhook-receiver.ts";
import { startReceiver } from "../support/webhook-receiver.ts";
import type { Made } from "./inbound.fixture.ts";
import { bearer, deliverTo, makeHook } from "./inbound.fixture.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

/** What somebody set up may do no more than they may themselves, by the credential it was set up with, at that moment. */

let stack: Stack;
let owner: Person;
let receiver: Receiver;
let made = 0;
beforeAll(async () => {
  stack = await startStack({ config: { webhooks: { allow: ["127.0.0.1"] } } });
  ({ owner } = stack);
});
beforeEach(() => {
  receiver = startReceiver();
});
afterAll(() => stack[Symbol.asyncDispose]());

const ENDED = expect.stringContaining("has ended");

/** Somebody with a token of their own, and how it is revoked. */
async function newcomer(grant: Record<string, unknown>): Promise<Person & { revoke(): Promise<unknown> }> {
  const { token, token_id } = await owner.call("token.create", { name: "one", ...grant });
  return { ...stack.person(token), revoke: () => owner.call("token.revoke", { token_id }) };
}

/** A login that was made with a token, as the console makes one. */
async function loginOf(by: Person): Promise<Person & { id: string }> {
  const { session_token, auth_session_id } = await by.call("auth_session.create");
  return { ...stack.person(session_token), id: auth_session_id };
}

/** The owner says something in a session of their own; a second webhook tells when everybody was told. */
async function told(session_id: string): Promise<string[]> {
  const witness = startReceiver();
  const { webhook_id } = await owner.call("webhook.create", { url: witness.url, types: ["message.created"] });
  await owner.call("chat.inject", { session_id, role: "user", content: "private" });
  await witness.until(1);
  await owner.call("webhook.delete", { webhook_id });
  await witness[Symbol.asyncDispose]();
  const { webhooks } = await owner.call("webhook.list");
  for (const each of webhooks) {
    await eventually(
      () => owner.call("webhook.deliveries", { webhook_id: each.webhook_id }),
      ({ waiting_sessions }) => waiting_sessions === 0,
    );
  }
  return receiver.got.map(({ body }) => body.data.payload.message.content);
}

const fresh = async (by = owner): Promise<string> =>
  (await by.call("session.create", { session_id: `made-${++made}` })).session_id;
const watch = (by: Person, more: Record<string, unknown> = {}): Promise<Made> =>
  by.call("webhook.create", { url: receiver.url, types: ["message.created"], ...more });
const suspended = async (kind: "hook" | "schedule" | "webhook", id: string): Promise<unknown> => {
  const all = (await owner.call(`${kind}.list`))[`${kind}s`];
  return all.find((each: Made) => each[`${kind}_id`] === id)?.suspended;
};

describe("a webhook of everybody's sessions", () => {
  test("ends with the token of the administrator who made it, whatever else they have", async () => {
    const session_id = await fresh();
    const admin = await newcomer({ user: "second", role: "admin" });
    const { webhook_id } = await watch(admin, { sessions: "all" });
    expect(await told(session_id)).toEqual(["private"]);
    await admin.revoke();
    await stack.guest({ user: "second", role: "admin" });
    expect(await told(session_id)).toEqual(["private"]);
    expect(await suspended("webhook", webhook_id)).toEqual(ENDED);
  });

  test("goes on where another administrator's credential takes it over", async () => {
    const session_id = await fresh();
    const admin = await newcomer({ user: "third", role: "admin" });
    const again = await stack.guest({ user: "third", role: "admin" });
    const { webhook_id } = await watch(admin, { sessions: "all" });
    await admin.revoke();
    expect(await told(session_id)).toEqual([]);
    const plain = await stack.guest({ user: "third", role: "user" });
    expect(await refusal(plain.call("webhook.update", { webhook_id }))).toMatchObject({ code: "FORBIDDEN" });
    expect((await again.call("webhook.update", { webhook_id })).suspended).toBeUndefined();
    expect(await told(session_id)).toEqual(["private"]);
    await again.call("webhook.delete", { webhook_id });
  });

  test("that was led elsewhere with a token ends with that one", async () => {
    const session_id = await fresh();
    const thief = await newcomer({ user: "thief", role: "admin" });
    const { webhook_id } = await owner.call("webhook.create", {
      url: "https://example.invalid/",
      types: ["message.created"],
      sessions: "all",
    });
    await thief.call("webhook.update", { webhook_id, url: receiver.url });
    expect(await told(session_id)).toEqual(["private"]);
    await thief.revoke();
    expect(await told(session_id)).toEqual(["private"]);
    await owner.call("webhook.update", { webhook_id });
    expect(await told(session_id)).toEqual(["private", "private"]);
    await owner.call("webhook.delete", { webhook_id });
  });
});

describe("what was made with a token", () => {
  test("is done no more once it is revoked: a hook is as none, a schedule says nothing", async () => {
    const ann = await newcomer({ user: "ann", role: "user" });
    const still = await stack.guest({ user: "ann", role: "user" });
    const hook = await makeHook(ann);
    const { schedule_id } = await ann.call("schedule.create", { cron: "0 0 1 1 *", message: "yearly" });
    expect((await deliverTo(stack, hook, { text: "a" }, bearer(hook))).status).toBe(202);
    await ann.revoke();
    const refused = await deliverTo(stack, hook, { text: "b" }, bearer(hook));
    const unknown = await deliverTo(stack, { path: "/api/v1/hooks/nobodys" }, {}, bearer(hook));
    expect([refused.status, refused.json]).toEqual([401, unknown.json]);
    expect(await refusal(owner.call("schedule.run", { schedule_id }))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "state" },
    });
    expect([await suspended("hook", hook.hook_id), await suspended("schedule", schedule_id)]).toEqual([
      ENDED,
      ENDED,
    ]);
    await still.call("hook.update", { hook_id: hook.hook_id });
    await still.call("schedule.update", { schedule_id });
    expect((await deliverTo(stack, hook, { text: "c" }, bearer(hook))).status).toBe(202);
    expect(await still.call("schedule.run", { schedule_id })).toMatchObject({ status: "started" });
  });

  test("goes on with its next secret, and without the logins that came of it", async () => {
    const { token, token_id } = await owner.call("token.create", { name: "bob", user: "bob", role: "user" });
    const login = await loginOf(stack.person(token));
    const hook = await makeHook(await loginOf(login));
    await owner.call("auth_session.revoke", { auth_session_id: login.id });
    expect((await deliverTo(stack, hook, { text: "a" }, bearer(hook))).status).toBe(202);
    await owner.call("token.rotate", { token_id });
    expect((await deliverTo(stack, hook, { text: "b" }, bearer(hook))).status).toBe(202);
    await owner.call("token.revoke", { token_id });
    expect((await deliverTo(stack, hook, { text: "c" }, bearer(hook))).status).toBe(401);
  });

  test("ends with it when it expires", async () => {
    const brief = await newcomer({ user: "cleo", role: "user", expires_in_secs: 1 });
    const hook = await makeHook(brief);
    expect((await deliverTo(stack, hook, { text: "a" }, bearer(hook))).status).toBe(202);
    await eventually(
      () => deliverTo(stack, hook, { text: "b" }, bearer(hook)),
      ({ status }) => status === 401,
    );
  });
});
