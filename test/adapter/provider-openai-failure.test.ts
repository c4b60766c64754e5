import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import type { Script } from "../support/model-script.ts";
import { startModelServer } from "../support/model-server.ts";
import { errorOf, textOf } from "./provider.conformance.ts";
import { answered, ask, hello, openAiOptions } from "./provider.support.ts";

const KEY = "sk-test-ABCDEFGHIJ0123456789";

describe("a stream that breaks", () => {
  test("cleanly, without a finish reason, is a failure", async () => {
    const events = await answered((reply) => reply.text("half of").cut());
    expect(textOf(events)).toBe("half of");
    expect(errorOf(events).toBody()).toEqual({
      code: "UPSTREAM_ERROR",
      status: 5002,
      message: "the model's stream was cut",
      details: { provider: "test" },
      retryable: true,
    });
  });

  test.each([
    ["in the middle of a chunk", 'data: {"choices":[{"delta":{"content":"mo'],
    ["after [DONE] without a finish reason", "data: [DONE]\n\n"],
  ])("%s too", async (_, last) => {
    const events = await answered((reply) => reply.text("half of").raw(last).cut());
    expect(textOf(events)).toBe("half of");
    expect(errorOf(events).message).toBe("the model's stream was cut");
  });

  test.each(["reset", "drop"] as const)("with a %s", async (end) => {
    const events = await answered((reply) => reply.text("half of").wait(20)[end]());
    expect(textOf(events)).toBe("half of");
    const error = errorOf(events);
    expect(error.message).toBe("test broke the connection off");
    expect(error.retryable).toBe(true);
  });

  test("with a reset before any answer", async () => {
    const error = errorOf(await answered((reply) => reply.silence().reset()));
    expect(error.message).toBe("test broke the connection off");
    expect(error.retryable).toBe(true);
  });

  test("with what is not JSON", async () => {
    const events = await answered((reply) => reply.text("good").malformed());
    expect(textOf(events)).toBe("good");
    expect(errorOf(events).message).toBe("test sent what is not JSON");
    expect(errorOf(await answered((reply) => reply.raw("data: 7\n\n"))).message).toBe(
      "test sent what is not JSON",
    );
  });

  test.each([
    ["broken", "test reported an error: broken", false],
    [{ message: "come back", code: 503 }, "test reported an error: come back", true],
    [{ message: "busy", type: "overloaded_error" }, "test reported an error: busy", true],
    [{ message: "bad", code: "invalid_prompt" }, "test reported an error: bad", false],
    [{ odd: [1] }, 'test reported an error: {"odd":[1]}', false],
  ])("with the error %j inside", async (report, message, retryable) => {
    const events = await answered((reply) => reply.text("good").errorInStream(report));
    expect(textOf(events)).toBe("good");
    expect(errorOf(events)).toMatchObject({ reason: "UPSTREAM_ERROR", message, retryable });
  });

  test("is left by us, though nobody asks for what comes after the error", async () => {
    await using model = await startModelServer();
    model.reply().malformed().hang();
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    const iterator = provider.stream(hello, { signal: new AbortController().signal })[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ type: "error" });
    await model.waitForAbort();
  });

  test("with an event named error, or an error for a finish reason", async () => {
    const named = await answered((reply) =>
      reply.raw('event: error\ndata: {"message":"no more"}\n\n').hang(),
    );
    expect(errorOf(named).message).toBe("test reported an error: no more");
    const reason = await answered((reply) => reply.text("x").finish("error"));
    expect(errorOf(reason).message).toBe("test ended its answer with an error");
  });
});

