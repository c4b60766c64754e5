import { expect, test } from "bun:test";
import type { ModelEvent } from "../../src/core/ports.ts";
import type { UsageGrouping } from "../../src/core/usage.ts";
import { addUsage } from "../../src/core/usage.ts";
import type { Usage } from "../../src/protocol/entities.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { systemClock } from "../../src/clock.ts";
import type { FakeConnection, Script, TestEngine } from "../support/engine.ts";
import { until } from "../support/engine.ts";
import { withFaults } from "../support/fault-store.ts";
import { call, closesEngines, ended, say, start, tool } from "./tools.fixture.ts";

closesEngines();

const PRICES = { a: { one: { input: 1, output: 2 } }, b: { two: { input: 10, output: 20 } } };
const by = (model: string): ModelEvent => ({ type: "model", model });
const text = (said = "hello"): ModelEvent => ({ type: "text", text: said });
const used = (input_tokens: number, output_tokens: number, more: Partial<Usage> = {}): ModelEvent => ({
  type: "usage",
  usage: { input_tokens, output_tokens, ...more },
});
const done: ModelEvent = { type: "done", finish_reason: "stop" };
const calls: ModelEvent = { type: "tool_call", call: call("look", { n: 0 }) };
const broken: ModelEvent = { type: "error", error: new GatewayError("UPSTREAM_ERROR", "no more") };
const retrying: ModelEvent = { type: "retrying", attempt: 1, reason: "no" };

/** Answers call n of the model with list n. */
function plays(...turns: readonly ModelEvent[][]): Script {
  let asked = 0;
  return async function* () {
    yield* turns[asked++] ?? [text(), done];
  };
}

async function accounts({ store }: TestEngine, by_: UsageGrouping = "model") {
  const rows = await store.usage({ by: by_, currency: "EUR", limit: 99 });
  return rows.map((row) => [
    row.key,
    row.calls,
    row.unknown_calls,
    row.input_tokens,
    row.output_tokens,
    row.priced_calls > 0 ? row.cost : null,
  ]);
}

const lastRun = (owner: FakeConnection): unknown => owner.events().at(-1)?.payload["run"];
const usages = (owner: FakeConnection): unknown[] =>
  owner
    .events()
    .flatMap(({ event, payload }) =>
      event === "message.completed" ? [(payload["message"] as { usage?: unknown }).usage] : [],
    );

test("a run sums what its calls used, each by the model that answered and at its price", async () => {
  const script = plays([by("a/one"), calls, used(100, 10), done], [by("b/two"), text(), used(50, 5), done]);
  const scene = await start({ script, prices: PRICES, tools: [tool("look")] });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(usages(owner)).toEqual([
    { input_tokens: 100, output_tokens: 10, cost: 120_000 },
    { input_tokens: 50, output_tokens: 5, cost: 600_000 },
  ]);
  expect(lastRun(owner)).toMatchObject({
    usage: { input_tokens: 150, output_tokens: 15, cost: 720_000 },
  });
  expect(await accounts(scene)).toEqual([
    ["a/one", 1, 0, 100, 10, 120_000],
    ["b/two", 1, 0, 50, 5, 600_000],
  ]);
  const [session] = await accounts(scene, "session");
  expect(session?.slice(1)).toEqual([2, 0, 150, 15, 720_000]);
  expect(scene.engine.ledger.totals()).toEqual({
    calls: 2,
    unknown_calls: 0,
    input: 150,
    output: 15,
    cached: 0,
    reasoning: 0,
    cost: 720_000,
  });
});

test("without a price there is no cost, not one of nothing; a run with one call that has none has none", async () => {
  const script = plays([by("a/one"), calls, used(1, 1), done], [by("c/own"), text(), used(2, 2), done]);
  const scene = await start({ script, prices: PRICES, tools: [tool("look")] });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(usages(owner)[1]).toEqual({ input_tokens: 2, output_tokens: 2 });
  expect(lastRun(owner)).toMatchObject({ usage: { input_tokens: 3, output_tokens: 3 } });
  expect(JSON.stringify(lastRun(owner))).not.toContain("cost");
  expect(await accounts(scene)).toEqual([
    ["c/own", 1, 0, 2, 2, null],
    ["a/one", 1, 0, 1, 1, 3_000],
  ]);
});

