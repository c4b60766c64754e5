import { afterEach, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Tool, ToolCall } from "../../src/core/ports.ts";
import type { Store } from "../../src/core/store.ts";
import type { SessionRef } from "../../src/core/session.ts";
import type { CommandAppend } from "../../src/method/append.ts";
import { appendAlone } from "../../src/method/append.ts";
import { transferSession } from "../../src/method/session-end.ts";
import type { Approval } from "../../src/protocol/entities.ts";
import { createMemoryStore } from "../../src/store/memory.ts";
import { manualClock } from "../support/clock.ts";
import type { FakeConnection, Script, TestEngine, TestEngineOptions } from "../support/engine.ts";
import { startEngine, until } from "../support/engine.ts";

const scenes: TestEngine[] = [];
afterEach(async () => {
  for (const scene of scenes.splice(0)) await scene.close();
});

/** A model that calls the tool `risky` in each of `turns` turns, and then says "done". */
async function start(turns = 1, options: TestEngineOptions = {}) {
  const made: string[] = [];
  const risky: Tool = {
    name: "risky",
    description: "does something",
    parameters: { type: "object" },
    source: "builtin",
    run: async () => {
      made.push("made");
      return "did it";
    },
  };
  let turn = 0;
  const script: Script = async function* () {
    if (turn++ % (turns + 1) < turns) {
      const call: ToolCall = { tool_call_id: `c${turn}`, name: "risky", arguments: `{"turn":${turn}}` };
      yield { type: "tool_call", call };
    } else yield { type: "text", text: "done" };
    yield { type: "done", finish_reason: "stop" };
  };
  const scene = await startEngine({ script, tools: [risky], policy: { "*": "ask" }, ...options });
  scenes.push(scene);
  return { ...scene, made };
}

const kinds = (owner: FakeConnection): string[] => owner.events().map(({ event }) => event);
const asked = (owner: FakeConnection): Approval[] =>
  owner.events().flatMap(({ event, payload }) => {
    return event === "tool.approval_requested" ? [(payload as { approval: Approval }).approval] : [];
  });
const results = (owner: FakeConnection): unknown[] =>
  owner.events().flatMap(({ event, payload }) => (event === "tool.result" ? [payload["content"]] : []));

async function waiting(owner: FakeConnection, nth = 0): Promise<Approval> {
  await until(() => asked(owner).length > nth, "it asks");
  return asked(owner)[nth] as Approval;
}
const send = (owner: FakeConnection) => owner.request("chat.send", { session_id: "s", message: "go" });
const completed = (owner: FakeConnection, times = 1) =>
  until(() => kinds(owner).filter((kind) => kind === "run.completed").length === times, "the run ends");

test("a call waits until somebody allows it, once; who answers second reads who was first", async () => {
  const { connect, made } = await start();
  const owner = connect();
  await send(owner);
  const approval = await waiting(owner);
  expect(approval).toMatchObject({ name: "risky", arguments: '{"turn":1}', tool_call_id: "c1" });
  expect(made).toEqual([]);
  const late = connect();
  const opened = await late.request<{ snapshot: { approvals: Approval[] } }>("session.subscribe", {
    session_id: "s",
  });
  expect(opened.snapshot.approvals).toEqual([approval]);
  const answer = { session_id: "s", approval_id: approval.approval_id, decision: "allow" };
  const answers = await Promise.allSettled([
    late.request("tool.approve", answer),
    owner.request("tool.approve", { ...answer, decision: "deny" }),
  ]);
  expect(answers[0]).toMatchObject({
    status: "fulfilled",
    value: { approval: { ...approval, decision: "allow", by: "owner" } },
  });
  expect(answers[1]).toMatchObject({
    status: "rejected",
    reason: { reason: "CONFLICT", details: { kind: "state" } },
  });
  await completed(owner);
  expect(made).toEqual(["made"]);
  expect(kinds(owner).slice(4, 9)).toEqual([
    "tool.call",
    "message.completed",
    "tool.approval_requested",
    "tool.approval_resolved",
    "tool.result",
  ]);
  await expect(owner.request("tool.approve", answer)).rejects.toMatchObject({
    reason: "CONFLICT",
    details: { kind: "state", decision: "allow" },
  });
  await expect(owner.request("tool.approve", { ...answer, approval_id: "apr_none" })).rejects.toMatchObject({
    reason: "NOT_FOUND",
  });
});

