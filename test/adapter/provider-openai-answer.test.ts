import { describe, expect, test } from "bun:test";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, textOf } from "./provider.conformance.ts";
import { answered, done, hello, openAiOptions } from "./provider.support.ts";

describe("an answer", () => {
  test("comes as it is sent, with usage from behind the finish reason", async () => {
    const usage = {
      prompt_tokens: 12,
      completion_tokens: 7,
      prompt_tokens_details: { cached_tokens: 4 },
      completion_tokens_details: { reasoning_tokens: 3 },
    };
    const events = await answered((reply) =>
      reply.text("hello there", { chunks: 3 }).usage(usage, { lateMs: 30 }).finish("length"),
    );
    expect(events).toEqual([
      { type: "text", text: "hell" },
      { type: "text", text: "o th" },
      { type: "text", text: "ere" },
      {
        type: "usage",
        usage: { input_tokens: 12, output_tokens: 7, cached_tokens: 4, reasoning_tokens: 3 },
      },
      { type: "done", finish_reason: "length" },
    ]);
  });

  test.each(["reasoning_content", "reasoning"] as const)("may begin with reasoning, in %s", async (field) => {
    const events = await answered((reply) => reply.reasoning("let me see", { chunks: 2, field }).text("42"));
    expect(events).toEqual([
      { type: "reasoning", text: "let m" },
      { type: "reasoning", text: "e see" },
      { type: "text", text: "42" },
      done,
    ]);
  });

  test("a pair split between two deltas is put together; halves and NUL are replaced", async () => {
    const events = await answered((reply) =>
      reply.text("a😀b", { chunks: 4 }).delta({ content: "\uDE00\0" }).delta({ content: "end\uD83D" }),
    );
    expect(events).toEqual([
      { type: "text", text: "a" },
      { type: "text", text: "😀" },
      { type: "text", text: "b" },
      { type: "text", text: "\uFFFD\uFFFD" },
      { type: "text", text: "end" },
      { type: "text", text: "\uFFFD" },
      done,
    ]);
  });

  test("bytes that are not UTF-8 become U+FFFD", async () => {
    await using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => {
        const chunk = (content: string) => `data: {"choices":[{"delta":{"content":"${content}"}}]}\n\n`;
        const broken = Buffer.from(chunk("caf\u00e9"), "latin1");
        const end = Buffer.from(
          'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
        );
        return new Response(Buffer.concat([broken, end]), {
          headers: { "content-type": "text/event-stream" },
        });
      },
    });
    const provider = createOpenAiProvider(openAiOptions(`http://127.0.0.1:${server.port}/v1`));
    expect(await collect(provider, hello)).toEqual([{ type: "text", text: "caf\uFFFD" }, done]);
  });

  test("chunks without choices, null content, comments and other events are passed over", async () => {
    const events = await answered((reply) =>
      reply
        .raw(': hello\n\nevent: ping\ndata: {"choices":[]}\n\nid: 7\nretry: 10\n\n')
        .delta({ content: null, role: "assistant" })
        .raw('data: {"choices":null}\r\n\r\ndata: {"choices":[{"index":0}]}\n\ndata:{"id":"x"}\n\n')
        .raw('data: {"choices":\ndata: [{"delta":{"content":"two lines"}}]}\n\n')
        .delta({ content: [{ type: "text", text: " and parts" }, { type: "image" }] }),
    );
    expect(textOf(events)).toBe("two lines and parts");
    expect(events.at(-1)).toEqual(done);
  });

  test("a refusal is text", async () => {
    expect(textOf(await answered((reply) => reply.delta({ refusal: "I cannot say." })))).toBe(
      "I cannot say.",
    );
  });

  test("is whole with a finish reason, though usage never comes", async () => {
    const events = await answered((reply) => reply.text("all of it").finish("stop").hang());
    expect(events).toEqual([{ type: "text", text: "all of it" }, done]);
  });

  test.each(["cut", "reset", "drop"] as const)(
    "is whole with a finish reason, though a %s follows",
    async (end) => {
      const events = await answered((reply) => reply.text("all of it").finish("stop").wait(5)[end]());
      expect(events).toEqual([{ type: "text", text: "all of it" }, done]);
    },
  );

  test("is whole after [DONE], though the server keeps the connection", async () => {
    const began = performance.now();
    const events = await answered((reply) => reply.text("x").finish("stop").raw("data: [DONE]\n\n").hang());
    expect(events).toEqual([{ type: "text", text: "x" }, done]);
    expect(performance.now() - began).toBeLessThan(1_500);
  });

  test("has the last usage that was sent, wherever it was", async () => {
    const usage = (tokens: number) =>
      `data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":${tokens}}}\n\n`;
    const events = await answered((reply) =>
      reply.raw(usage(1)).text("x").raw(usage(2)).raw('data: {"usage":null}\n\n'),
    );
    expect(events).toEqual([
      { type: "text", text: "x" },
      { type: "usage", usage: { input_tokens: 1, output_tokens: 2 } },
      done,
    ]);
  });

  test("text after a finish reason is still text", async () => {
    const events = await answered((reply) => reply.text("one").finish("stop").text(" two").finish("stop"));
    expect(textOf(events)).toBe("one two");
  });

  test("of a server that does not stream is taken as one", async () => {
    const events = await answered((reply) =>
      reply.reasoning("hm").text("at once").usage({ prompt_tokens: 1, completion_tokens: 2 }).whole(),
    );
    expect(events).toEqual([
      { type: "reasoning", text: "hm" },
      { type: "text", text: "at once" },
      { type: "usage", usage: { input_tokens: 1, output_tokens: 2 } },
      done,
    ]);
  });

  test("the connection is used again", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    for (let i = 0; i < 4; i++) await collect(provider, hello);
    expect(model.connections).toBe(1);
  });
});