describe("a server that answers something else", () => {
  test.each([
    [401, false, "test refused the API key (401): check llm.providers.test.api_key: answered 401"],
    [
      403,
      false,
      "test does not allow this (403): check llm.providers.test.api_key and what it may use: answered 403",
    ],
    [
      404,
      false,
      'test has no model "test-model" (404): check its name and llm.providers.test.base_url: answered 404',
    ],
    [400, false, "test refused the request (400): answered 400"],
    [422, false, "test refused the request (422): answered 422"],
    [408, true, "test failed (408): answered 408"],
    [409, true, "test failed (409): answered 409"],
    [429, true, "test is limiting requests (429): answered 429"],
    [500, true, "test failed (500): answered 500"],
    [503, true, "test failed (503): answered 503"],
    [529, true, "test failed (529): answered 529"],
  ])("%i", async (status, retryable, message) => {
    const error = errorOf(await answered((reply) => reply.status(status)));
    expect(error.toBody()).toEqual({
      code: "UPSTREAM_ERROR",
      status: 5002,
      message,
      details: { provider: "test", status },
      retryable,
    });
  });

  test("a key of OpenAI's is asked for by both of its names", async () => {
    const error = errorOf(await answered((reply) => reply.status(401), { name: "openai" }));
    expect(error.message).toContain(
      "openai refused the API key (401): check OPENAI_API_KEY or llm.providers.openai.api_key",
    );
  });

  test("a quota that is used up is not asked again", async () => {
    const body = JSON.stringify({ error: { message: "pay first", code: "insufficient_quota" } });
    const error = errorOf(await answered((reply) => reply.status(429, { body, retryAfter: 1 })));
    expect(error).toMatchObject({
      retryable: false,
      message: "test refused the request (429): pay first",
    });
  });

  test("says when to come back", async () => {
    const now = Date.UTC(2030, 0, 1);
    const clock = { ...systemClock, now: () => now };
    const wait = async (options: Parameters<Script["status"]>[1]) =>
      errorOf(await answered((reply) => reply.status(429, options), { clock })).retry_after_ms;
    expect(await wait({ retryAfter: 2 })).toBe(2_000);
    expect(await wait({ retryAfter: 0.25 })).toBe(250);
    expect(await wait({ retryAfter: new Date(now + 90_000).toUTCString() })).toBe(90_000);
    expect(await wait({ retryAfter: new Date(now - 90_000).toUTCString() })).toBe(0);
    expect(await wait({ headers: { "retry-after-ms": "120" }, retryAfter: 9 })).toBe(120);
    expect(await wait({ retryAfter: "soon" })).toBeUndefined();
    expect(await wait({ retryAfter: -5 })).toBeUndefined();
    expect(await wait({})).toBeUndefined();
  });

  test("a redirect is not followed, the key would go along", async () => {
    await using other = await startModelServer();
    const error = errorOf(
      await answered((reply) =>
        reply.status(307, { headers: { location: `${other.url()}/chat/completions` } }),
      ),
    );
    expect(error.message).toContain("set llm.providers.test.base_url to where it leads");
    expect(other.asked).toBe(0);
  });

  test.each([
    [
      "a web page",
      "text/html",
      "<html>sign in</html>",
      "test answered with a web page: check llm.providers.test.base_url",
    ],
    [
      "JSON without a message",
      "application/json",
      "{}",
      "test answered without a message: check llm.providers.test.base_url",
    ],
    ["no JSON", "application/json", "{", "test sent what is not JSON"],
    ["an error", "application/json", '{"error":"no credit"}', "test reported an error: no credit"],
    ["nothing", "text/event-stream", "", "the model's stream was cut"],
  ])("%s with status 200", async (_, type, body, message) => {
    const events = await answered((reply) => reply.status(200, { headers: { "content-type": type }, body }));
    expect(errorOf(events).message).toBe(message);
  });

  test("nobody there", async () => {
    const model = await startModelServer();
    model.stop();
    const error = errorOf(await ask(model));
    expect(error.message).toBe(
      "cannot reach test (ECONNREFUSED): check that it runs, and llm.providers.test.base_url",
    );
    expect(error.retryable).toBe(true);
  });
});

describe("what is shown of a failure", () => {
  test("never holds a key or a header, whole or as the server masked it, and is one short line", async () => {
    const secret = "team-secret-77";
    const said = `Incorrect key ${KEY} or sk-te**********6789, Bearer ${KEY}\r\n\u0000${secret} ${"x".repeat(9_000)}\uD83D`;
    const options = { api_keys: [KEY], headers: { "X-Secret": secret } };
    const replies: ((reply: Script) => Script)[] = [
      (reply) => reply.status(401, { body: JSON.stringify({ error: { message: said } }) }),
      (reply) => reply.status(500, { body: said }),
      (reply) => reply.status(429, { body: JSON.stringify({ error: said }) }),
      (reply) => reply.errorInStream(said),
      (reply) => reply.errorInStream({ message: { deep: said } }),
    ];
    for (const reply of replies) {
      const { message } = errorOf(await answered(reply, options));
      expect(message).not.toContain(KEY);
      expect(message).not.toContain("6789");
      expect(message).not.toContain(secret);
      expect(message).toContain("[redacted]");
      expect(message).not.toMatch(/[\p{Cc}\uD800-\uDFFF]/u);
    }
  });

  test("a finish reason is bounded too", async () => {
    const events = await answered((reply) => reply.text("x").finish("because ".repeat(1_000)));
    const last = events.at(-1);
    expect(last?.type === "done" && last.finish_reason.length).toBe(64);
  });
});
