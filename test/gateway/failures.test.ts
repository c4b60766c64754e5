import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Script } from "../support/model-script.ts";
import { script } from "../support/model-script.ts";
import type { Person, Stack } from "./stack.ts";
import { idle, isEnd, runOf, say, startStack, typesOf, watchRun } from "./stack.ts";

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    config: { agent: { run_timeout_secs: 5 } },
    provider: { max_retries: 1, first_token_timeout_ms: 1_500, idle_timeout_ms: 400 },
  });
  ({ owner } = stack);
});
beforeEach(async () => {
  await idle(stack);
  stack.model.otherwise(() => script().tokens(20));
});
afterAll(() => stack[Symbol.asyncDispose]());

describe("what a model server may do, and how it ends", () => {
  const cases: [string, (reply: Script) => Script, string, RegExp, string][] = [
    [
      "refuses the key",
      (reply) => reply.status(401),
      "UPSTREAM_ERROR",
      /refused the API key \(401\).*llm\.providers\.test\.api_key/,
      "",
    ],
    ["forbids it", (reply) => reply.status(403), "UPSTREAM_ERROR", /\(403\)/, ""],
    ["has no such model", (reply) => reply.status(404), "UPSTREAM_ERROR", /no model "fake-1" \(404\)/, ""],
    [
      "refuses the request",
      (reply) => reply.status(400),
      "UPSTREAM_ERROR",
      /refused the request \(400\)/,
      "",
    ],
    [
      "redirects",
      (reply) => reply.status(302, { headers: { location: "http://127.0.0.1:1/" } }),
      "UPSTREAM_ERROR",
      /redirect \(302\)/,
      "",
    ],
    ["ends without an end", (reply) => reply.text("half").cut(), "UPSTREAM_ERROR", /stream was cut/, "half"],
    [
      "resets the connection",
      (reply) => reply.text("half").wait(100).reset(),
      "UPSTREAM_ERROR",
      /broke the connection off|cut|cannot reach/,
      "half",
    ],
    [
      "closes it in the middle",
      (reply) => reply.text("half").wait(100).drop(),
      "UPSTREAM_ERROR",
      /broke the connection off|cut|cannot reach/,
      "half",
    ],
    [
      "sends what is no JSON",
      (reply) => reply.text("half").malformed().hang(),
      "UPSTREAM_ERROR",
      /not JSON/,
      "half",
    ],
    [
      "reports an error in the stream",
      (reply) => reply.text("half").errorInStream("no more"),
      "UPSTREAM_ERROR",
      /reported an error: no more/,
      "half",
    ],
    [
      "stops in the middle",
      (reply) => reply.text("half").hang(),
      "TIMEOUT",
      /stopped sending for 400 ms \(llm\.providers\.test\.idle_timeout_ms\)/,
      "half",
    ],
    [
      "sends a line without end",
      (reply) => reply.text("half").pour("x".repeat(64 * KIB)),
      "UPSTREAM_ERROR",
      /too much at once/,
      "half",
    ],
    [
      "never stops",
      (reply) =>
        reply
          .text("half")
          .pour(
            `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "y".repeat(8 * KIB) } }] })}\n\n`,
          ),
      "TOO_LARGE",
      /longer than 524288 bytes/,
      "half",
    ],
  ];
  for (const [index, [what, reply, code, message, text]] of cases.entries()) {
    test(`${what}: one end, with a clear error; what was said stays`, async () => {
      const session_id = `trap-${index}`;
      // However often it is asked again.
      stack.model.otherwise(() => reply(script()));
      await using socket = await owner.connect();
      const frames = await watchRun(socket, session_id);
      expect(typesOf(frames.filter(isEnd))).toEqual(["run.failed"]);
      const run = runOf(frames);
      expect([run.status, run.error.code]).toEqual(["failed", code]);
      expect(run.error.message).toMatch(message);
      expect(run.error.message).not.toContain("\n");
      const { messages } = await owner.call("chat.history", { session_id });
      const answers = messages.filter(({ role }: { role: string }) => role === "assistant");
      if (text === "") expect(answers.map(({ content }: { content: string }) => content).join("")).toBe("");
      else
        expect(answers).toMatchObject([
          { status: "partial", content: expect.stringContaining(text), run_id: run.run_id },
        ]);
      await stack.model.waitForIdle();
      expect(await owner.call("run.get", { run_id: run.run_id })).toMatchObject({
        status: "failed",
        error: run.error,
      });
    });
  }

  test("says nothing at all: TIMEOUT, and it is asked again first", async () => {
    const asked = stack.model.asked;
    stack.model.reply().silence();
    stack.model.reply().silence();
    await using socket = await owner.connect();
    const frames = await watchRun(socket, "silence");
    expect(stack.model.asked).toBe(asked + 2);
    expect(typesOf(frames)).toContain("run.retrying");
    expect(runOf(frames).error).toMatchObject({
      code: "TIMEOUT",
      status: 4008,
      message: expect.stringContaining("first_token_timeout_ms"),
    });
  });

  test("takes longer than agent.run_timeout_secs: TIMEOUT, and what was said stays", async () => {
    stack.model.reply().tokens(1_000, { everyMs: 50 });
    const { sent, run } = await say(owner, { session_id: "long", message: "go" });
    expect(run).toMatchObject({
      status: "failed",
      error: { code: "TIMEOUT", message: expect.stringContaining("agent.run_timeout_secs") },
    });
    expect(run.ended_at - run.started_at).toBeWithin(4_900, 7_000);
    const { messages } = await owner.call("chat.history", { session_id: "long" });
    expect(messages[1]).toMatchObject({
      status: "partial",
      content: expect.stringMatching(/^t0 t1 .*t50 /),
      run_id: sent.run_id,
    });
    await stack.model.waitForIdle();
  });
});
