import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { idle, log, refusal, startStack, typesOf } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({ config: { limits: { far_events: 20 } } });
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

async function filled(session_id: string, count: number): Promise<string> {
  const { epoch } = await owner.call("session.create", { session_id });
  for (let i = 0; i < count; i++)
    await owner.call("chat.inject", { session_id, role: "user", content: `m${i}` });
  return epoch;
}

describe("session.subscribe", () => {
  test("answers what its cursor is worth", async () => {
    const epoch = await filled("table", 30);
    const resumed = (from: number) => ({ mode: "resume", epoch, from, head: 31 });
    const snapshot = (mode: string, reason?: string) => ({
      mode,
      ...(reason !== undefined && { reason }),
      epoch,
      from: 31,
      head: 31,
      snapshot: expect.any(Object),
    });
    const cases: [Record<string, unknown>, object][] = [
      [{}, snapshot("snapshot")],
      [{ catch_up: "log" }, snapshot("snapshot")],
      [{ epoch }, snapshot("snapshot")],
      [{ epoch, after: 31 }, resumed(31)],
      [{ epoch, after: 11 }, resumed(11)],
      [{ epoch, after: 10 }, snapshot("snapshot", "far")],
      [{ epoch, after: 10, catch_up: "log" }, resumed(10)],
      [{ epoch, after: 0, catch_up: "log" }, resumed(0)],
      [{ after: 0, catch_up: "log" }, resumed(0)],
      [{ after: 0 }, snapshot("snapshot", "far")],
      [{ epoch, after: 32 }, snapshot("reset", "ahead")],
      [{ epoch, after: Number.MAX_SAFE_INTEGER }, snapshot("reset", "ahead")],
      [{ epoch: "zzzzzzzz", after: 5 }, snapshot("reset", "epoch")],
      [{ epoch: "zzzzzzzz", after: 99, catch_up: "log" }, snapshot("reset", "epoch")],
    ];
    for (const [params, expected] of cases) {
      await using socket = await owner.connect();
      const answer = await socket.request("session.subscribe", { session_id: "table", ...params });
      expect([params, structuredClone(answer)]).toEqual([params, expected] as [typeof params, typeof answer]);
      const synced = await socket.nextEvent("session.synced");
      expect(synced.json).toMatchObject({ session_id: "table", payload: { epoch, at: 31 } });
      const seqs = log(socket, "table").map(({ seq }) => seq);
      expect([params, seqs]).toEqual([
        params,
        Array.from({ length: 31 - answer.from }, (_, i) => answer.from + i + 1),
      ]);
      if (answer.snapshot !== undefined) {
        expect(answer.snapshot).toMatchObject({
          session: { session_id: "table", head: 31, epoch },
          runs: [],
          approvals: [],
          has_more: false,
        });
        expect(answer.snapshot.messages).toHaveLength(30);
      }
    }
  });

  test("a cursor that can be none is refused", async () => {
    const epoch = await filled("bad", 1);
    const bad = [
      { after: 1 },
      { after: -1, epoch },
      { after: 1.5, epoch },
      { after: 2 ** 53, epoch },
      { after: "1", epoch },
      { epoch: "short", after: 1 },
      { epoch: "ABCDEFGH", after: 1 },
      { after: null, epoch },
      { catch_up: "all" },
    ];
    await using socket = await owner.connect();
    for (const params of bad) {
      expect([
        params,
        await refusal(socket.request("session.subscribe", { session_id: "bad", ...params })),
      ]).toMatchObject([params, { code: "INVALID_REQUEST" }]);
    }
    for (const raw of ["1e400", "-0.5", "9223372036854775808"]) {
      socket.send(
        `{"type":"req","id":"raw","method":"session.subscribe","params":{"session_id":"bad","epoch":"${epoch}","after":${raw}}}`,
      );
      expect((await socket.next(({ json }) => json.id === "raw")).json).toMatchObject({
        ok: false,
        error: { code: "INVALID_REQUEST" },
      });
    }
    expect((await owner.call("presence.list", { session_id: "bad" })).watchers).toEqual([]);
  });

  test("replaces the connection's own: nothing of the old one is sent behind the answer, nothing comes twice", async () => {
    const epoch = await filled("again", 3);
    await using socket = await owner.connect();
    await socket.request("session.subscribe", { session_id: "again", after: 0 });
    await socket.nextEvent("session.synced");
    const sending = (async () => {
      for (let i = 0; i < 30; i++)
        await owner.call("chat.inject", { session_id: "again", role: "user", content: `live ${i}` });
    })();
    for (let i = 0; i < 5; i++) {
      const opened = await socket.request("session.subscribe", {
        session_id: "again",
        epoch,
        after: 2,
        catch_up: "log",
      });
      expect(opened).toMatchObject({ mode: "resume", from: 2 });
      const at = socket.frames.findLastIndex(({ json }) => json.type === "res");
      await socket.nextEvent("session.synced");
      const seqs = socket.frames.slice(at).flatMap(({ json }) => (json.seq === undefined ? [] : [json.seq]));
      expect(seqs).toEqual(seqs.map((_, n) => n + 3));
    }
    await sending;
    await socket.next(({ json }) => json.seq === 34);
    expect((await owner.call("presence.list", { session_id: "again" })).watchers).toHaveLength(1);
  });

  test("without it, or after session.unsubscribe, nothing of a session comes", async () => {
    await filled("none", 0);
    await using socket = await owner.connect();
    expect(await socket.request("session.unsubscribe", { session_id: "none" })).toEqual({
      unsubscribed: false,
    });
    await socket.request("session.subscribe", { session_id: "none" });
    expect(await socket.request("session.unsubscribe", { session_id: "none" })).toEqual({
      unsubscribed: true,
    });
    await owner.call("chat.inject", { session_id: "none", role: "user", content: "x" });
    await owner.call("event.send", { session_id: "none", event: "app.x", payload: {} });
    await socket.next(({ json }) => json.event === "session.changed" && json.payload.head === 2);
    expect(log(socket, "none")).toEqual([]);
    expect(socket.frames.filter(({ json }) => json.event === "app.x")).toEqual([]);
  });
});

