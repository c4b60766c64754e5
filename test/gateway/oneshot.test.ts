import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { ServerEvent } from "../support/sse-client.ts";
import type { Person, Stack } from "./stack.ts";
import { ended, eventually, idle, startStack } from "./stack.ts";

let stack: Stack;
let owner: Person;
beforeAll(async () => {
  stack = await startStack();
  ({ owner } = stack);
});
beforeEach(() => idle(stack));
afterAll(() => stack[Symbol.asyncDispose]());

interface ChatFrame {
  readonly type: string;
  readonly content?: string;
  readonly [field: string]: unknown;
}

function framesOf(events: readonly ServerEvent[]): ChatFrame[] {
  return events.map(({ data }) => JSON.parse(data) as ChatFrame);
}

function textOf(events: readonly ServerEvent[]): string {
  return framesOf(events)
    .flatMap(({ type, content }) => (type === "token" ? [content] : []))
    .join("");
}

async function read(path: string, lastEventId?: string): Promise<{ status: number; events: ServerEvent[] }> {
  const stream = await owner.events(path, lastEventId === undefined ? {} : { lastEventId });
  return { status: stream.status, events: await stream.rest() };
}

async function start(
  body: Record<string, unknown>,
): Promise<{ session_id: string; run_id: string; stream_url: string }> {
  const answer = await owner.ask("POST", "/api/v1/chat", { body });
  expect(answer.status).toBe(201);
  expect(answer.headers.get("location")).toBe(answer.json.stream_url);
  return answer.json;
}

