import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Made } from "./inbound.fixture.ts";
import { bearer, deliverTo, makeHook } from "./inbound.fixture.ts";
import type { Answer, Person, Stack } from "./stack.ts";
import { eventually, refusal, startStack } from "./stack.ts";

/** Hooks that others deliver messages by: how they change, how long they are there, and their bounds. */

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({ config: { limits: { hooks_per_user: 30, hook_calls_per_minute: 20 } } });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const hook = (params: Record<string, unknown> = {}, by = owner): Promise<Made> => makeHook(by, params);
const deliver = (
  to: { path: string },
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> => deliverTo(stack, to, body, headers);

describe("a hook", () => {
  test("that is rotated takes the new secret, and the old one as long as it was said", async () => {
    const it = await hook();
    const kept = await owner.call("hook.rotate", { hook_id: it.hook_id, keep_secs: 600 });
    expect(kept.previous_until).toBeGreaterThan(Date.now());
    for (const each of [it, kept]) expect((await deliver(it, { text: "a" }, bearer(each))).status).toBe(202);
    const next = await owner.call("hook.rotate", { hook_id: it.hook_id });
    const outcomes = [it, kept, next].map(
      async (each) => (await deliver(it, { text: "a" }, bearer(each))).status,
    );
    expect(await Promise.all(outcomes)).toEqual([401, 401, 202]);
  });

  test("that is deleted is gone, and its name is free", async () => {
    const it = await hook();
    expect(await owner.call("hook.delete", { hook_id: it.hook_id })).toEqual({ deleted: true });
    expect((await deliver(it, { text: "a" }, bearer(it))).status).toBe(401);
    const again = await owner.call("hook.create", { name: it.name, session_id: "s", template: "x" });
    expect(again.hook_id).not.toBe(it.hook_id);
    const taken = hook({ name: it.name });
    expect(await refusal(taken)).toMatchObject({ code: "CONFLICT", details: { kind: "exists" } });
  });

  test.each([
    [{ template: "{{$env.HOME}}" }, "template"],
    [{ session_id: "a/b" }, "session_id"],
    [{ secret: "whsec_no-base64-here", verify: "standard" }, "secret"],
    [{ secret: "short" }, "secret"],
    [{ name: "Upper" }, "name"],
  ])("that cannot work is refused: %p", async (params, path) => {
    expect(await refusal(hook(params))).toMatchObject({ code: "INVALID_REQUEST", details: { path } });
  });

  test("goes with its user", async () => {
    const user = await stack.guest({ user: "leaves", role: "user" });
    const it = await hook({}, user);
    await owner.call("user.delete", { user: "leaves", sessions: "delete" });
    expect((await deliver(it, { text: "a" }, bearer(it))).status).toBe(401);
    await eventually(
      () => owner.call("hook.list"),
      ({ hooks }) => hooks.every(({ owner: of }: Made) => of !== "leaves"),
    );
  });

  test("is there after a restart, and knows what it had taken in", async () => {
    const it = await hook();
    const headers = { ...bearer(it), "webhook-id": "kept" };
    const first = await deliver(it, { text: "a" }, headers);
    stack.gateway.kill("SIGKILL");
    await stack.gateway.restart();
    const second = await deliver(it, { text: "a" }, headers);
    expect([second.status, second.json.message_id]).toEqual([202, first.json.message_id]);
  });

  test("what it takes in, and what it refuses, is in the audit trail", async () => {
    const it = await hook();
    await deliver(it, { text: "a" }, bearer(it));
    await deliver(it, { text: "a" }, { authorization: "Bearer wrong" });
    const about = ({ target, credential }: Made): boolean => [target, credential].includes(it.hook_id);
    const { entries } = await eventually(
      () => owner.call("audit.list", { action: "hook", limit: 200 }),
      (list) => list.entries.filter(about).length === 3,
    );
    expect(entries.filter(about).map(({ action, outcome }: Made) => [action, outcome])).toEqual(
      expect.arrayContaining([
        ["hook.create", "ok"],
        ["hook.call", "ok"],
        ["hook.call", "UNAUTHORIZED"],
      ]),
    );
    expect(JSON.stringify(entries)).not.toContain(it.secret);
  });

  test("hook_calls_per_minute: one more is told to wait, and nobody else is", async () => {
    const [it, other] = [await hook({ dedupe: "body" }), await hook()];
    const answers = await Promise.all(
      Array.from({ length: 21 }, () => deliver(it, { text: "a" }, bearer(it))),
    );
    const late = answers.filter(({ status }) => status === 429);
    expect(late).toHaveLength(1);
    expect(late[0]?.json.error).toMatchObject({
      code: "RATE_LIMITED",
      details: { what: "hook_calls_per_minute", limit: 20 },
    });
    expect(Number(late[0]?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await deliver(it, { text: "a" }, { authorization: "Bearer wrong" })).status).toBe(401);
    expect((await deliver(other, { text: "a" }, bearer(other))).status).toBe(202);
  });

  test("hooks_per_user: one more is refused", async () => {
    const user = await stack.guest({ user: "many", role: "user" });
    for (let i = 0; i < 30; i++) await hook({}, user);
    expect(await refusal(hook({}, user))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "full", what: "hooks_per_user", limit: 30 },
    });
    const { hooks } = await user.call("hook.list");
    await user.call("hook.delete", { hook_id: hooks[0].hook_id });
    await hook({}, user);
  });
});
