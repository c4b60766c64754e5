import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { script } from "../support/model-script.ts";
import { seeded } from "../support/random.ts";
import type { Person, Stack } from "./stack.ts";
import { eventually, idle, refusal, say, startStack } from "./stack.ts";

const provider = { prices: { "fake-*": { input: 1, cached_input: 0.5, output: 10 } } };
const llm = { currency: "EUR" };

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    provider,
    llm,
    config: { budgets: { users: { poor: { day_tokens: 10 }, meagre: { day_tokens: 10 } } } },
  });
  ({ owner } = stack);
});
afterAll(() => stack[Symbol.asyncDispose]());

const USAGE = {
  prompt_tokens: 10,
  completion_tokens: 3,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
};
/** Of one call that used that. */
const ONCE = {
  calls: 1,
  unknown_calls: 0,
  unpriced_calls: 0,
  input_tokens: 10,
  output_tokens: 3,
  cached_tokens: 4,
  reasoning_tokens: 2,
  cost: 6 * 1_000 + 4 * 500 + 3 * 10_000,
};
const today = (): string => new Date().toISOString().slice(0, 10);

async function asks(person: Person, params: Record<string, unknown>) {
  stack.model.reply().text("hello").usage(USAGE);
  return say(person, { message: "hi", ...params });
}

describe("who used what", () => {
  test("is in the message, the run, the accounts and the statistics", async () => {
    const ann = await stack.guest({ user: "ann", role: "user" });
    const before = await owner.call("system.stats");
    const { run } = await asks(ann, { session_id: "a" });
    const usage = {
      input_tokens: 10,
      output_tokens: 3,
      cached_tokens: 4,
      reasoning_tokens: 2,
      cost: ONCE.cost,
    };
    expect(run).toMatchObject({ status: "completed", usage });
    const { messages } = await ann.call("chat.history", { session_id: "a" });
    expect(messages.at(-1)).toMatchObject({ usage });
    expect(await ann.call("usage.get")).toEqual({ currency: "EUR", total: ONCE });
    const { tokens, cost, currency } = await owner.call("system.stats");
    expect([
      tokens.calls,
      tokens.input,
      tokens.output,
      tokens.cached,
      tokens.reasoning,
      cost,
      currency,
    ]).toEqual([
      before.tokens.calls + 1,
      before.tokens.input + 10,
      before.tokens.output + 3,
      before.tokens.cached + 4,
      before.tokens.reasoning + 2,
      (before.cost ?? 0) + ONCE.cost,
      "EUR",
    ]);
  });

  test("in groups, between days, and the same over REST", async () => {
    const bea = await stack.guest({ user: "bea", role: "user" });
    await asks(bea, { session_id: "one" });
    await asks(bea, { session_id: "one" });
    await asks(bea, { session_id: "two" });
    const by = async (group: string) => (await bea.call("usage.get", { by: group })).groups;
    const thrice = { calls: 3, input_tokens: 30, cost: 3 * ONCE.cost };
    expect(await by("day")).toMatchObject([{ day: today(), ...thrice }]);
    expect(await by("model")).toMatchObject([{ model: "test/fake-1", ...thrice }]);
    // By the names their owner has for them.
    expect(await by("session")).toMatchObject([
      { session_id: "one", calls: 2 },
      { session_id: "two", calls: 1 },
    ]);
    expect(await bea.call("usage.get", { by: "session", limit: 1 })).toMatchObject({
      total: thrice,
      groups: [{ session_id: "one" }],
      more: true,
    });
    const none = await bea.call("usage.get", { until: "2020-01-01" });
    // Without a cost, which is not the same as one of nothing.
    expect(none.total).toEqual(zeros());
    const { status, json } = await bea.ask("GET", `/api/v1/usage?by=model&since=${today()}&limit=5`);
    expect([status, json]).toEqual([200, await bea.call("usage.get", { by: "model", since: today() })]);
  });

  test("of others is told to whoever has system.read, of a session to whoever may read it", async () => {
    const [cal, operator] = [
      await stack.guest({ user: "cal", role: "user" }),
      await stack.guest({ user: "op", role: "operator" }),
    ];
    await asks(cal, { session_id: "mine" });
    for (const params of [{ user: "owner" }, { everybody: true }, { by: "user" }]) {
      expect(await refusal(cal.call("usage.get", params))).toMatchObject({
        code: "FORBIDDEN",
        details: { kind: "scope", scope: "system.read" },
      });
    }
    expect(await cal.call("usage.get", { user: "cal" })).toMatchObject({ total: ONCE });
    expect(await operator.call("usage.get", { user: "cal" })).toMatchObject({ total: ONCE });
    const { total, groups } = await operator.call("usage.get", { by: "user" });
    expect(groups).toContainEqual({ user: "cal", ...ONCE });
    expect(total.calls).toBe(groups.reduce((sum: number, { calls }: { calls: number }) => sum + calls, 0));
    expect((await operator.call("usage.get", { everybody: true })).total).toEqual(total);
    // Not theirs, and so not there.
    expect(await refusal(operator.call("usage.get", { session_id: "mine" }))).toMatchObject({
      code: "NOT_FOUND",
    });
    await cal.call("session.share", { session_id: "mine", user: "op", role: "viewer" });
    const { sessions } = await operator.call("session.list");
    const { session_id } = sessions[0];
    expect(await operator.call("usage.get", { session_id })).toEqual({ currency: "EUR", total: ONCE });
    const own = await cal.call("usage.get", { session_id: "mine", by: "day" });
    expect(own).toMatchObject({ total: ONCE, groups: [{ day: today() }] });
    // Sessions of others have the gateway's names.
    const everywhere = await operator.call("usage.get", { by: "session", everybody: true });
    for (const group of everywhere.groups) expect(group.session_id).toStartWith("ses_");
  });

  test("about two things at once makes no sense", async () => {
    for (const params of [
      { user: "owner", everybody: true },
      { user: "owner", session_id: "x" },
      { by: "user", session_id: "x" },
    ])
      expect(await refusal(owner.call("usage.get", params))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { kind: "usage" },
      });
    for (const [field, value] of [
      ["by", "week"],
      ["since", "yesterday"],
      ["limit", 501],
    ] as const)
      expect(await refusal(owner.call("usage.get", { [field]: value }))).toMatchObject({
        details: { path: field },
      });
  });

  test("a session that is deleted leaves what its user used; a user who is deleted leaves nothing", async () => {
    const dan = await stack.guest({ user: "dan", role: "user" });
    await asks(dan, { session_id: "gone" });
    await dan.call("session.delete", { session_id: "gone" });
    expect(await dan.call("usage.get", { by: "session" })).toMatchObject({ total: ONCE, groups: [] });
    await owner.call("user.delete", { user: "dan", sessions: "delete" });
    expect(await owner.call("usage.get", { user: "dan" })).toMatchObject({ total: zeros() });
  });
});