test("denied: the tool is not called, and the model goes on knowing it", async () => {
  const { connect, made } = await start();
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  await owner.request("tool.approve", { session_id: "s", approval_id, decision: "deny" });
  await completed(owner);
  expect(made).toEqual([]);
  expect(results(owner)).toEqual(["not allowed: owner said no"]);
});

test("allowed for the session: it is not asked again there, and elsewhere it is", async () => {
  const { connect, made } = await start(2);
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  const answer = { session_id: "s", approval_id, decision: "allow", remember: "session" };
  await owner.request("tool.approve", answer);
  await completed(owner);
  await send(owner);
  await completed(owner, 2);
  expect(made).toHaveLength(4);
  expect(asked(owner)).toHaveLength(1);
  await owner.request("chat.send", { session_id: "other", message: "go" });
  expect((await waiting(owner, 1)).name).toBe("risky");
});

test("nobody answers in time: it is not called", async () => {
  const clock = manualClock();
  const { connect, made } = await start(1, { clock, approval_timeout_ms: 60_000, run_timeout_ms: 900_000 });
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  clock.advance(59_000);
  expect(kinds(owner)).not.toContain("tool.approval_resolved");
  clock.advance(1_000);
  await completed(owner);
  expect(made).toEqual([]);
  expect(results(owner)).toEqual(["not allowed: nobody answered in time"]);
  await expect(
    owner.request("tool.approve", { session_id: "s", approval_id, decision: "allow" }),
  ).rejects.toMatchObject({ details: { decision: "expired" } });
});

test("where nobody is there who could allow it, it waits or is refused, as configured", async () => {
  const { connect, engine } = await start(1, { unattended: "deny" });
  const viewer = connect("bob");
  const owner = connect();
  await owner.request("session.create", { session_id: "s" });
  await owner.request("session.share", { session_id: "s", user: "bob", role: "viewer" });
  await owner.request("chat.send", { session_id: "s", message: "go", subscribe: false });
  owner.close();
  await engine.runs.settled();
  expect(viewer.closed).toBe(false);
  const again = connect();
  const { messages } = await again.request<{ messages: { role: string; content: string }[] }>(
    "chat.history",
    {
      session_id: "s",
    },
  );
  expect(messages.filter(({ role }) => role === "tool").map(({ content }) => content)).toEqual([
    "not allowed: nobody is there who could allow it",
  ]);
});

test("an abort while it waits ends the wait: expired, in the order the end has", async () => {
  const { connect, made } = await start();
  const owner = connect();
  await send(owner);
  await waiting(owner);
  await owner.request("chat.abort", { session_id: "s" });
  expect(kinds(owner).slice(-3)).toEqual(["tool.result", "tool.approval_resolved", "run.aborted"]);
  expect(made).toEqual([]);
});

test("an answer and an abort at once: the approval is answered once, and the run ends once", async () => {
  for (let i = 0; i < 20; i++) {
    const { connect } = await start();
    const owner = connect();
    await send(owner);
    const { approval_id } = await waiting(owner);
    const answer = owner.request("tool.approve", { session_id: "s", approval_id, decision: "allow" });
    const abort = owner.request("chat.abort", { session_id: "s" });
    await Promise.allSettled([answer, abort]);
    await until(() => kinds(owner).some((kind) => /^run\.(aborted|completed)$/.test(kind)));
    const resolved = owner.events().filter(({ event }) => event === "tool.approval_resolved");
    expect(resolved).toHaveLength(1);
    expect(kinds(owner).filter((kind) => /^run\.(aborted|completed)$/.test(kind))).toHaveLength(1);
    const calls = kinds(owner).filter((kind) => kind === "tool.call").length;
    expect(results(owner)).toHaveLength(calls);
  }
});