describe("chat.send subscribes", () => {
  test("its sender from its own message on, answer first; every event once, also those of making the session", async () => {
    stack.model.reply().text("hello", { chunks: 3, everyMs: 5 });
    await using socket = await owner.connect();
    const sent = await socket.request("chat.send", { session_id: "auto", message: "hi" });
    expect(sent).toMatchObject({ status: "started", seq: 2, from: 1, subscribed: true });
    await socket.nextEvent("run.completed");
    const mine = socket.frames.filter(({ json }) => json.session_id === "auto" || json.type === "res");
    expect(mine[0]?.json.type).toBe("res");
    const events = log(socket, "auto");
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 2));
    expect(typesOf(events).slice(0, 3)).toEqual(["message.created", "run.queued", "run.started"]);
    expect(socket.frames.filter(({ json }) => json.event === "session.synced")).toHaveLength(1);
    // It follows already: the second one changes nothing.
    stack.model.reply().text("again");
    const again = await socket.request("chat.send", { session_id: "auto", message: "more" });
    expect(again).toMatchObject({ subscribed: true, from: again.seq - 1 });
    await socket.nextEvent("run.completed");
    const all = log(socket, "auto").map(({ seq }) => seq);
    expect(all).toEqual(all.map((_, i) => i + 2));
    expect(socket.frames.filter(({ json }) => json.event === "session.synced")).toHaveLength(1);
  });

  test("from before the message that is being written, so that it can be folded", async () => {
    stack.model.reply().text("a long answer", { chunks: 3 }).hang();
    const first = await owner.call("chat.send", { session_id: "open", message: "go" });
    await using watcher = await owner.connect();
    await watcher.request("session.subscribe", { session_id: "open", after: 0 });
    const started = await watcher.nextEvent("message.started");
    await watcher.nextEvent("message.delta");
    await using socket = await owner.connect();
    const sent = await socket.request("chat.send", { session_id: "open", message: "and then" });
    expect(sent).toMatchObject({ status: "queued", subscribed: true, from: started.json.seq - 1 });
    await owner.call("chat.abort", { run_id: first.run_id });
    await socket.nextEvent("run.completed");
    const events = log(socket, "open");
    expect(events[0]).toEqual(started.json);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => started.json.seq + i));
    // Over REST nobody is subscribed, and where to begin is told all the same.
    const rest = await owner.call("chat.send", { session_id: "open", message: "x" });
    expect(rest).toMatchObject({ subscribed: false, from: rest.seq - 1 });
  });

  test("not with subscribe: false, and leaves a subscription that is there alone", async () => {
    await using socket = await owner.connect();
    expect(
      await socket.request("chat.send", { session_id: "not", message: "x", subscribe: false }),
    ).toMatchObject({ subscribed: false, from: 1 });
    await socket.next(
      ({ json }) =>
        json.event === "session.changed" &&
        json.payload.session_id === "not" &&
        json.payload.active_run_id === undefined,
    );
    expect(log(socket, "not")).toEqual([]);
    await socket.request("session.subscribe", { session_id: "not" });
    expect(
      await socket.request("chat.send", { session_id: "not", message: "x", subscribe: false }),
    ).toMatchObject({ subscribed: true });
    await socket.nextEvent("run.completed");
  });
});
