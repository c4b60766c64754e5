import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { FoldEvent } from "../../src/core/transcript.ts";
import { applyEvent, emptyTranscript } from "../../src/core/transcript.ts";
import type { Message } from "../../src/protocol/entities.ts";
import { openDeafPort } from "../support/deaf-port.ts";
import type { Script } from "../support/model-script.ts";
import { script } from "../support/model-script.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import type { Person, Stack } from "./stack.ts";
import { idle, runOf, say, startStack, typesOf, watchRun } from "./stack.ts";

const ANSWER = "all of it, once";
const tools = { builtin: ["time"], policy: { "*": "allow" } };

let deaf: Awaited<ReturnType<typeof openDeafPort>>;
let bad: ModelServer;
let good: ModelServer;
let stack: Stack;
let owner: Person;
beforeAll(async () => {
  [deaf, bad, good] = [await openDeafPort(), await startModelServer(), await startModelServer()];
  const quick = { max_retries: 0, circuit_failures: 0 };
  const providers = {
    good: { base_url: good.url() },
    bad: { base_url: bad.url(), ...quick },
    // Only where time is what fails: a busy machine takes its own.
    mute: { base_url: bad.url(), ...quick, first_token_timeout_ms: 400 },
    stuck: { base_url: bad.url(), ...quick, idle_timeout_ms: 400 },
    stubborn: { base_url: bad.url(), max_retries: 2, circuit_failures: 0 },
    refused: { base_url: "http://127.0.0.1:1/v1", ...quick },
    deaf: { base_url: `http://127.0.0.1:${deaf.port}/v1`, ...quick, connect_timeout_ms: 400 },
  };
  const llm = { default_provider: "good", default_model: "m", fallback: ["good/spare"], providers };
  stack = await startStack({ config: { llm, tools } });
  ({ owner } = stack);
});
beforeEach(async () => {
  await idle(stack);
  bad.otherwise(() => script().status(500));
  good.otherwise(() => script().text(ANSWER, { chunks: 4, everyMs: 5 }));
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  for (const each of [deaf, bad, good]) await each[Symbol.asyncDispose]();
});

const half = (reply: Script): Script => reply.text("half of", { chunks: 2, everyMs: 30 });

/** What each provider does to a run, and whether the client saw some of it. */
const FAILURES: [string, string, ((reply: Script) => Script) | null, boolean][] = [
  ["refuses the connection", "refused", null, false],
  ["never completes a connection", "deaf", null, false],
  ["answers 500", "bad", (reply) => reply.status(500), false],
  ["answers 429 and wants a minute", "bad", (reply) => reply.status(429, { retryAfter: 60 }), false],
  ["refuses the key", "bad", (reply) => reply.status(401), false],
  ["says nothing", "mute", (reply) => reply.silence(), false],
  ["is cut before its first token", "bad", (reply) => reply.cut(), false],
  ["is reset before its first token", "bad", (reply) => reply.wait(20).reset(), false],
  ["sends garbage", "bad", (reply) => reply.malformed().hang(), false],
  [
    "answers with a web page",
    "bad",
    (reply) => reply.status(200, { headers: { "content-type": "text/html" }, body: "<p>" }),
    false,
  ],
  [
    "is cut in a call's arguments",
    "bad",
    (reply) => reply.tool("time", '{"zone":', { chunks: 2 }).cut(),
    false,
  ],
  ["is cut in its answer", "bad", (reply) => half(reply).cut(), true],
  ["is reset in its answer", "bad", (reply) => half(reply).wait(50).reset(), true],
  ["falls silent in its answer", "stuck", (reply) => half(reply).hang(), true],
  ["sends garbage in its answer", "bad", (reply) => half(reply).wait(50).malformed().hang(), true],
  [
    "reports an error in its answer",
    "bad",
    (reply) => half(reply).wait(50).errorInStream("overloaded"),
    true,
  ],
  [
    "is cut in a call after text",
    "bad",
    (reply) => half(reply).wait(50).tool("time", '{"zone":', { chunks: 2 }).cut(),
    true,
  ],
];

