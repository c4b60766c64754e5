import { describe, expect, test } from "bun:test";
import { GatewayError } from "../../src/protocol/errors.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { collect, errorOf, requestOf } from "./provider.conformance.ts";
import { routerOf, scripted, text } from "./provider.scripted.ts";
import { done, openAiOptions } from "./provider.support.ts";

describe("names", () => {
  const local = scripted("local", [], [text("hi"), done]);
  const openai = scripted("openai", ["gpt-x", "gpt-y"], [text("hi"), done]);
  const router = routerOf([local, openai], { default_model: "qwen" });

  test.each([
    [null, "local/qwen"],
    ["", "local/qwen"],
    ["qwen", "local/qwen"],
    ["local/qwen", "local/qwen"],
    ["openai/gpt-x", "openai/gpt-x"],
    ["gpt-x", "local/gpt-x"],
    ["meta/llama", "local/meta/llama"],
    ["local/meta/llama", "local/meta/llama"],
    ["/odd", "local//odd"],
  ])("%j is %s, which is its own name", (model, name) => {
    expect(router.resolve(model)).toBe(name);
    expect(router.resolve(name)).toBe(name);
  });

  test("the provider gets its own id of the model", async () => {
    await collect(router, requestOf("local/meta/llama", "hi"));
    expect(local.asked.at(-1)?.model).toBe("meta/llama");
  });

  test("a model that is on no list is refused, with those that are", async () => {
    const refused = {
      code: "INVALID_REQUEST",
      status: 4000,
      message: 'no model "openai/gpt-z" here: choose one of openai/gpt-x, openai/gpt-y',
      details: { kind: "model", allowed: ["openai/gpt-x", "openai/gpt-y"] },
      retryable: false,
    };
    let thrown: unknown;
    try {
      router.resolve("openai/gpt-z");
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(GatewayError);
    expect((thrown as GatewayError).toBody()).toEqual(refused);
    // A session may hold the name of a model that was allowed once.
    const error = errorOf(await collect(router, requestOf("openai/gpt-z", "hi")));
    expect(error.toBody()).toEqual(refused);
    expect(openai.asked).toEqual([]);
    expect(() => router.resolve("local/")).toThrow('no model "local/" here: name one after "local/"');
  });

  test("models are those of the lists and of the configuration", () => {
    expect(router.default_model).toBe("local/qwen");
    expect(router.models()).toEqual([
      { id: "openai/gpt-x", provider: "openai" },
      { id: "openai/gpt-y", provider: "openai" },
      { id: "local/qwen", provider: "local" },
    ]);
  });

  test("the state of every provider is there to see", () => {
    const keyless = createOpenAiProvider(
      openAiOptions("https://api.openai.com/v1", { name: "openai", api_keys: [] }),
    );
    expect(routerOf([keyless, local]).states()).toEqual([
      {
        name: "openai",
        ready: false,
        reason: "no API key: set OPENAI_API_KEY or llm.providers.openai.api_key",
      },
      { name: "local", ready: true },
    ]);
  });

  test("a configuration that leads nowhere is refused in one line", () => {
    expect(() => routerOf([local, openai], { default_provider: "azure" })).toThrow(
      'llm.default_provider is "azure", which is not configured: add [llm.providers.azure], or set it to one of: local, openai',
    );
    expect(() => routerOf([local, openai], { default_model: "openai/gpt-z" })).toThrow(
      'llm.default_model: no model "openai/gpt-z" here: choose one of openai/gpt-x, openai/gpt-y',
    );
    expect(() => routerOf([local, openai], { fallback: ["openai/gpt-z"] })).toThrow("llm.fallback: no model");
  });
});
