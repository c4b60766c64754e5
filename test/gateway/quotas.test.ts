import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { script } from "../support/model-script.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, idle, refusal, say, startStack } from "./stack.ts";

let stack: Stack;
beforeAll(async () => {
  const limits = { sessions_per_user: 3, messages_per_session: 4, keys_per_user: 3 };
  stack = await startStack({ config: { limits } });
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

let guests = 0;
/** Somebody who has nothing yet. */
function fresh(): Promise<Person> {
  return stack.guest({ user: `user-${++guests}`, role: "user" });
}

function full(what: string): object {
  return { code: "CONFLICT", status: 4009, details: { kind: "full", what }, retryable: false };
}

test("sessions of one user: whichever way one is made, until one is deleted", async () => {
  const person = await fresh();
  await person.call("session.create", { session_id: "one" });
  await person.call("chat.send", { session_id: "two", message: "x" });
  await person.call("session.fork", { session_id: "one" });
  for (const [method, params] of [
    ["session.create", {}],
    ["session.create", { session_id: "four" }],
    ["chat.send", { message: "x" }],
    ["chat.send", { session_id: "four", message: "x" }],
    ["session.fork", { session_id: "one" }],
  ] as const) {
    const refused = await refusal(person.call(method, params));
    expect([method, refused]).toMatchObject([method, full("sessions_per_user")]);
  }
  const brought = person.call("session.import", { session: { digest: "0".repeat(64) }, done: true });
  expect(await refusal(brought)).toMatchObject(full("sessions_per_user"));
  // Nothing is left of what was refused, and others are not concerned.
  expect((await person.call("session.list")).sessions).toHaveLength(3);
  expect(await refusal(person.call("session.get", { session_id: "four" }))).toMatchObject({
    code: "NOT_FOUND",
  });
  await (await fresh()).call("session.create", { session_id: "four" });
  await person.call("session.delete", { session_id: "one" });
  expect(await person.call("session.create", { session_id: "four" })).toMatchObject({ session_id: "four" });
});

test("messages of one session: a message too many is refused, an answer too many fails its run", async () => {
  const person = await fresh();
  await say(person, { session_id: "s", message: "1" });
  await person.call("chat.inject", { session_id: "s", role: "user", content: "3" });
  stack.model.otherwise(() => script().text("one too many"));
  const sent = await person.call("chat.send", { session_id: "s", message: "4" });
  const run = await ended(person, sent.run_id);
  expect(run.status).toBe("failed");
  expect(run.error).toMatchObject({
    code: "CONFLICT",
    message: expect.stringContaining("messages_per_session"),
  });
  for (const [method, params] of [
    ["chat.send", { message: "x" }],
    ["chat.inject", { role: "user", content: "x" }],
  ] as const) {
    const refused = await refusal(person.call(method, { session_id: "s", ...params }));
    expect([method, refused]).toMatchObject([method, full("messages_per_session")]);
  }
  const { messages, total } = await person.call("chat.history", { session_id: "s" });
  expect([total, messages.length]).toEqual([4, 4]);
  expect(messages.at(-1)).toMatchObject({ role: "user", content: "4" });
  expect((await person.call("session.get", { session_id: "s" })).active_run_id).toBeUndefined();
});

test("keys of one user: one more is refused, a known one is answered", async () => {
  const person = await fresh();
  await person.call("session.create", { session_id: "s" });
  const inject = (n: number): Promise<{ seq: number }> =>
    person.call("chat.inject", { session_id: "s", role: "user", content: `${n}`, idempotency_key: `k-${n}` });
  const answers = [await inject(1), await inject(2), await inject(3)];
  expect(await refusal(inject(4))).toMatchObject(full("keys_per_user"));
  expect(await inject(2)).toEqual(answers[1] as { seq: number });
  expect((await person.call("chat.history", { session_id: "s" })).total).toBe(3);
  expect(await person.call("chat.inject", { session_id: "s", role: "user", content: "no key" })).toBeObject();
});