describe("a provider that fails", () => {
  for (const [index, [what, provider, reply, seen]] of FAILURES.entries()) {
    test(`${what}: another answers, nothing stands twice, and every reader has the same in the end`, async () => {
      if (reply !== null) bad.otherwise(() => reply(script()));
      const session_id = `fails-${index}`;
      const { epoch } = await owner.call("session.create", { session_id, model: `${provider}/m` });
      await using socket = await owner.connect();
      const frames = await watchRun(socket, session_id);
      const types = typesOf(frames);
      expect(types.filter((type) => type === "run.retrying")).toHaveLength(1);
      expect(types.filter((type) => type === "message.discarded")).toHaveLength(seen ? 1 : 0);
      expect(types.filter((type) => type === "message.completed")).toHaveLength(1);
      expect(types).not.toContain("tool.call");
      expect(runOf(frames)).toMatchObject({ status: "completed", model: "good/spare" });
      const { messages } = await owner.call("chat.history", { session_id });
      expect(messages.slice(1)).toMatchObject([
        {
          role: "assistant",
          status: "complete",
          content: ANSWER,
          model: "good/spare",
          message_id: runOf(frames).message_id,
        },
      ]);
      expect((await owner.call("session.get", { session_id })).message_count).toBe(2);
      // The one-shot stream has no messages: it says how much of its tokens counts for nothing.
      const { events } = await oneShot(`/api/v1/stream/${session_id}`);
      expect(textOf(events)).toBe(ANSWER);
      expect(events.some(({ type }) => type === "discard")).toBe(seen);
      expect(await folded(session_id, epoch, runOf(frames).run_id)).toEqual(messages);
      // What broke off is not what the model is told next.
      await owner.call("session.update", { session_id, model: "good/m" });
      await say(owner, { session_id, message: "and now?" });
      expect(good.requests.at(-1)?.body.messages).toEqual([
        { role: "user", content: "go" },
        { role: "assistant", content: ANSWER },
        { role: "user", content: "and now?" },
      ]);
    });
  }

  test("again and again is asked as often as it may be, and one answer stands", async () => {
    const asked = bad.asked;
    bad.otherwise(() => half(script()).cut());
    await using socket = await owner.connect();
    await owner.call("session.create", { session_id: "stubborn", model: "stubborn/m" });
    const frames = await watchRun(socket, "stubborn");
    expect(bad.asked - asked).toBe(3);
    expect(typesOf(frames).filter((type) => type === "message.discarded")).toHaveLength(3);
    const { messages } = await owner.call("chat.history", { session_id: "stubborn" });
    expect(messages.map(({ content }: { content: string }) => content)).toEqual(["go", ANSWER]);
    const retrying = frames
      .filter(({ event }) => event === "run.retrying")
      .map(({ payload }) => payload.attempt);
    expect(retrying).toEqual([1, 2, 3]);
  });
});

/** The messages that a reader of all events has, up to the end of a run. */
async function folded(session_id: string, epoch: string, run_id: string): Promise<Message[]> {
  const stream = await owner.events(`/api/v1/sessions/${session_id}/events?after=${epoch}.0&until=${run_id}`);
  const transcript = emptyTranscript();
  for (const { data } of await stream.rest()) {
    const event = JSON.parse(data) as FoldEvent & { readonly seq?: number };
    if (event.seq !== undefined) expect(applyEvent(transcript, event)).toBe("ok");
  }
  return transcript.messages;
}

interface ChatFrame {
  readonly type: string;
  readonly content?: string;
  readonly length?: number;
}

async function oneShot(path: string): Promise<{ events: ChatFrame[] }> {
  const stream = await owner.events(path);
  return { events: (await stream.rest()).map(({ data }) => JSON.parse(data) as ChatFrame) };
}

/** What a reader of tokens has in the end. */
function textOf(events: readonly ChatFrame[]): string {
  let text = "";
  for (const { type, content = "", length = 0 } of events) {
    if (type === "token") text += content;
    if (type === "discard") text = text.slice(0, text.length - length);
  }
  return text;
}
