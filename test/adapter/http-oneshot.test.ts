import { describe, expect, test } from "bun:test";
import type { Run } from "../../src/protocol/entities.ts";
import { GatewayError } from "../../src/protocol/errors.ts";
import { chatTranslator, replayText } from "../../src/transport/sse-chat.ts";
import { until } from "../support/engine.ts";
import type { OpenOptions } from "../support/sse-client.ts";
import { framesOf, scripted, textOf } from "./http.events.ts";
import { bearer, startHttp } from "./http.fixture.ts";

describe("POST /api/v1/chat", () => {
  test("answers where the stream is, which then has the answer and its end", async () => {
    await using at = await startHttp();
    const { status, body, headers } = await at.ask("POST", "/api/v1/chat", {
      body: { message: "hi", session_id: "s1" },
    });
    expect([status, body]).toEqual([
      201,
      {
        session_id: "s1",
        run_id: expect.stringMatching(/^run_/),
        stream_url: `/api/v1/stream/s1?run=${body.run_id}`,
        status: "streaming",
      },
    ]);
    expect(headers.get("location")).toBe(body.stream_url);
    const stream = await at.open(body.stream_url);
    const events = await stream.rest();
    expect([stream.status, stream.headers.get("content-type"), textOf(events)]).toEqual([
      200,
      "text/event-stream",
      "hello world",
    ]);
    expect(framesOf(events).at(-1)).toEqual({
      type: "complete",
      usage: { input_tokens: 1, output_tokens: 3 },
    });
    // Without a name, so that onmessage gets them, and with an id, so that a browser resumes.
    expect(events.map((event) => /^id: [a-z0-9]{8}\.\d+\ndata: /.test(event.raw))).toEqual(
      events.map(() => true),
    );
  });

  test("with Accept: text/event-stream it streams at once", async () => {
    await using at = await startHttp();
    const stream = await at.open("/api/v1/chat", { method: "POST", body: { message: "hi" } });
    expect([stream.status, stream.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    expect(stream.headers.get("location")).toMatch(/^\/api\/v1\/stream\/ses_[^?]+\?run=run_/);
    const events = await stream.rest();
    expect([textOf(events), framesOf(events).at(-1).type]).toEqual(["hello world", "complete"]);
    await until(() => at.context.connections.size === 0);
  });

  test("with wait it answers with the message", async () => {
    await using at = await startHttp();
    const { status, body } = await at.ask("POST", "/api/v1/chat", {
      body: { message: "hi", session_id: "s1", wait: true },
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      session_id: "s1",
      role: "assistant",
      status: "complete",
      content: "hello world",
    });
    expect(body.usage).toEqual({ input_tokens: 1, output_tokens: 3 });
  });

  test("a run that fails is an error, streamed or waited for", async () => {
    const error = new GatewayError("UPSTREAM_ERROR", "the model said no");
    await using at = await startHttp({
      script: scripted({ type: "text", text: "so" }, { type: "error", error }),
    });
    const waited = await at.ask("POST", "/api/v1/chat", { body: { message: "hi", wait: true } });
    expect([waited.status, waited.body.error.code, waited.body.error.message]).toEqual([
      502,
      "UPSTREAM_ERROR",
      "the model said no",
    ]);
    const stream = await at.open("/api/v1/chat", { method: "POST", body: { message: "hi" } });
    expect(framesOf(await stream.rest())).toEqual([
      { type: "token", content: "so" },
      { type: "error", message: "the model said no", code: "UPSTREAM_ERROR", status: "failed" },
    ]);
  });

  test("refusals are those of chat.send, and nothing is left behind", async () => {
    await using at = await startHttp();
    const status = async (body: unknown, options: OpenOptions = {}): Promise<number> =>
      (await at.open("/api/v1/chat", { method: "POST", body, ...options })).status;
    expect(await status({})).toBe(422);
    expect(await status({ message: "hi", extra: 1 })).toBe(422);
    expect(await status({ message: "hi", wait: "yes" })).toBe(422);
    expect(await status({ message: "hi", session_id: "ses_unknown" })).toBe(404);
    expect(await status({ message: "hi" }, { headers: { authorization: "Bearer wrong" } })).toBe(401);
    expect(await status({ message: "hi" }, { headers: bearer("writer") })).toBe(403);
    expect(at.context.connections.size).toBe(0);
  });

  test("an idempotency key sends once", async () => {
    await using at = await startHttp();
    const headers = { "idempotency-key": "k1" };
    const first = await at.ask("POST", "/api/v1/chat", {
      body: { message: "hi", session_id: "s1" },
      headers,
    });
    const again = await at.ask("POST", "/api/v1/chat", {
      body: { message: "hi", session_id: "s1" },
      headers,
    });
    expect(again.body).toEqual(first.body);
    const stream = await at.open("/api/v1/chat", {
      method: "POST",
      body: { message: "hi", session_id: "s1" },
      headers,
    });
    expect(textOf(await stream.rest())).toBe("hello world");
    expect((await at.ask("GET", "/api/v1/history/s1")).body.total).toBe(2);
  });
});

describe("tools", () => {
  const call = { tool_call_id: "c1", name: "read", arguments: '{"path":"a"}' };
  const base = { message_id: "m1", session_id: "s1", run_id: "run_1", timestamp: 1, metadata: {} } as const;

  function translated(type: string, payload: Record<string, unknown>): unknown {
    const head = {
      type: "event",
      event: type,
      session_id: "s1",
      epoch: "abcdefgh",
      seq: 7,
      ts: 1,
      run_id: "run_1",
    };
    const text = JSON.stringify({ ...head, payload });
    return chatTranslator("run_1")({ text, type, epoch: "abcdefgh", seq: 7 });
  }

  test("start, and then either complete or error", () => {
    const written = (data: unknown): string => `id: abcdefgh.7\ndata: ${JSON.stringify(data)}\n\n`;
    expect(translated("tool.call", { message_id: "m1", ...call })).toBe(
      written({ type: "tool_start", ...call }),
    );
    const result = { message_id: "m2", tool_call_id: "c1", content: "text" };
    expect(translated("tool.result", { ...result, ok: true })).toBe(
      written({ type: "tool_complete", tool_call_id: "c1", content: "text" }),
    );
    expect(translated("tool.result", { ...result, ok: false })).toBe(
      written({ type: "tool_error", tool_call_id: "c1", message: "text" }),
    );
    expect(translated("message.completed", { message: { message_id: "m1" } })).toBeNull();
  });

  test("replayed from the messages they stand where they stood", () => {
    const run: Run = {
      run_id: "run_1",
      session_id: "s1",
      status: "completed",
      model: "m",
      origin: { transport: "rest", client_id: "rest" },
      created_at: 1,
    };
    const text = replayText(
      run,
      [
        { ...base, seq: 1, role: "user", status: "complete", content: "hi" },
        {
          ...base,
          seq: 2,
          role: "assistant",
          status: "complete",
          content: "let me see",
          parts: [
            { type: "text", text: "let me see" },
            { type: "tool_call", ...call },
          ],
        },
        {
          ...base,
          seq: 3,
          role: "tool",
          status: "complete",
          content: "text",
          parts: [{ type: "tool_result", tool_call_id: "c1", ok: true }],
        },
        { ...base, seq: 4, role: "assistant", status: "complete", content: "done" },
      ],
      "abcdefgh.9",
    );
    expect([...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? ""))).toEqual([
      { type: "token", content: "let me see" },
      { type: "tool_start", ...call },
      { type: "tool_complete", tool_call_id: "c1", content: "text" },
      { type: "token", content: "done" },
      { type: "complete", usage: null },
    ]);
    expect(text.match(/^id: .*$/gm)).toEqual(["id: abcdefgh.9"]);
  });
});
