import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Person, Stack } from "./stack.ts";
import { answering, ended, idle, refusal, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

describe("chat.abort", () => {
  const begins: [
    string,
    (session_id: string) => Promise<{ run_id: string; wrote: string | null; asked: boolean }>,
  ][] = [
    [
      "while it waits for another",
      async (session_id) => {
        await answering(stack, session_id);
        const { run_id } = await owner.call("chat.send", { session_id, message: "waits" });
        return { run_id, wrote: null, asked: false };
      },
    ],
    [
      "before the model said a thing",
      async (session_id) => {
        const asked = stack.model.asked;
        stack.model.reply().silence();
        const { run_id } = await owner.call("chat.send", { session_id, message: "go" });
        await stack.model.waitForRequests(asked + 1);
        return { run_id, wrote: null, asked: true };
      },
    ],
    [
      "in the middle of the answer",
      async (session_id) => {
        const { run_id } = await answering(stack, session_id);
        return { run_id, wrote: "so far", asked: true };
      },
    ],
    [
      "while the answer pours",
      async (session_id) => {
        stack.model.reply().tokens(100_000, { everyMs: 1 });
        await using socket = await owner.connect();
        const { run_id } = await socket.request("chat.send", { session_id, message: "go" });
        await socket.nextEvent("message.delta");
        return { run_id, wrote: "t0", asked: true };
      },
    ],
    [
      "between two attempts",
      async (session_id) => {
        stack.model.reply().status(429, { retryAfter: 25 });
        await using socket = await owner.connect();
        const { run_id } = await socket.request("chat.send", { session_id, message: "go" });
        await socket.nextEvent("run.retrying");
        return { run_id, wrote: null, asked: false };
      },
    ],
  ];
  for (const [index, [when, begin]] of begins.entries()) {
    for (const by of ["run_id", "session_id"] as const) {
      test(`${when}, by ${by}: at once, and answered once the end is committed`, async () => {
        const session_id = `abort-${index}-${by}`;
        const aborted = stack.model.aborted;
        const { run_id, wrote, asked } = await begin(session_id);
        const before = performance.now();
        const answer = await owner.call("chat.abort", by === "run_id" ? { run_id } : { session_id });
        expect(performance.now() - before).toBeLessThan(1_000);
        expect(answer.status).toBe("aborted");
        expect(answer.run_ids).toContain(run_id);
        expect(await owner.call("run.get", { run_id })).toMatchObject({
          status: "aborted",
          ended_by: "owner",
        });
        const { messages } = await owner.call("chat.history", { session_id });
        const mine = messages.filter(
          (each: { run_id: string; role: string }) => each.run_id === run_id && each.role === "assistant",
        );
        if (wrote === null) expect(mine.map(({ content }: { content: string }) => content).join("")).toBe("");
        else expect(mine).toMatchObject([{ status: "partial", content: expect.stringContaining(wrote) }]);
        if (asked) await stack.model.waitForAbort(aborted + 1);
        await owner.call("chat.abort", { session_id });
        // Once more: there is nothing to stop.
        expect(await owner.call("chat.abort", { run_id })).toEqual({ run_ids: [], status: "idle" });
        expect((await owner.call("session.get", { session_id })).active_run_id).toBeUndefined();
      });
    }
  }

  test("with queued: keep stops what runs, and the next one goes", async () => {
    const { socket, run_id } = await answering(stack, "keep");
    const next = await socket.request("chat.send", { session_id: "keep", message: "next" });
    const answer = await owner.call("chat.abort", { session_id: "keep", queued: "keep" });
    expect(answer).toEqual({ run_ids: [run_id], status: "aborted" });
    expect(await ended(owner, next.run_id)).toMatchObject({ status: "completed" });
    socket.close();
  });

  test("wants one of run_id and session_id", async () => {
    for (const params of [{}, { run_id: "run_x", session_id: "keep" }]) {
      expect(await refusal(owner.call("chat.abort", params))).toMatchObject({ code: "INVALID_REQUEST" });
    }
    expect(await refusal(owner.call("chat.abort", { run_id: "run_x" }))).toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "run" },
    });
  });
});

describe("run.wait", () => {
  test("answers when the run has ended, or the run as it is when time is over", async () => {
    const { socket, run_id } = await answering(stack, "wait");
    expect(await owner.call("run.wait", { run_id, timeout_ms: 0 })).toMatchObject({
      run_id,
      status: "running",
      session_id: "wait",
    });
    const before = performance.now();
    expect(await owner.call("run.wait", { run_id, timeout_ms: 150 })).toMatchObject({ status: "running" });
    expect(performance.now() - before).toBeWithin(145, 2_000);
    const queued = await socket.request("chat.send", { session_id: "wait", message: "next" });
    expect(await owner.call("run.wait", { run_id: queued.run_id, timeout_ms: 0 })).toMatchObject({
      status: "queued",
    });
    const waits = [
      socket.request("run.wait", { run_id }),
      owner.call("run.wait", { run_id, timeout_ms: 60_000 }),
    ];
    await owner.call("chat.abort", { run_id });
    for (const run of await Promise.all(waits)) expect(run).toMatchObject({ run_id, status: "aborted" });
    expect(await owner.call("run.wait", { run_id, timeout_ms: 60_000 })).toMatchObject({ status: "aborted" });
    for (const timeout_ms of [-1, 60_001, 1.5]) {
      expect(await refusal(owner.call("run.wait", { run_id, timeout_ms }))).toMatchObject({
        code: "INVALID_REQUEST",
        details: { path: "timeout_ms" },
      });
    }
    socket.close();
  });
});
