import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { script } from "../support/model-script.ts";
import type { TestSocket } from "../support/ws-client.ts";
import type { Person, Stack } from "./stack.ts";
import { answering, ended, eventually, idle, isEnd, log, refusal, startStack, typesOf } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

/** Terminal events of the runs of a session, as they came. */
function ends(socket: TestSocket, session_id: string): [string, string][] {
  return log(socket, session_id)
    .filter(isEnd)
    .map(({ event, payload }) => [payload.run.run_id, event]);
}

describe("a message to a session that is answering", () => {
  test("queue: in the order they came, one at a time", async () => {
    const { model } = stack;
    const { socket, run_id: first } = await answering(stack, "queue");
    const sent = [];
    for (let i = 0; i < 4; i++) {
      model.reply().text(`answer ${i}`);
      sent.push(await socket.request("chat.send", { session_id: "queue", message: `message ${i}` }));
    }
    expect(sent.map(({ status }) => status)).toEqual(["queued", "queued", "queued", "queued"]);
    expect(await owner.call("system.status")).toMatchObject({ runs: { active: 1, queued: 4 } });
    expect((await owner.call("run.list", { session_id: "queue", status: "queued" })).runs).toHaveLength(4);
    await owner.call("chat.abort", { run_id: first });
    for (const { run_id } of sent) expect(await ended(owner, run_id)).toMatchObject({ status: "completed" });
    await socket.next(() => ends(socket, "queue").length === 5);
    const all = [first, ...sent.map(({ run_id }) => run_id)];
    expect(ends(socket, "queue")).toEqual(
      all.map((run_id, i) => [run_id, i === 0 ? "run.aborted" : "run.completed"]),
    );
    // Each begins behind the end of the one before it.
    const turns = log(socket, "queue").filter(
      ({ event }) => event.startsWith("run.") && event !== "run.queued",
    );
    expect(turns.map(({ run_id }) => run_id)).toEqual(all.flatMap((run_id) => [run_id, run_id]));
    // A model is shown what was said up to its own message, not what waits behind it.
    const shown = model.requests
      .slice(-4)
      .map(({ body }) => body.messages.map(({ content }: { content: string }) => content));
    expect(shown).toEqual(
      [0, 1, 2, 3].map((n) => [
        "first",
        "so far",
        ...Array.from({ length: n }, (_, i) => [`message ${i}`, `answer ${i}`]).flat(),
        `message ${n}`,
      ]),
    );
    socket.close();
  });

  test("interrupt: the message is committed first, then the old run ends, then the new one starts", async () => {
    const { socket, run_id: first } = await answering(stack, "interrupt");
    const waiting = await socket.request("chat.send", { session_id: "interrupt", message: "waits" });
    const next = await socket.request("chat.send", {
      session_id: "interrupt",
      message: "now",
      on_busy: "interrupt",
    });
    expect(next.status).toBe("queued");
    expect(await ended(owner, waiting.run_id)).toMatchObject({ status: "completed" });
    await socket.next(() => ends(socket, "interrupt").length === 3);
    const order = [
      [first, "run.aborted"],
      [next.run_id, "run.completed"],
      [waiting.run_id, "run.completed"],
    ];
    expect(ends(socket, "interrupt")).toEqual(order as [string, string][]);
    const events = log(socket, "interrupt");
    const at = (event: string, run_id: string): number =>
      events.findIndex((each) => each.event === event && each.run_id === run_id);
    expect(at("message.created", next.run_id)).toBeLessThan(at("run.aborted", first));
    expect(at("run.aborted", first)).toBeLessThan(at("run.started", next.run_id));
    expect(await owner.call("run.get", { run_id: first })).toMatchObject({
      status: "aborted",
      reason: "interrupt",
    });
    socket.close();
  });

  test("reject: CONFLICT that may be tried again, and nothing is written", async () => {
    const { socket, run_id } = await answering(stack, "reject");
    const { head } = await owner.call("session.get", { session_id: "reject" });
    const again = { session_id: "reject", message: "no", on_busy: "reject" };
    expect(await refusal(socket.request("chat.send", again))).toMatchObject({
      code: "CONFLICT",
      details: { kind: "busy", run_id },
      retryable: true,
      retry_after_ms: expect.any(Number),
    });
    expect(await owner.call("chat.history", { session_id: "reject" })).toMatchObject({ head, total: 2 });
    await owner.call("chat.abort", { run_id });
    expect(await socket.request("chat.send", again)).toMatchObject({ status: "started" });
    socket.close();
  });

  test("steer puts the message into the run that answers; with none it starts one", async () => {
    const { socket, run_id } = await answering(stack, "steer");
    const send = () =>
      socket.request("chat.send", { session_id: "steer", message: "and this?", on_busy: "steer" });
    const steered = await send();
    expect(steered).toMatchObject({ run_id, status: "steered", subscribed: true });
    const { messages } = await owner.call("chat.history", { session_id: "steer" });
    expect(messages.at(-1)).toMatchObject({ role: "user", content: "and this?", run_id });
    await owner.call("chat.abort", { run_id });
    expect(await send()).toMatchObject({ status: "started" });
    socket.close();
  });

  test("16 may wait; one more is CONFLICT full, until one has gone", async () => {
    const { socket, run_id } = await answering(stack, "full");
    const send = (): Promise<{ run_id: string; status: string }> =>
      socket.request("chat.send", { session_id: "full", message: "x" });
    const waiting = [];
    for (let i = 0; i < 16; i++) waiting.push(await send());
    const full = {
      code: "CONFLICT",
      details: { kind: "full", what: "queued_runs", limit: 16 },
      retryable: false,
    };
    expect(await refusal(send())).toMatchObject(full);
    const interrupting = socket.request("chat.send", {
      session_id: "full",
      message: "x",
      on_busy: "interrupt",
    });
    expect(await refusal(interrupting)).toMatchObject(full);
    expect((await owner.call("session.get", { session_id: "full" })).message_count).toBe(18);
    await owner.call("chat.abort", { run_id: waiting[7]?.run_id });
    expect(await send()).toMatchObject({ status: "queued" });
    expect(await refusal(send())).toMatchObject(full);
    // Another session is not concerned.
    expect(await socket.request("chat.send", { session_id: "free", message: "x" })).toMatchObject({
      status: "started",
    });
    const { run_ids } = await owner.call("chat.abort", { session_id: "full" });
    expect(run_ids).toHaveLength(17);
    expect(run_ids[0]).toBe(run_id);
    socket.close();
  });

  test("as agent.on_busy says, where the message says nothing", async () => {
    await using other = await startStack({ config: { agent: { on_busy: "reject" } } });
    other.model.reply().hang();
    const sent = await other.owner.call("chat.send", { session_id: "s", message: "x" });
    const refused = await refusal(other.owner.call("chat.send", { session_id: "s", message: "y" }));
    expect(refused).toMatchObject({ code: "CONFLICT", details: { kind: "busy" } });
    expect(
      await other.owner.call("chat.send", { session_id: "s", message: "y", on_busy: "queue" }),
    ).toMatchObject({ status: "queued" });
    expect((await other.owner.call("chat.abort", { session_id: "s" })).run_ids[0]).toBe(sent.run_id);
  });
});

