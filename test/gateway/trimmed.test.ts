import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { eventually, log, say, startStack } from "./stack.ts";

/** Longer than it takes until the log is looked through again. */
const TRIM_MS = 45_000;

let stack: Stack;
let owner: Person;
/** Where the log of the session began and ended, before it was trimmed. */
let kept: { epoch: string; head: number; sent: { run_id: string; message_id: string; seq: number } };
const SEND = { session_id: "old", message: "hello", idempotency_key: "old-1" };
beforeAll(async () => {
  stack = await startStack({ config: { storage: { event_grace_secs: 0 } } });
  ({ owner } = stack);
  stack.model
    .reply()
    .reasoning("hm")
    .text("a good day", { chunks: 3, everyMs: 5 })
    .usage({ prompt_tokens: 1, completion_tokens: 3 });
  const { sent } = await say(owner, SEND);
  const { epoch, head } = await owner.call("session.get", { session_id: "old" });
  kept = { epoch, head, sent };
  // One that is answering all the while, and keeps the events of its run.
  stack.model.reply().text("so far").hang();
  await owner.call("chat.send", { session_id: "busy", message: "go" });
  const first = async (): Promise<string> => {
    const stream = await owner.events("/api/v1/sessions/old/events", { lastEventId: `${epoch}.1` });
    const { event } = await stream.next();
    stream.close();
    return event;
  };
  await eventually(first, (event) => event === "session.snapshot", TRIM_MS);
}, TRIM_MS + 15_000);
afterAll(() => stack[Symbol.asyncDispose]());

describe("a log that is trimmed", () => {
  test("answers an old cursor with a snapshot and the reason, over a socket and as a stream", async () => {
    const { epoch, head, sent } = kept;
    await using socket = await owner.connect();
    const opened = await socket.request("session.subscribe", {
      session_id: "old",
      epoch,
      after: 1,
      catch_up: "log",
    });
    expect(opened).toMatchObject({ mode: "snapshot", reason: "trimmed", from: head, head });
    expect(opened.snapshot.messages.map(({ content }: { content: string }) => content)).toEqual([
      "hello",
      "a good day",
    ]);
    const stream = await owner.events(`/api/v1/sessions/old/events?after=${epoch}.1`);
    const first = await stream.next();
    expect([first.event, first.id, JSON.parse(first.data).payload.reason]).toEqual([
      "session.snapshot",
      `${epoch}.${head}`,
      "trimmed",
    ]);
    stream.close();
    expect(
      await socket.request("session.subscribe", { session_id: "old", epoch, after: head }),
    ).toMatchObject({ mode: "resume", from: head });
    expect(await socket.request("session.subscribe", { session_id: "old", after: 0 })).toMatchObject({
      mode: "snapshot",
      reason: "trimmed",
    });
    // Its messages and runs are kept, and it goes on where it ended.
    const history = await owner.call("chat.history", { session_id: "old" });
    expect(history).toMatchObject({ epoch, head, total: 2 });
    expect(await owner.call("run.get", { run_id: sent.run_id })).toMatchObject({ status: "completed" });
    expect(
      await owner.call("chat.inject", { session_id: "old", role: "user", content: "next" }),
    ).toMatchObject({ epoch, seq: head + 1 });
  });

  test("keeps every event of a run that has not ended", async () => {
    await using socket = await owner.connect();
    const opened = await socket.request("session.subscribe", { session_id: "busy", after: 0 });
    expect(opened.mode).toBe("snapshot");
    const sent = await socket.request("chat.send", { session_id: "busy", message: "and then" });
    expect(sent.status).toBe("queued");
    const from =
      opened.snapshot.messages.find(({ status }: { status: string }) => status === "streaming").seq - 1;
    await using late = await owner.connect();
    expect(
      await late.request("session.subscribe", { session_id: "busy", epoch: opened.epoch, after: from }),
    ).toMatchObject({ mode: "resume", from });
    await late.nextEvent("session.synced");
    expect(
      log(late, "busy")
        .slice(0, 2)
        .map(({ event }) => event),
    ).toEqual(["message.started", "message.delta"]);
    await owner.call("chat.abort", { session_id: "busy" });
  });

  test("replays a one-shot answer from its messages, one token for each; a cursor in the middle is GONE", async () => {
    const { epoch, sent } = kept;
    const path = `/api/v1/stream/old?run=${sent.run_id}`;
    const events = await (await owner.events(path)).rest();
    expect(events.map(({ data }) => JSON.parse(data))).toEqual([
      { type: "token", content: "a good day" },
      { type: "complete", usage: { input_tokens: 1, output_tokens: 3 } },
    ]);
    expect(events.map(({ id }) => id === null)).toEqual([true, false]);
    expect((await owner.events(path, { lastEventId: events[1]?.id ?? "" })).status).toBe(204);
    const middle = await owner.events(path, { lastEventId: `${epoch}.${sent.seq + 2}` });
    expect([middle.status, await middle.json()]).toMatchObject([
      410,
      { error: { code: "GONE", details: { kind: "cursor" } } },
    ]);
  });

  test("`until` a run whose end is trimmed: the snapshot, and the end", async () => {
    const { epoch, sent } = kept;
    for (const query of ["", `&after=${epoch}.1`]) {
      const stream = await owner.events(`/api/v1/sessions/old/events?until=${sent.run_id}${query}`);
      const types = (await stream.rest()).map(({ event }) => event);
      expect([types[0], ...types.slice(-2)]).toEqual(["session.snapshot", "session.synced", "end"]);
    }
  });

  test("answers a repeated message as before; its sender subscribes by itself", async () => {
    await using socket = await owner.connect();
    const { sent } = kept;
    const answer = await socket.request("chat.send", SEND);
    expect(answer).toEqual({ ...sent, subscribed: false } as typeof answer);
    await socket.request("heartbeat");
    expect(log(socket, "old")).toEqual([]);
  });
});
