import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { ended, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

interface Keyed {
  readonly method: string;
  readonly params: Record<string, unknown>;
  /** What the second may not have made again. */
  readonly count: () => Promise<number>;
}

/** One request with a key for every method that takes one, in sessions of its own. */
async function requests(name: string): Promise<Keyed[]> {
  const source = `${name}-source`;
  await owner.call("session.create", { session_id: source });
  await owner.call("chat.inject", { session_id: source, role: "user", content: "x" });
  const total = async (): Promise<number> => (await owner.call("chat.history", { session_id: source })).total;
  const head = async (): Promise<number> => (await owner.call("session.get", { session_id: source })).head;
  const sessions = async (): Promise<number> => (await owner.call("system.stats")).total_sessions;
  const keyed = (method: string, params: Record<string, unknown>, count: () => Promise<number>): Keyed => ({
    method,
    params: { ...params, idempotency_key: `${name}-${method}` },
    count,
  });
  return [
    keyed(
      "chat.inject",
      { session_id: source, role: "user", content: "once", metadata: { b: 1, a: 2 } },
      total,
    ),
    keyed("session.create", { title: "once" }, sessions),
    keyed("session.fork", { session_id: source }, sessions),
    keyed("event.send", { session_id: source, event: "app.once", payload: { a: 1 }, durable: true }, head),
    keyed("event.broadcast", { event: "app.once", payload: { a: 1 } }, async () => 0),
    keyed("chat.send", { session_id: `${name}-made`, message: "once" }, sessions),
  ];
}

/** The same request as somebody else would write it: keys in another order, defaults said. */
function rewritten({ method, params }: Keyed): Record<string, unknown> {
  const turned = Object.fromEntries(Object.entries(params).toReversed());
  const { metadata } = params;
  const defaults = method === "event.send" ? { durable: true } : {};
  return { ...turned, ...defaults, ...(metadata !== undefined && { metadata: { a: 2, b: 1 } }) };
}

/** What makes it another request. */
const OTHER: Readonly<Record<string, Record<string, unknown>>> = {
  "chat.inject": { content: "other" },
  "chat.send": { message: "other" },
  "session.create": { title: "other" },
  "session.fork": { message_id: "msg_other" },
  "event.send": { payload: {} },
  "event.broadcast": { payload: {} },
};

describe("the same request with the same key", () => {
  test("at once, later, over another transport and written otherwise: one effect, one answer", async () => {
    await using socket = await owner.connect();
    for (const keyed of await requests("live")) {
      const { method, params, count } = keyed;
      const [first, second] = await Promise.all([owner.call(method, params), owner.call(method, params)]);
      expect([method, second]).toEqual([method, first]);
      if (first.run_id !== undefined) await ended(owner, first.run_id);
      const before = await count();
      const again = [
        await owner.call(method, rewritten(keyed)),
        await socket.request(method, { ...params, ...(method === "chat.send" && { subscribe: false }) }),
      ];
      expect([method, ...again]).toEqual([method, first, first]);
      expect([method, await count()]).toEqual([method, before]);
    }
  });

  test("after kill -9: the same answer, for each", async () => {
    const all = await requests("killed");
    const answers = await Promise.all(all.map(({ method, params }) => owner.call(method, params)));
    stack.gateway.kill("SIGKILL");
    await stack.gateway.restart();
    for (const [i, { method, params, count }] of all.entries()) {
      const before = await count();
      const answer = await owner.call(method, params);
      expect([method, answer, await count()]).toEqual([method, answers[i], before]);
      const other = owner.call(method, { ...params, ...OTHER[method] });
      expect([method, await refusal(other)]).toMatchObject([
        method,
        { code: "IDEMPOTENCY_MISMATCH", status: 4022, retryable: false },
      ]);
    }
  });
});

describe("a key", () => {
  test("is its user's alone, and of one method", async () => {
    const ann = await stack.guest({ user: "ann", role: "user" });
    const params = { title: "t", idempotency_key: "shared-key" };
    const [mine, hers] = [
      await owner.call("session.create", params),
      await ann.call("session.create", params),
    ];
    expect(mine.session_id).not.toBe(hers.session_id);
    expect(
      await refusal(owner.call("chat.send", { message: "x", idempotency_key: "shared-key" })),
    ).toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
    expect(await ann.call("session.create", params)).toEqual(hers);
  });

  test("is not used up by a request that failed", async () => {
    const key = { idempotency_key: "failed-first" };
    expect(
      await refusal(owner.call("chat.inject", { session_id: "not-yet", role: "user", content: "x", ...key })),
    ).toMatchObject({ code: "NOT_FOUND" });
    expect(
      await refusal(owner.call("chat.send", { session_id: "not-yet", message: "x".repeat(200_000), ...key })),
    ).toMatchObject({ code: "TOO_LARGE" });
    await owner.call("session.create", { session_id: "not-yet" });
    expect(
      await owner.call("chat.inject", { session_id: "not-yet", role: "user", content: "x", ...key }),
    ).toMatchObject({ seq: 2 });
  });

  test("has 1 to 128 characters, of any kind", async () => {
    for (const idempotency_key of ["", "x".repeat(129), 1, null]) {
      expect(await refusal(owner.call("session.create", { idempotency_key }))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { path: "idempotency_key" },
      });
    }
    for (const idempotency_key of ["k", "☃".repeat(128), "a b\n'\"", "__proto__"]) {
      const first = await owner.call("session.create", { idempotency_key });
      expect(await owner.call("session.create", { idempotency_key })).toEqual(first);
    }
  });

  test("of something that was deleted meanwhile is GONE", async () => {
    const params = { session_id: "short-lived", idempotency_key: "deleted" };
    await owner.call("session.create", { session_id: "short-lived" });
    const inject = { ...params, role: "user", content: "x" };
    await owner.call("chat.inject", inject);
    await owner.call("session.delete", { session_id: "short-lived" });
    expect(await refusal(owner.call("chat.inject", inject))).toMatchObject({ code: "GONE" });
  });
});
