import { describe, expect, test } from "bun:test";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import type { Script } from "../support/model-script.ts";
import { script } from "../support/model-script.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, textOf } from "./provider.conformance.ts";
import { answered, hello, openAiOptions } from "./provider.support.ts";

describe("a hostile server", () => {
  const caps = { max_line_bytes: 100_000, max_message_bytes: 50_000 };
  const block = "x".repeat(16_384);

  test.each([
    ["a line", (reply: Script) => reply.raw("data: ").pour(block)],
    ["a comment", (reply: Script) => reply.raw(": ").pour(block)],
    ["an event", (reply: Script) => reply.pour("data: x\n".repeat(1_000))],
  ])("%s that never ends is cut off", async (_, write) => {
    const error = errorOf(await answered(write, caps));
    expect(error.message).toBe("test sent too much at once: an event is longer than 100000 bytes");
    expect(error.retryable).toBe(false);
  });

  test("a whole answer that is too large is cut off", async () => {
    const write = (reply: Script) =>
      reply.status(200, {
        headers: { "content-type": "application/json" },
        body: `{"x":"${"x".repeat(200_000)}"}`,
      });
    expect(errorOf(await answered(write, caps)).message).toContain("an answer is longer than 100000 bytes");
  });

  test.each([
    ["text", "content"],
    ["reasoning", "reasoning_content"],
  ] as const)("%s that never ends is kept as far as it is allowed", async (type, field) => {
    const chunk = `data: {"choices":[{"delta":{"${field}":"${"é".repeat(500)}"}}]}\n\n`;
    const events = await answered((reply) => reply.pour(chunk), caps);
    expect(textOf(events, type)).toBe("é".repeat(25_000));
    expect(errorOf(events).toBody()).toEqual({
      code: "TOO_LARGE",
      status: 4013,
      message: "the model's answer is longer than 50000 bytes",
      details: { kind: "message", limit: 50_000, what: "assistant_bytes" },
      retryable: false,
    });
  });

  test("a failure whose body never ends is cut off", async () => {
    let left = (): void => {};
    const gone = new Promise<void>((resolve) => (left = resolve));
    await using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: (request) => {
        request.signal.addEventListener("abort", left);
        const pull = (controller: ReadableStreamDefaultController) => controller.enqueue(Buffer.from(block));
        return new Response(new ReadableStream({ pull }), { status: 500 });
      },
    });
    const provider = createOpenAiProvider(openAiOptions(`http://127.0.0.1:${server.port}/v1`));
    expect(errorOf(await collect(provider, hello)).message).toStartWith("test failed (500): xxx");
    await gone;
  });

  test("a compressed answer is not unpacked", async () => {
    const bomb = Bun.gzipSync(Buffer.alloc(50_000_000, "x"));
    await using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () =>
        new Response(bomb, {
          headers: { "content-type": "text/event-stream", "content-encoding": "gzip" },
        }),
    });
    const provider = createOpenAiProvider(openAiOptions(`http://127.0.0.1:${server.port}/v1`, caps));
    // Unpacked, it would be a line that is too long.
    expect(errorOf(await collect(provider, hello)).message).toBe("the model's stream was cut");
  });

  test("more streams than fetch runs by itself are open at once where the environment allows it", async () => {
    await using model = await startModelServer();
    model.otherwise(() => script().text("x").hang());
    const child = Bun.spawn([process.execPath, `${import.meta.dir}/provider.load.ts`, model.url(), "400"], {
      env: { ...process.env, BUN_CONFIG_MAX_HTTP_REQUESTS: "1024" },
      stdout: "ignore",
      stderr: "inherit",
    });
    await model.waitForRequests(400);
    expect(model.open).toBe(400);
    child.kill();
    await child.exited;
    await model.waitForAbort(400);
  });
});
