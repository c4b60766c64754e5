import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Person, SeenFrame, Stack } from "./stack.ts";
import { ended, idle, refusal, runOf, startStack, typesOf, watchRun } from "./stack.ts";

const KIB = 1024;

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack({
    provider: { max_retries: 1 },
  });
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

/** The text of a part as its deltas make it; every offset has to fit. */
function folded(frames: readonly SeenFrame[], part: number): string {
  let text = "";
  for (const { event, payload } of frames) {
    if (event !== "message.delta" || payload.part !== part) continue;
    expect(payload.off).toBe(text.length);
    text += payload.text;
  }
  return text;
}

test("an answer: its events in order, its parts, its usage and its hash", async () => {
  stack.model
    .reply()
    .reasoning("let me think", { chunks: 3, everyMs: 30 })
    .text("Grüße, 🌍!", { chunks: 4, everyMs: 30 })
    .usage({
      prompt_tokens: 11,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 3 },
    });
  const before = await owner.call("system.stats");
  await using socket = await owner.connect({ client_id: "asker" });
  const frames = await watchRun(socket, "answer");
  const types = typesOf(frames);
  expect(types.slice(0, 4)).toEqual(["message.created", "run.queued", "run.started", "message.started"]);
  expect(types.slice(-2)).toEqual(["message.completed", "run.completed"]);
  expect(new Set(types.slice(4, -2))).toEqual(new Set(["message.delta"]));
  expect([folded(frames, 0), folded(frames, 1)]).toEqual(["let me think", "Grüße, 🌍!"]);
  const kinds = frames
    .filter(({ event }) => event === "message.delta")
    .map(({ payload }) => `${payload.part} ${payload.kind}`);
  expect([...new Set(kinds)]).toEqual(["0 reasoning", "1 text"]);
  // No delta ends in the middle of a pair, though the model's did.
  for (const { payload } of frames) expect(payload.text?.isWellFormed() ?? true).toBe(true);
  const usage = { input_tokens: 11, output_tokens: 7, cached_tokens: 4, reasoning_tokens: 3 };
  const done = structuredClone(frames.at(-2)?.payload);
  const content = "Grüße, 🌍!";
  const { message, ...proof } = done;
  expect(proof).toEqual({ length: content.length, sha256: sha256(content) });
  expect(structuredClone(message)).toEqual({
    message_id: frames[3]?.payload.message_id,
    role: "assistant",
    status: "complete",
    content,
    parts: [
      { type: "reasoning", text: "let me think" },
      { type: "text", text: content },
    ],
    run_id: expect.stringMatching(/^run_/),
    model: "test/fake-1",
    usage,
    timestamp: expect.any(Number),
    metadata: {},
  });
  const run = runOf(frames);
  expect(run).toMatchObject({
    status: "completed",
    message_id: done.message.message_id,
    model: "test/fake-1",
    finish_reason: "stop",
    usage,
  });
  expect(run.origin).toEqual({ transport: "ws", client_id: "asker" });
  expect(run.created_at).toBeLessThanOrEqual(run.started_at);
  expect(run.started_at).toBeLessThanOrEqual(run.ended_at);
  expect(await owner.call("run.get", { run_id: run.run_id })).toEqual({ session_id: "answer", ...run });
  const history = await owner.call("chat.history", { session_id: "answer" });
  expect(history.messages[1]).toMatchObject(done.message);
  const after = await owner.call("system.stats");
  expect([after.tokens.input - before.tokens.input, after.tokens.output - before.tokens.output]).toEqual([
    11, 7,
  ]);
});

test("text is made well-formed at the door, whoever says it", async () => {
  stack.model
    .reply()
    .delta({ content: "a\ud83d" })
    .delta({ content: "\ude00b \ud800 c" })
    .delta({ content: "\u0000d\udc00" });
  const raw = `{"session_id":"text","message":"x\\ud800y\\u0000z"}`;
  const sent = (await owner.ask("POST", "/api/v1/rpc/chat.send", { body: raw })).json;
  await ended(owner, sent.run_id);
  const { messages } = await owner.call("chat.history", { session_id: "text" });
  expect(messages.map(({ content }: { content: string }) => content)).toEqual([
    "x\ufffdy\ufffdz",
    "a😀b \ufffd c\ufffdd\ufffd",
  ]);
});

test("an answer that says nothing is a message all the same", async () => {
  stack.model.reply().finish("stop");
  await using socket = await owner.connect();
  const frames = await watchRun(socket, "nothing");
  expect(typesOf(frames).slice(2)).toEqual([
    "run.started",
    "message.started",
    "message.completed",
    "run.completed",
  ]);
  expect(frames.at(-2)?.payload).toMatchObject({
    length: 0,
    sha256: sha256(""),
    message: { content: "", status: "complete" },
  });
});

