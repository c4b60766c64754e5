import { describe, expect, test } from "bun:test";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf } from "./provider.conformance.ts";
import { ask, done, hello, openAiOptions } from "./provider.support.ts";

const KEY = "sk-test-ABCDEFGHIJ0123456789";

describe("what is sent", () => {
  test("model, messages, streaming with usage, the key and the headers of the configuration", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(
      openAiOptions(model.url(), { api_keys: [KEY], headers: { "X-Team": "blue" } }),
    );
    const messages = [
      { role: "system", content: "be brief" },
      { role: "user", content: "hello 😀" },
      { role: "assistant", content: "hi" },
      { role: "tool", tool_call_id: "c1", content: "42" },
    ] as const;
    await collect(provider, { ...hello, messages });
    const [call] = model.requests;
    expect(call?.body).toEqual({
      model: "test-model",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(call?.headers).toMatchObject({
      authorization: `Bearer ${KEY}`,
      "x-team": "blue",
      "accept-encoding": "identity",
    });
  });

  test("several keys in turn", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(
      openAiOptions(model.url(), { api_keys: ["key-one", " key-two\n", ""] }),
    );
    for (let i = 0; i < 3; i++) await collect(provider, hello);
    const sent = model.requests.map((call) => call.headers["authorization"]);
    expect(sent).toEqual(["Bearer key-one", "Bearer key-two", "Bearer key-one"]);
  });

  test("no Authorization without a key, which only OpenAI itself needs", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(openAiOptions(model.url(), { api_keys: [] }));
    expect(provider.state()).toEqual({ name: "test", ready: true });
    expect((await collect(provider, hello)).at(-1)).toEqual(done);
    expect(model.requests[0]?.headers).not.toHaveProperty("authorization");
  });

  test("nothing from the environment", async () => {
    await using model = await startModelServer();
    const before = { ...process.env };
    Object.assign(process.env, {
      OPENAI_API_KEY: "sk-env",
      OPENAI_ORG_ID: "org-env",
      OPENAI_PROJECT_ID: "proj-env",
    });
    try {
      await ask(model, { api_keys: [] });
    } finally {
      for (const name of ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"]) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
    expect(JSON.stringify(model.requests[0]?.headers)).not.toContain("-env");
  });
});

describe("a missing key", () => {
  const url = "https://api.openai.com/v1";
  test.each([
    ["openai", "no API key: set OPENAI_API_KEY or llm.providers.openai.api_key"],
    ["work", "no API key: set llm.providers.work.api_key"],
  ])("of provider %s is said before and instead of a call", async (name, reason) => {
    const provider = createOpenAiProvider(openAiOptions(url, { name, api_keys: ["", " "] }));
    expect(provider.state()).toEqual({ name, ready: false, reason });
    const error = errorOf(await collect(provider, hello));
    expect(error.toBody()).toMatchObject({
      code: "UPSTREAM_ERROR",
      message: reason,
      retryable: false,
    });
  });

  test("a base_url that is none is refused at once", () => {
    for (const base_url of ["", "localhost:11434", "ftp://example.com"]) {
      expect(() => createOpenAiProvider(openAiOptions(base_url))).toThrow(
        "llm.providers.test.base_url is not an http(s) URL",
      );
    }
  });
});