test("calls of which no usage is told are counted as such, and never guessed", async () => {
  const told = plays([by("a/one"), calls, used(1, 1), done], [by("a/one"), text(), done]);
  const scene = await start({ script: told, prices: PRICES, tools: [tool("look")] });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(usages(owner)[1]).toBeUndefined();
  expect(lastRun(owner)).toMatchObject({
    usage: { input_tokens: 1, output_tokens: 1, cost: 3_000, unknown_calls: 1 },
  });
  expect(await accounts(scene)).toEqual([["a/one", 2, 1, 1, 1, 3_000]]);
  const mute = await start({ script: plays([by("a/one"), text(), done]) });
  const other = mute.connect();
  await say(other);
  await until(ended(other));
  expect(lastRun(other)).not.toHaveProperty("usage");
  expect(await accounts(mute)).toEqual([["a/one", 1, 1, 0, 0, null]]);
});

test("calls that failed, and those made in their place, count what was told of them", async () => {
  const script = plays([
    by("a/one"),
    used(7, 0),
    retrying,
    // Refused before it said anything: that is no call.
    by("b/two"),
    retrying,
    by("a/one"),
    used(9, 0),
    text("half"),
    used(9, 4),
    broken,
  ]);
  const scene = await start({ script, prices: PRICES });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  expect(lastRun(owner)).toMatchObject({
    status: "failed",
    usage: { input_tokens: 16, output_tokens: 4, cost: 24_000 },
  });
  // The message is by the call that wrote it.
  expect(usages(owner)).toEqual([{ input_tokens: 9, output_tokens: 4, cost: 17_000 }]);
  expect(await accounts(scene)).toEqual([["a/one", 2, 0, 16, 4, 24_000]]);
});

test("an answer that is cut off, by a user or by its length, is not free", async () => {
  const hangs: Script = async function* (_request, signal) {
    yield by("a/one");
    yield text();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    yield { type: "aborted" };
  };
  const scene = await start({ script: hangs });
  const owner = scene.connect();
  await say(owner);
  await until(() => owner.events().some(({ event }) => event === "message.delta"));
  await owner.request("chat.abort", { session_id: "s" });
  expect(await accounts(scene)).toEqual([["a/one", 1, 1, 0, 0, null]]);
  const long = await start({
    script: plays([by("a/one"), text("x".repeat(99)), used(1, 1), done]),
    limits: { assistant_bytes: 50, completed_inline_bytes: 50 },
  });
  const other = long.connect();
  await say(other);
  await until(ended(other));
  expect(lastRun(other)).toMatchObject({ status: "failed" });
  expect(await accounts(long)).toEqual([["a/one", 1, 1, 0, 0, null]]);
});

test("who sends uses it, also in somebody else's session; a title counts as well", async () => {
  const scene = await start({
    script: plays([text(), used(5, 1), done], [text("A title"), used(3, 1), done]),
  });
  const owner = scene.connect();
  const guest = scene.connect("bob");
  await owner.request("session.create", { session_id: "s" });
  await owner.request("session.share", { session_id: "s", user: "bob", role: "editor" });
  const { sessions } = await guest.request<{ sessions: { session_id: string }[] }>("session.list", {});
  await guest.request("chat.send", { session_id: sessions[0]?.session_id, message: "hi" });
  await scene.engine.runs.settled();
  await owner.request("session.title", { session_id: "s" });
  await scene.engine.journal.drained();
  expect(await accounts(scene, "user")).toEqual([
    ["bob", 1, 0, 5, 1, null],
    ["owner", 1, 0, 3, 1, null],
  ]);
  expect((await accounts(scene, "session")).map(([, ...sums]) => sums)).toEqual([[2, 0, 8, 2, null]]);
  expect(scene.engine.ledger.totals()).toMatchObject({ calls: 2, input: 8, output: 2 });
});