describe("POST /api/v1/chat", () => {
  test("201 with where the answer is; read at once, late and twice it is the same, in unnamed events with ids", async () => {
    stack.model
      .reply()
      .reasoning("not shown")
      .text("Grüße aus\nder Ferne 🌍", { chunks: 5, everyMs: 20 })
      .usage({ prompt_tokens: 3, completion_tokens: 5 });
    const begun = await start({ message: "hello", session_id: "one" });
    expect(begun).toEqual({
      session_id: "one",
      run_id: expect.stringMatching(/^run_/),
      stream_url: `/api/v1/stream/one?run=${begun.run_id}`,
      status: "streaming",
    } as typeof begun);
    const live = await read(begun.stream_url);
    expect(live.status).toBe(200);
    expect(textOf(live.events)).toBe("Grüße aus\nder Ferne 🌍");
    expect(framesOf(live.events).at(-1)).toEqual({
      type: "complete",
      usage: { input_tokens: 3, output_tokens: 5 },
    });
    expect(new Set(framesOf(live.events).map(({ type }) => type))).toEqual(new Set(["token", "complete"]));
    for (const { raw } of live.events) expect(raw).toMatch(/^id: [a-z0-9]{8}\.\d+\ndata: \{/);
    const late = await Promise.all([read(begun.stream_url), read("/api/v1/stream/one")]);
    for (const { events } of late)
      expect(events.map(({ raw }) => raw)).toEqual(live.events.map(({ raw }) => raw));
    // Whoever was cut off continues behind what they read, and there is nothing past the end.
    for (const [i, { id }] of live.events.entries()) {
      const rest = await read(begun.stream_url, id ?? "");
      const isEnd = i === live.events.length - 1;
      expect([i, rest.status]).toEqual([i, isEnd ? 204 : 200]);
      expect(rest.events.map(({ raw }) => raw)).toEqual(live.events.slice(i + 1).map(({ raw }) => raw));
    }
  });

  test("without a session it makes one", async () => {
    stack.model.reply().text("new");
    const { session_id, stream_url } = await start({ message: "hello" });
    expect(session_id).toStartWith("ses_");
    expect(textOf((await read(stream_url)).events)).toBe("new");
    expect(await owner.call("session.get", { session_id })).toMatchObject({
      title: "hello",
      message_count: 2,
    });
  });

  test("with Accept: text/event-stream it streams at once", async () => {
    stack.model.reply().text("at once", { chunks: 3, everyMs: 10 });
    const stream = await owner.events("/api/v1/chat", {
      method: "POST",
      body: { message: "hi", session_id: "at-once" },
    });
    expect([stream.status, stream.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    const location = stream.headers.get("location") ?? "";
    expect(location).toMatch(/^\/api\/v1\/stream\/at-once\?run=run_/);
    const events = await stream.rest();
    expect([textOf(events), framesOf(events).at(-1)?.type]).toEqual(["at once", "complete"]);
    expect((await read(location)).events.map(({ raw }) => raw)).toEqual(events.map(({ raw }) => raw));
  });

  test("with wait it answers 200 with the message, once it is complete", async () => {
    stack.model
      .reply()
      .reasoning("hm")
      .text("worth waiting for", { chunks: 3, everyMs: 20 })
      .usage({ prompt_tokens: 1, completion_tokens: 2 });
    const answer = await owner.ask("POST", "/api/v1/chat", {
      body: { message: "hi", session_id: "waited", wait: true },
    });
    expect(answer.status).toBe(200);
    const { messages } = await owner.call("chat.history", { session_id: "waited" });
    expect(answer.json).toEqual(messages[1]);
    expect(answer.json).toMatchObject({
      role: "assistant",
      status: "complete",
      content: "worth waiting for",
    });
    for (const wait of ["yes", 1, null]) {
      const refused = await owner.ask("POST", "/api/v1/chat", { body: { message: "hi", wait } });
      expect([wait, refused.status, refused.json.error.details]).toEqual([
        wait,
        422,
        { kind: "schema", path: "wait" },
      ]);
    }
  });

  test("says what chat.send says of what it cannot take", async () => {
    const cases: [Record<string, unknown>, number, string][] = [
      [{}, 422, "INVALID_REQUEST"],
      [{ message: "" }, 422, "INVALID_REQUEST"],
      [{ message: "x", unknown: 1 }, 422, "INVALID_REQUEST"],
      [{ message: "x", session_id: "ses_unknown" }, 404, "NOT_FOUND"],
      [{ message: "x".repeat(129 * 1024) }, 413, "TOO_LARGE"],
    ];
    for (const [body, status, code] of cases) {
      for (const more of [{}, { wait: true }]) {
        const answer = await owner.ask("POST", "/api/v1/chat", { body: { ...body, ...more } });
        expect([answer.status, answer.json.error.code]).toEqual([status, code]);
      }
      const stream = await owner.events("/api/v1/chat", { method: "POST", body });
      expect([stream.status, await stream.json()]).toMatchObject([status, { error: { code } }]);
    }
    await eventually(
      async () => (await owner.call("system.status")).connections,
      (count) => count === 0,
    );
  });

  test("with an idempotency key, in the body or the header, there is one run", async () => {
    stack.model.reply().text("only once");
    const body = { message: "once", session_id: "keyed" };
    const headers = { "idempotency-key": "one-1" };
    const answers = [
      await owner.ask("POST", "/api/v1/chat", { body, headers }),
      await owner.ask("POST", "/api/v1/chat", { body: { ...body, idempotency_key: "one-1" } }),
      await owner.ask("POST", "/api/v1/chat", { body: { ...body, idempotency_key: "one-1" }, headers }),
    ];
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    const differs = await owner.ask("POST", "/api/v1/chat", {
      body: { ...body, idempotency_key: "one-2" },
      headers,
    });
    expect(differs).toMatchObject({ status: 400, json: { error: { details: { kind: "duplicate" } } } });
    const stream = await owner.events("/api/v1/chat", { method: "POST", body, headers });
    expect(textOf(await stream.rest())).toBe("only once");
    expect((await owner.call("chat.history", { session_id: "keyed" })).total).toBe(2);
  });
});

describe("a run that does not complete", () => {
  test("failed: the text so far, then error with message and code; waited for, the error itself", async () => {
    for (const how of ["stream", "late", "wait"] as const) {
      stack.model.reply().text("half of").errorInStream("no more");
      const body = { message: "go", session_id: `failed-${how}` };
      if (how === "wait") {
        const answer = await owner.ask("POST", "/api/v1/chat", { body: { ...body, wait: true } });
        expect([answer.status, answer.json.error.code]).toEqual([502, "UPSTREAM_ERROR"]);
        continue;
      }
      const { stream_url, run_id } = await start(body);
      if (how === "late") await ended(owner, run_id);
      const { events } = await read(stream_url);
      expect(textOf(events)).toBe("half of");
      expect(framesOf(events).at(-1)).toEqual({
        type: "error",
        message: "test reported an error: no more",
        code: "UPSTREAM_ERROR",
        status: "failed",
      });
      expect(framesOf(events).filter(({ type }) => type !== "token")).toHaveLength(1);
    }
  });

  test("aborted by POST /api/v1/stop: the stream says so and ends", async () => {
    stack.model.reply().text("so far").hang();
    const { stream_url, run_id } = await start({ message: "go", session_id: "stopped" });
    const stream = await owner.events(stream_url);
    expect(framesOf([await stream.next()])).toEqual([{ type: "token", content: "so far" }]);
    const stopped = await owner.ask("POST", "/api/v1/stop/stopped");
    expect([stopped.status, stopped.json]).toEqual([200, { run_ids: [run_id], status: "aborted" }]);
    expect(framesOf(await stream.rest())).toMatchObject([
      { type: "error", code: "CONFLICT", status: "aborted" },
    ]);
  });
});

test("each run has a stream of its own: one that waits says nothing of the others", async () => {
  stack.model.reply().text("first answer", { chunks: 2, everyMs: 20 });
  stack.model.reply().text("second answer", { chunks: 2, everyMs: 20 });
  const first = await start({ message: "1", session_id: "lane" });
  const second = await start({ message: "2", session_id: "lane" });
  const [two, one] = await Promise.all([read(second.stream_url), read(first.stream_url)]);
  expect([textOf(one.events), textOf(two.events)]).toEqual(["first answer", "second answer"]);
  // Without a run, the newest.
  expect(textOf((await read("/api/v1/stream/lane")).events)).toBe("second answer");
  const history = await owner.ask("GET", "/api/v1/history/lane?limit=3");
  const texts: string[] = history.json.messages.map(({ content }: { content: string }) => content);
  expect(texts.toSorted()).toEqual(["2", "first answer", "second answer"]);
  expect(texts.at(-1)).toBe("second answer");
});

test("what is not there is not found", async () => {
  await owner.call("session.create", { session_id: "empty" });
  const elsewhere = await start({ message: "x", session_id: "elsewhere" });
  const cases: [string, number][] = [
    ["/api/v1/stream/empty", 404],
    ["/api/v1/stream/nowhere", 404],
    ["/api/v1/stream/empty?run=run_unknown", 404],
    [`/api/v1/stream/empty?run=${elsewhere.run_id}`, 404],
    ["/api/v1/history/nowhere", 404],
  ];
  for (const [path, status] of cases)
    expect([path, (await owner.ask("GET", path)).status]).toEqual([path, status]);
  const unknown = await owner.ask("GET", `${elsewhere.stream_url}&x=1`);
  expect(unknown.status === 400 || unknown.status === 422).toBe(true);
});