describe("a model that fails for a while is asked again", () => {
  test("not sooner than it asks for; every attempt is told", async () => {
    const asked = stack.model.asked;
    stack.model.reply().status(429, { retryAfter: 1 });
    stack.model.reply().text("there you are");
    await using socket = await owner.connect();
    const frames = await watchRun(socket, "retry");
    expect(stack.model.asked).toBe(asked + 2);
    expect(typesOf(frames).slice(2, 5)).toEqual(["run.started", "run.retrying", "message.started"]);
    const [retrying, begun] = frames.slice(3, 5);
    expect(retrying?.payload).toEqual({
      run_id: expect.any(String),
      attempt: 1,
      reason: expect.stringContaining("limiting requests (429)"),
    });
    expect((begun?.ts ?? 0) - (retrying?.ts ?? 0)).toBeWithin(990, 3_000);
    expect(frames.at(-1)?.event).toBe("run.completed");
  });

  test("as often as it is configured, then the run fails with the last error", async () => {
    const asked = stack.model.asked;
    stack.model.reply().status(503);
    stack.model.reply().status(502);
    await using socket = await owner.connect();
    const frames = await watchRun(socket, "retry-2");
    expect(stack.model.asked).toBe(asked + 2);
    expect(typesOf(frames).filter((type) => type === "run.retrying")).toHaveLength(1);
    const run = runOf(frames);
    expect(run.error).toMatchObject({
      code: "UPSTREAM_ERROR",
      status: 5002,
      message: expect.stringContaining("502"),
    });
  });

  test("in the middle of its answer too, which is then written anew and never stands twice", async () => {
    const asked = stack.model.asked;
    stack.model.reply().text("half").wait(100).reset();
    stack.model.reply().text("all of it");
    await using socket = await owner.connect();
    const frames = await watchRun(socket, "retry-3");
    expect(stack.model.asked).toBe(asked + 2);
    const said = typesOf(frames).filter((type) => /^(message|run)\.(?!created|queued|delta)/.test(type));
    expect(said).toEqual([
      "run.started",
      "message.started",
      "run.retrying",
      "message.discarded",
      "message.started",
      "message.completed",
      "run.completed",
    ]);
    const { messages } = await owner.call("chat.history", { session_id: "retry-3" });
    expect(messages.map(({ content }: { content: string }) => content)).toEqual([
      expect.any(String),
      "all of it",
    ]);
  });
});

describe("sizes", () => {
  test("a user message has 128 KiB, in bytes", async () => {
    const limit = 128 * KIB;
    for (const [most, more] of [
      ["x".repeat(limit), "x"],
      ["☃".repeat(43_690), "☃"],
    ] as const) {
      for (const [method, field] of [
        ["chat.send", "message"],
        ["chat.inject", "content"],
      ] as const) {
        const session_id = `size-${most.length}`;
        await owner.call("session.create", { session_id }).catch(() => undefined);
        const params = { session_id, ...(method === "chat.inject" && { role: "user" }) };
        const refused = {
          code: "TOO_LARGE",
          status: 4013,
          details: { kind: "message_bytes", limit },
          retryable: false,
        };
        expect(await refusal(owner.call(method, { ...params, [field]: most + more }))).toMatchObject(refused);
        const answer = await owner.call(method, { ...params, [field]: most });
        // It fills a page of its own.
        const answered = answer.run_id === undefined ? null : await ended(owner, answer.run_id);
        const page = { session_id, ...(answered !== null && { before: answered.message_id }) };
        const { messages } = await owner.call("chat.history", page);
        expect(messages).toHaveLength(1);
        expect([messages[0].message_id, messages[0].content === most]).toEqual([answer.message_id, true]);
      }
    }
    const rest = await owner.ask("POST", "/api/v1/sessions/size-x/messages", {
      body: { message: "x".repeat(limit + 1) },
    });
    expect([rest.status, rest.json.error.code]).toEqual([413, "TOO_LARGE"]);
    expect(await refusal(owner.call("session.get", { session_id: "size-x" }))).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("an answer over 512 KiB: the run fails with TOO_LARGE, the text so far stays", async () => {
    stack.model.reply().text("é".repeat(300 * KIB), { chunks: 300 });
    await using socket = await owner.connect();
    const frames = await watchRun(socket, "huge");
    expect(frames.at(-1)).toMatchObject({
      event: "run.failed",
      payload: { run: { error: { code: "TOO_LARGE" } } },
    });
    const text = folded(frames, 0);
    expect(Buffer.byteLength(text)).toBeWithin(500 * KIB, 512 * KIB + 1);
    expect(frames.at(-2)?.payload).toMatchObject({
      content_omitted: true,
      length: text.length,
      sha256: sha256(text),
      message: { status: "partial", content: "" },
    });
    const { messages } = await owner.call("chat.history", { session_id: "huge" });
    expect(messages.at(-1).content === text).toBe(true);
  });

  test("an answer over 128 KiB is completed without its content, which the deltas and the hash prove", async () => {
    for (const [session_id, length, omitted] of [
      ["small", 40 * KIB, false],
      ["large", 200 * KIB, true],
    ] as const) {
      stack.model
        .reply()
        .reasoning("r".repeat(1_000))
        .text("0123456789abcdef".repeat(length / 16), { chunks: 100 });
      await using socket = await owner.connect();
      const frames = await watchRun(socket, session_id);
      const { payload } = frames.at(-2) ?? { payload: null };
      const text = folded(frames, 1);
      expect([payload.length, payload.sha256, payload.content_omitted ?? false]).toEqual([
        length,
        sha256(text),
        omitted,
      ]);
      const parts = payload.message.parts.map((part: { type: string; text: string }) => [
        part.type,
        part.text.length,
      ]);
      expect([payload.message.content.length, parts]).toEqual(
        omitted
          ? [
              0,
              [
                ["reasoning", 0],
                ["text", 0],
              ],
            ]
          : [
              length,
              [
                ["reasoning", 1_000],
                ["text", length],
              ],
            ],
      );
      const { messages } = await owner.call("chat.history", { session_id });
      expect(messages.at(-1)).toMatchObject({
        status: "complete",
        content: text,
        parts: [{ text: "r".repeat(1_000) }, { text }],
      });
      await using late = await owner.connect();
      const { snapshot } = await late.request("session.subscribe", { session_id });
      expect(snapshot.messages.at(-1)).toMatchObject({ content: text });
    }
  });
});