function zeros() {
  const { cost: _, ...amounts } = ONCE;
  return Object.fromEntries(Object.keys(amounts).map((key) => [key, 0]));
}

test("a budget that is spent ends runs and refuses messages, for everybody to see", async () => {
  const poor = await stack.guest({ user: "poor", role: "user" });
  await asks(poor, { session_id: "p" });
  const spent = {
    code: "CONFLICT",
    retryable: false,
    details: { kind: "budget", what: "day_tokens", limit: 10, spent: 13 },
  };
  expect(await refusal(poor.call("chat.send", { session_id: "p", message: "more" }))).toMatchObject(spent);
  const over = await poor.ask("POST", "/api/v1/chat", { body: { message: "more" } });
  expect([over.status, over.json.error]).toMatchObject([409, spent]);
  const { budgets } = await poor.call("usage.get");
  const midnight = Date.parse(today()) + 86_400_000;
  expect(budgets).toEqual([{ what: "day_tokens", limit: 10, spent: 13, resets_at: midnight }]);
  expect((await owner.call("system.stats")).limits.day_tokens).toBeGreaterThanOrEqual(2);
  // A run that has more to do ends with it, and whoever follows the session reads why.
  const meagre = await stack.guest({ user: "meagre", role: "user" });
  await owner.call("session.create", { session_id: "watched" });
  await owner.call("session.share", { session_id: "watched", user: "meagre", role: "editor" });
  await using watcher = await owner.connect();
  await watcher.request("session.subscribe", { session_id: "watched" });
  stack.model.reply().tool("time", {}).usage(USAGE);
  const { sessions } = await meagre.call("session.list");
  await meagre.call("chat.send", { session_id: sessions[0].session_id, message: "go" });
  const { json } = await watcher.nextEvent("run.failed");
  expect(json.payload.run).toMatchObject({ error: spent, usage: { input_tokens: 10 } });
});

test("killed at any moment, what a run used is in the accounts as often as the run says: once", async () => {
  const tools = { builtin: ["time"], policy: { "*": "allow" } };
  await using killed = await startStack({ provider, llm, config: { tools } });
  const random = seeded(20_251_129);
  killed.model.otherwise(({ body }) => {
    const calls = body.messages.at(-1)?.role === "user";
    const answer = calls ? script().tool("time", {}) : script().tokens(5, { everyMs: 1 });
    return answer.usage(USAGE);
  });
  let cycle = 0;
  for (; cycle < 6; cycle++) {
    const sends = Array.from({ length: 8 }, async (_, n) => {
      for (let i = 0; ; i++) {
        const answer = killed.owner.call("chat.send", { session_id: `${cycle}-${n}`, message: `go ${i}` });
        if ((await answer.catch(() => null)) === null) return;
      }
    });
    await Bun.sleep(random.between(50, 1_000));
    killed.gateway.kill("SIGKILL");
    await killed.gateway.exited;
    await Promise.all(sends);
    await killed.gateway.restart();
    await idle(killed);
    await expectBalance(killed);
  }
  expect(await statuses(killed)).toContain("completed");
  expect(await statuses(killed)).toContain("interrupted");
}, 60_000);

// oxlint-disable-next-line typescript/no-explicit-any -- a test looks wherever it likes
async function allRuns({ owner: of }: Stack): Promise<any[]> {
  const all = [];
  for (let cursor: string | undefined; ;) {
    const { runs, next } = await of.call("run.list", { limit: 200, ...(cursor !== undefined && { cursor }) });
    all.push(...runs);
    if (next === undefined) return all;
    cursor = next;
  }
}

const statuses = async (of: Stack): Promise<string[]> => (await allRuns(of)).map(({ status }) => status);

async function expectBalance(of: Stack): Promise<void> {
  const runs = await eventually(
    () => allRuns(of),
    (all) => all.every(({ ended_at }) => ended_at !== undefined),
  );
  const sum = (what: string): number => runs.reduce((total, { usage }) => total + (usage?.[what] ?? 0), 0);
  const sums = Object.fromEntries(["input_tokens", "output_tokens", "cost"].map((what) => [what, sum(what)]));
  const { total } = await of.owner.call("usage.get");
  const { groups } = await of.owner.call("usage.get", { by: "session", limit: 500 });
  // Where nothing was used yet, nothing is said of a cost.
  expect({ cost: 0, ...total }).toMatchObject(sums);
  const calls = groups.reduce((all: number, group: { calls: number }) => all + group.calls, 0);
  expect(calls).toBe(total.calls);
}
