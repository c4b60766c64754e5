import { describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { Live } from "../../src/core/live.ts";
import type { LlmConfig, LlmProviderConfig } from "../../src/provider/from-config.ts";
import { createProviders } from "../../src/provider/from-config.ts";
import { createLogbook } from "../support/logbook.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, requestOf } from "./provider.conformance.ts";

function section(more: Partial<LlmProviderConfig> = {}): LlmProviderConfig {
  return {
    base_url: "https://api.openai.com/v1",
    api_key: "",
    models: [],
    headers: {},
    query: {},
    api_key_header: "",
    connect_timeout_ms: 10_000,
    first_token_timeout_ms: 120_000,
    idle_timeout_ms: 120_000,
    total_timeout_ms: 0,
    max_retries: 2,
    max_concurrent: 0,
    circuit_failures: 5,
    circuit_secs: 30,
    ...more,
  };
}

function made(llm: Partial<LlmConfig>, max_message_bytes?: number) {
  const log = createLogbook();
  const llm_config: LlmConfig = {
    default_provider: "",
    default_model: "",
    fallback: [],
    retry_deadline_secs: 300,
    providers: { openai: section() },
    ...llm,
  };
  const config = new Live({ llm: llm_config, ...(max_message_bytes !== undefined && { max_message_bytes }) });
  const { providers, router } = createProviders(config, { clock: systemClock, log, random: () => 0 });
  return { router, log, providers, names: providers.all().map(({ name }) => name) };
}

const keyed = section({ api_key: "sk-1" });
const local = section({ base_url: "http://127.0.0.1:1/v1" });

describe("the default", () => {
  test.each([
    ["without any key is the demo", {}, "demo/demo"],
    ["is the first provider with a key", { providers: { openai: keyed, local } }, "openai/gpt-4o-mini"],
    [
      "is the first with keys to rotate",
      { providers: { openai: section({ api_keys: ["a", "b"] }) } },
      "openai/gpt-4o-mini",
    ],
    [
      "is the first with an address of its own",
      { providers: { openai: section(), local } },
      "local/gpt-4o-mini",
    ],
    [
      "is not OpenAI without a key, however its address is written",
      { providers: { openai: section({ base_url: "https://api.openai.com/v1/" }) } },
      "demo/demo",
    ],
    [
      "is the first model on the list",
      { providers: { openai: { ...keyed, models: ["gpt-x", "gpt-y"] } } },
      "openai/gpt-x",
    ],
    [
      "is what the configuration says",
      { default_provider: "local", default_model: "qwen", providers: { openai: keyed, local } },
      "local/qwen",
    ],
    [
      "may name a provider itself",
      { default_model: "local/qwen", providers: { openai: keyed, local } },
      "local/qwen",
    ],
    [
      "may be the demo, though there is a key",
      { default_provider: "demo", providers: { openai: keyed } },
      "demo/demo",
    ],
    ["may be one without a key", { default_provider: "openai" }, "openai/gpt-4o-mini"],
    [
      "may be a provider that calls itself demo",
      { default_provider: "demo", providers: { demo: local } },
      "demo/gpt-4o-mini",
    ],
    ["needs no section at all", { providers: {} }, "demo/demo"],
  ] as [string, Partial<LlmConfig>, string][])("%s", (_, llm, name) => {
    expect(made(llm).router.default_model).toBe(name);
  });

  test("stands in for a model that cannot be asked, and says so", () => {
    const { router, log } = made({ default_model: "gpt-x" });
    expect(router.default_model).toBe("demo/demo");
    expect(log.lines).toEqual([
      {
        level: "warn",
        fields: { model: "gpt-x" },
        message: "llm.default_model is not used: no provider has a key, the demo model answers",
      },
    ]);
  });

  test("without a key is warned of once, and fails its runs with the reason", async () => {
    const { router, log } = made({ default_provider: "openai" });
    const reason = "no API key: set OPENAI_API_KEY or llm.providers.openai.api_key";
    expect(log.lines).toEqual([
      { level: "warn", fields: { provider: "openai" }, message: `runs will fail: ${reason}` },
    ]);
    expect(router.states()).toEqual([{ name: "openai", ready: false, reason }]);
    const error = errorOf(await collect(router, requestOf("openai/gpt-x", "hi")));
    expect(error).toMatchObject({ reason: "UPSTREAM_ERROR", message: reason });
  });
});

test("the demo is there only where it is chosen or nothing else can be", () => {
  expect(made({}).names).toEqual(["openai", "demo"]);
  expect(made({ providers: { openai: keyed } }).names).toEqual(["openai"]);
  expect(made({ providers: { openai: keyed }, fallback: ["demo/demo"] }).names).toEqual(["openai", "demo"]);
});

test("what leads nowhere is refused in one line", () => {
  expect(() => made({ default_provider: "azure" })).toThrow(
    'llm.default_provider is "azure", which is not configured: add [llm.providers.azure], or set it to one of: openai',
  );
  expect(() => made({ providers: { odd: section({ base_url: "nowhere" }) } })).toThrow(
    "llm.providers.odd.base_url is not an http(s) URL",
  );
});

test("sections and limits reach the providers", async () => {
  await using model = await startModelServer();
  model.reply().status(503);
  model.reply().text("x".repeat(101));
  const team = section({
    base_url: model.url(),
    api_key: "k1-secret",
    headers: { "x-team": "blue" },
    max_retries: 1,
  });
  const { router } = made({ providers: { team } }, 100);
  const events = await collect(router, requestOf("team/m", "hi"));
  expect(events.map((event) => event.type)).toEqual(["retrying", "error"]);
  expect(errorOf(events).reason).toBe("TOO_LARGE");
  expect(model.requests.map(({ headers }) => [headers["authorization"], headers["x-team"]])).toEqual([
    ["Bearer k1-secret", "blue"],
    ["Bearer k1-secret", "blue"],
  ]);
});