test("a title that fails counts what it used, too", async () => {
  const scene = await start({ script: plays([text(), used(5, 1), done], [used(3, 0), broken]) });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  await expect(owner.request("session.title", { session_id: "s" })).rejects.toMatchObject({
    reason: "UPSTREAM_ERROR",
  });
  await scene.engine.journal.drained();
  expect((await accounts(scene, "total"))[0]).toEqual(["", 2, 0, 8, 1, null]);
});

test("a title that is still made when its session is deleted counts for who asked for it", async () => {
  const naming = Promise.withResolvers<void>();
  let asked = 0;
  const script: Script = async function* () {
    if (asked++ > 0) await naming.promise;
    yield* [text(), used(5, 1), done];
  };
  const scene = await start({ script });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  const title = owner.request("session.title", { session_id: "s" });
  await until(() => asked === 2);
  await owner.request("session.delete", { session_id: "s" });
  naming.resolve();
  await expect(title).rejects.toMatchObject({ reason: "GONE" });
  await scene.engine.journal.drained();
  expect(await accounts(scene, "user")).toEqual([["owner", 2, 0, 10, 2, null]]);
});

test("a title nobody waits for any more before the model is asked is no call", async () => {
  const naming = Promise.withResolvers<void>();
  let asked = 0;
  const script: Script = async function* () {
    if (asked++ > 0) await naming.promise;
    yield* [text(), used(5, 1), done];
  };
  const scene = await start({ script });
  const owner = scene.connect();
  await say(owner);
  await until(ended(owner));
  const titles = [1, 2, 3, 4].map(() => owner.request("session.title", { session_id: "s" }));
  await until(() => asked === 5);
  const leaves = scene.connect();
  const last = leaves.request("session.title", { session_id: "s" }).catch(() => undefined);
  await scene.engine.journal.drained();
  leaves.close();
  naming.resolve();
  await Promise.all([...titles, last]);
  await scene.engine.journal.drained();
  expect(asked).toBe(5);
  expect(await accounts(scene, "total")).toEqual([["", 5, 0, 25, 5, null]]);
});

test("what is used is written once, with the message or the end that tells of it, whatever storage refuses", async () => {
  const limits = { ...DEFAULT_LIMITS };
  const clock = systemClock;
  const { store, faults } = withFaults(createMemoryStore({ clock, limits }));
  const script = plays([calls, used(100, 10), done], [text(), used(50, 5), done]);
  const scene = await start({ script, store, tools: [tool("look")] });
  const owner = scene.connect();
  await owner.request("session.create", { session_id: "s" });
  await owner.request("session.subscribe", { session_id: "s", after: 0 });
  // The operation that completes the first message is not taken: the end brings what it had to say.
  faults.failItem(
    (item) => item.kind === "append" && item.events.some(({ type }) => type === "message.completed"),
    { ok: false, reason: "full", what: "messages_per_session" },
  );
  await say(owner);
  await until(ended(owner));
  expect(lastRun(owner)).toMatchObject({ status: "failed", usage: { input_tokens: 100, output_tokens: 10 } });
  expect((await accounts(scene, "total"))[0]).toEqual(["", 1, 0, 100, 10, null]);
  const rows = faults.groups.flat().flatMap((item) => (item.kind === "append" ? [item] : []));
  const bringing = rows.filter((item) => item.rows.some(({ kind }) => kind === "usage.add"));
  expect(bringing.map(({ events }) => events.at(-1)?.type)).toEqual(["message.completed", "run.failed"]);
});

test("sums have no cost where one of their parts has none, and stay exact", () => {
  const a = { input_tokens: 1, output_tokens: 2, cost: 5 };
  const most = Number.MAX_SAFE_INTEGER;
  expect(addUsage(a, undefined)).toEqual(a);
  expect(addUsage(undefined, undefined)).toBeUndefined();
  expect(addUsage(a, { input_tokens: 1, output_tokens: 1, cached_tokens: 3 })).toEqual({
    input_tokens: 2,
    output_tokens: 3,
    cached_tokens: 3,
  });
  expect(addUsage({ ...a, cost: most }, { ...a, input_tokens: most })).toEqual({
    input_tokens: most,
    output_tokens: 4,
    cost: most,
  });
});