test("a viewer may not answer, an editor may", async () => {
  const { connect } = await start();
  const owner = connect();
  await owner.request("session.create", { session_id: "s" });
  await owner.request("session.share", { session_id: "s", user: "vic", role: "viewer" });
  await owner.request("session.share", { session_id: "s", user: "eda", role: "editor" });
  await send(owner);
  const { approval_id } = await waiting(owner);
  const { session_id } = (
    await connect("eda").request<{ sessions: { session_id: string }[] }>("session.list")
  ).sessions[0] as { session_id: string };
  const answer = { session_id, approval_id, decision: "allow" };
  await expect(connect("vic").request("tool.approve", answer)).rejects.toMatchObject({ reason: "FORBIDDEN" });
  await expect(connect("zoe").request("tool.approve", answer)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  expect(await connect("eda").request("tool.approve", answer)).toMatchObject({ approval: { by: "eda" } });
  await completed(owner);
});

test("the audit trail names the session by the gateway's id, whoever answers and whatever they call it", async () => {
  const { connect, engine, store } = await start();
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  await owner.request("tool.approve", { session_id: "s", approval_id, decision: "deny" });
  await completed(owner);
  await engine.journal.drained();
  const session = (await store.named("owner", "s")) as { id: string };
  expect(await store.audit({ limit: 10, action: "tool.approve" })).toMatchObject([
    { outcome: "ok", user: "owner", target: session.id },
  ]);
});

test("an answer under an id that waits for none reads that one alone, however many there were in the session", async () => {
  const memory = createMemoryStore({ clock: systemClock, limits: DEFAULT_LIMITS });
  const read: string[] = [];
  const store: Store = {
    ...memory,
    records: async (collection, owner) => {
      read.push(collection);
      return memory.records(collection, owner);
    },
  };
  const { connect } = await start(1, { store });
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  const answer = (session_id: string, id: string): Promise<unknown> =>
    owner
      .request("tool.approve", { session_id, approval_id: id, decision: "deny" })
      .catch((error: { reason: string }) => error.reason);
  await answer("s", approval_id);
  await completed(owner);
  await owner.request("session.create", { session_id: "other" });
  read.length = 0;
  expect(await answer("s", approval_id)).toBe("CONFLICT");
  // That of another session is none here.
  expect(await answer("other", approval_id)).toBe("NOT_FOUND");
  expect(await answer("s", "apr_none")).toBe("NOT_FOUND");
  expect(read).toEqual([]);
});

test("a repeated answer is counted in the audit trail, and told to nobody it is not shared with any more", async () => {
  const { connect, engine, store } = await start();
  const [owner, bob] = [connect(), connect("bob")];
  await send(owner);
  const { approval_id } = await waiting(owner);
  await owner.request("session.share", { session_id: "s", user: "bob", role: "editor" });
  const { sessions } = await bob.request<{ sessions: { session_id: string }[] }>("session.list");
  const session_id = sessions[0]?.session_id ?? "";
  const answer = () =>
    bob.request("tool.approve", { session_id, approval_id, decision: "allow", idempotency_key: "k" });
  const first = await answer();
  await completed(owner);
  for (let i = 0; i < 20; i++) expect(await answer()).toEqual(first);
  await engine.journal.drained();
  // The answer itself, and the first of its repetitions.
  expect(await store.audit({ limit: 50, action: "tool.approve" })).toHaveLength(2);
  await owner.request("session.unshare", { session_id: "s", user: "bob" });
  await expect(answer()).rejects.toMatchObject({ reason: "NOT_FOUND" });
});

test("what was allowed goes when the session becomes somebody else's", async () => {
  const { connect, engine, made } = await start();
  const owner = connect();
  await send(owner);
  const { approval_id } = await waiting(owner);
  const answer = { session_id: "s", approval_id, decision: "allow", remember: "session" };
  await owner.request("tool.approve", answer);
  await completed(owner);
  const session = engine.directory.known("owner", "s") as SessionRef;
  const write = (command: CommandAppend): Promise<void> => appendAlone(engine.journal, command);
  const to = { to: "heir", by: "owner" };
  await transferSession({ ...engine, clock: systemClock }, session, to, write);
  const heir = connect("heir");
  await heir.request("chat.send", { session_id: session.id, message: "go" });
  expect((await waiting(heir)).name).toBe("risky");
  expect(made).toHaveLength(1);
});
