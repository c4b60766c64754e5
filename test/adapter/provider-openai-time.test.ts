import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import type { Clock, ModelEvent } from "../../src/core/ports.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { openDeafPort } from "../support/deaf-port.ts";
import type { Script } from "../support/model-script.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf } from "./provider.conformance.ts";
import { answered, done, hello, openAiOptions } from "./provider.support.ts";

describe("an abort", () => {
  test.each([
    ["before the headers", (reply: Script) => reply.silence()],
    ["before the first token", (reply: Script) => reply.hang()],
    ["between tokens", (reply: Script) => reply.text("x").hang()],
    ["after the finish reason", (reply: Script) => reply.text("x").finish("stop").hang()],
    [
      "in a whole answer",
      (reply: Script) => reply.status(200, { headers: { "content-length": "9" }, body: "{" }),
    ],
  ])("%s reaches the server at once", async (_, write) => {
    await using model = await startModelServer();
    write(model.reply());
    const abort = new AbortController();
    const stream = collect(createOpenAiProvider(openAiOptions(model.url())), hello, abort.signal);
    await model.waitForRequests(1);
    await new Promise((resolve) => setImmediate(resolve));
    const began = performance.now();
    abort.abort();
    expect((await stream).at(-1)).toEqual({ type: "aborted" });
    expect(performance.now() - began).toBeLessThan(100);
    await model.waitForIdle();
    expect(performance.now() - began).toBeLessThan(500);
  });

  test("comes before what was read already", async () => {
    await using model = await startModelServer();
    model.reply().text("x".repeat(50), { chunks: 50 });
    const abort = new AbortController();
    const events: ModelEvent[] = [];
    for await (const event of createOpenAiProvider(openAiOptions(model.url())).stream(hello, {
      signal: abort.signal,
    })) {
      events.push(event);
      abort.abort();
    }
    expect(events).toEqual([{ type: "text", text: "x" }, { type: "aborted" }]);
  });

  test("reaches the server while the reader of the stream is busy elsewhere", async () => {
    await using model = await startModelServer();
    model.reply().text("one").hang();
    const abort = new AbortController();
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    const iterator = provider.stream(hello, { signal: abort.signal })[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual({ type: "text", text: "one" });
    abort.abort();
    await model.waitForAbort();
    expect((await iterator.next()).value).toEqual({ type: "aborted" });
    expect((await iterator.next()).done).toBe(true);
  });
});

describe("time", () => {
  test.each([
    ["first_token_timeout_ms", (reply: Script) => reply.silence(), "test sent no text within 60 ms"],
    ["first_token_timeout_ms", (reply: Script) => reply.hang(), "test sent no text within 60 ms"],
    [
      "first_token_timeout_ms",
      (reply: Script) => reply.status(200, { headers: { "content-length": "9" }, body: "{" }),
      "test sent no text within 60 ms",
    ],
    ["idle_timeout_ms", (reply: Script) => reply.text("x").hang(), "test stopped sending for 60 ms"],
    [
      "total_timeout_ms",
      (reply: Script) => reply.tokens(5_000, { everyMs: 5 }),
      "test took longer than 60 ms",
    ],
  ] as const)("%s ends a call", async (setting, write, message) => {
    const events = await answered(write, { [setting]: 60 });
    expect(errorOf(events).toBody()).toEqual({
      code: "TIMEOUT",
      status: 4008,
      message: `${message} (llm.providers.test.${setting})`,
      details: { provider: "test", setting },
      retryable: setting !== "total_timeout_ms",
    });
    expect(errorOf(events).http).toBe(504);
  });

  test("comments and empty chunks are not what is waited for", async () => {
    const noise = ': still here\n\ndata: {"choices":[{"delta":{"content":""}}]}\n\n';
    const drip = (reply: Script) => {
      for (let i = 0; i < 200; i++) reply.raw(noise).wait(5);
      return reply.hang();
    };
    const first = await answered(drip, { first_token_timeout_ms: 80 });
    expect(errorOf(first).message).toContain("first_token_timeout_ms");
    const idle = await answered((reply) => drip(reply.text("x")), { idle_timeout_ms: 80 });
    expect(errorOf(idle).message).toContain("idle_timeout_ms");
  });

  test("what the reader of the stream takes does not count", async () => {
    await using model = await startModelServer();
    model.reply().text("one").wait(10).text("two").wait(20).text("three");
    const provider = createOpenAiProvider(openAiOptions(model.url(), { idle_timeout_ms: 60 }));
    const events: ModelEvent[] = [];
    for await (const event of provider.stream(hello, { signal: new AbortController().signal })) {
      events.push(event);
      await Bun.sleep(event.type === "text" ? 150 : 0);
    }
    expect(events).toEqual([
      ...["one", "two", "three"].map((text) => ({ type: "text", text }) as const),
      done,
    ]);
  });

  test("tokens that keep coming keep a call alive, and 0 means no bound", async () => {
    const slow = (reply: Script) => reply.tokens(12, { everyMs: 20 });
    expect((await answered(slow, { idle_timeout_ms: 100, first_token_timeout_ms: 100 })).at(-1)).toEqual(
      done,
    );
    const none = {
      connect_timeout_ms: 0,
      first_token_timeout_ms: 0,
      idle_timeout_ms: 0,
      total_timeout_ms: 0,
    };
    expect((await answered(slow, none)).at(-1)).toEqual(done);
  });

  test("no timer outlives its call", async () => {
    let waiting = 0;
    const after: Clock["after"] = (ms, task) => {
      waiting++;
      let over = false;
      const settle = () => {
        if (!over) waiting--;
        over = true;
      };
      const cancel = systemClock.after(ms, () => {
        settle();
        task();
      });
      return () => {
        settle();
        cancel();
      };
    };
    const options = { clock: { ...systemClock, after }, total_timeout_ms: 60_000 };
    await answered((reply) => reply.text("x", { chunks: 5, everyMs: 5 }), options);
    await answered((reply) => reply.text("x").reset(), options);
    await answered((reply) => reply.status(500), options);
    expect(waiting).toBe(0);
  });

  test("a server that is slow to answer is not one that cannot be reached", async () => {
    const events = await answered((reply) => reply.silence(), {
      connect_timeout_ms: 600,
      first_token_timeout_ms: 900,
    });
    expect(errorOf(events).message).toContain("first_token_timeout_ms");
  });

  test.skipIf(process.platform !== "linux")("one that cannot be reached is", async () => {
    await using deaf = await openDeafPort();
    const provider = createOpenAiProvider(
      openAiOptions(`http://127.0.0.1:${deaf.port}/v1`, { connect_timeout_ms: 60 }),
    );
    const error = errorOf(await collect(provider, hello));
    expect(error.message).toBe(
      "could not connect to test within 60 ms (llm.providers.test.connect_timeout_ms)",
    );
    expect(error.retryable).toBe(true);
  });
});