test("requests of one connection enter the log in the order they were sent", async () => {
  stack.model.otherwise(() => script().text("ok"));
  await using socket = await owner.connect();
  await socket.request("session.create", { session_id: "order" });
  await socket.request("session.subscribe", { session_id: "order", after: 0 });
  const work = Array.from({ length: 15 }, (_, i) => {
    if (i % 3 === 0) return socket.request("chat.send", { session_id: "order", message: `m${i}` });
    if (i % 3 === 1)
      return socket.request("chat.inject", { session_id: "order", role: "user", content: `m${i}` });
    return socket.request("session.update", { session_id: "order", title: `m${i}` });
  });
  await Promise.all(work);
  // An answer is read before the event it is about.
  await socket.next(({ json }) => json.event === "session.updated" && json.payload.session.title === "m14");
  const told = log(socket, "order").flatMap(({ event, payload }) => {
    if (event === "message.created") return [payload.message.content];
    return event === "session.updated" ? [payload.session.title] : [];
  });
  expect(told).toEqual(Array.from({ length: 15 }, (_, i) => `m${i}`));
  expect(typesOf(log(socket, "order")).slice(0, 3)).toEqual([
    "session.created",
    "message.created",
    "run.queued",
  ]);
});

test("agent.max_concurrent_runs bounds all sessions together; the others wait their turn", async () => {
  await using other = await startStack({ config: { agent: { max_concurrent_runs: 2 } } });
  const { model, owner: me } = other;
  model.otherwise(() => script().text("x").hang());
  const runs: string[] = [];
  for (let i = 0; i < 4; i++)
    runs.push((await me.call("chat.send", { session_id: `s${i}`, message: "x" })).run_id);
  await model.waitForRequests(2);
  expect(await me.call("system.status")).toMatchObject({ runs: { active: 2, queued: 2 } });
  expect(await me.call("run.wait", { run_id: runs[2], timeout_ms: 100 })).toMatchObject({ status: "queued" });
  await me.call("chat.abort", { run_id: runs[0] });
  await model.waitForRequests(3);
  await eventually(
    () => me.call("run.get", { run_id: runs[2] }),
    ({ status }) => status === "running",
  );
  // One that waits for its turn is stopped like one that runs.
  await me.call("chat.abort", { run_id: runs[3] });
  await me.call("chat.abort", { run_id: runs[1] });
  expect(await me.call("system.status")).toMatchObject({ runs: { active: 1, queued: 0 } });
  expect(model.asked).toBe(3);
});
