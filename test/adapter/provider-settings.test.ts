import { describe, expect, test } from "bun:test";
import { checkProviders } from "../../src/cli/doctor-provider.ts";
import { systemClock } from "../../src/clock.ts";
import { Live } from "../../src/core/live.ts";
import type { ProvidersConfig } from "../../src/provider/from-config.ts";
import { createProviders } from "../../src/provider/from-config.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { load } from "../core/config.fixture.ts";
import { blocksOf } from "../gateway/docs.blocks.ts";
import { createLogbook } from "../support/logbook.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, requestOf, textOf } from "./provider.conformance.ts";
import { hello, openAiOptions } from "./provider.support.ts";

/** Keys that the documented settings take from the environment. */
const env = Object.fromEntries(
  ["VLLM", "LLAMA", "OPENROUTER", "AZURE", "ANTHROPIC", "GEMINI"].map((name) => [
    `${name}_API_KEY`,
    `key-of-${name}`,
  ]),
);

interface Expected {
  /** Where the documentation says the server is. */
  readonly origin: string;
  readonly path: string;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Headers that may not be there. */
  readonly without?: readonly string[];
}

const bearer = (name: string) => ({ authorization: `Bearer key-of-${name}` });

/** What every setting of docs/providers.md sends, in its order. */
const SETTINGS: readonly [string, Expected][] = [
  [
    "Ollama",
    {
      origin: "http://127.0.0.1:11434",
      path: "/v1/chat/completions",
      model: "qwen3:8b",
      headers: {},
      without: ["authorization"],
    },
  ],
  [
    "vLLM",
    {
      origin: "http://127.0.0.1:8000",
      path: "/v1/chat/completions",
      model: "Qwen/Qwen3-8B",
      headers: bearer("VLLM"),
    },
  ],
  [
    "llama.cpp",
    {
      origin: "http://127.0.0.1:8080",
      path: "/v1/chat/completions",
      model: "local",
      headers: bearer("LLAMA"),
    },
  ],
  [
    "LM Studio",
    {
      origin: "http://127.0.0.1:1234",
      path: "/v1/chat/completions",
      model: "qwen3-8b",
      headers: {},
      without: ["authorization"],
    },
  ],
  [
    "OpenRouter",
    {
      origin: "https://openrouter.ai",
      path: "/api/v1/chat/completions",
      model: "openai/gpt-4o-mini",
      headers: { ...bearer("OPENROUTER"), "http-referer": "https://bus.example.com", "x-title": "agentbus" },
    },
  ],
  [
    "Azure OpenAI",
    {
      origin: "https://my-resource.openai.azure.com",
      path: "/openai/v1/chat/completions",
      model: "my-gpt",
      headers: { "api-key": "key-of-AZURE" },
      without: ["authorization"],
    },
  ],
  [
    "Azure OpenAI by deployment",
    {
      origin: "https://my-resource.openai.azure.com",
      path: "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
      model: "my-gpt",
      headers: { "api-key": "key-of-AZURE" },
      without: ["authorization"],
    },
  ],
  [
    "Claude",
    {
      origin: "https://api.anthropic.com",
      path: "/v1/chat/completions",
      model: "claude-sonnet-4-5",
      headers: bearer("ANTHROPIC"),
      without: ["x-api-key"],
    },
  ],
  [
    "Gemini",
    {
      origin: "https://generativelanguage.googleapis.com",
      path: "/v1beta/openai/chat/completions",
      model: "gemini-2.5-flash",
      headers: bearer("GEMINI"),
      without: ["x-goog-api-key"],
    },
  ],
];

const documented = blocksOf("docs/providers.md").filter(({ words }) => words.includes("provider"));

/** A documented setting, word for word but for the server, which is this one. */
function settingOf(index: number, origin: string, model: ModelServer) {
  const toml = documented[index]?.text ?? "";
  expect(toml).toContain(origin);
  return load({ toml: toml.replace(origin, new URL(model.url()).origin), env }).config.llm;
}

test("every setting of the documentation is among these", () => {
  expect(documented).toHaveLength(SETTINGS.length);
});

describe("as documented", () => {
  for (const [index, [name, expected]] of SETTINGS.entries()) {
    test(`${name}: the address, the query, the headers and the model`, async () => {
      await using model = await startModelServer();
      model.reply().text("hi");
      const llm = settingOf(index, expected.origin, model);
      const { router } = createProviders(new Live<ProvidersConfig>({ llm }), {
        clock: systemClock,
        log: createLogbook(),
      });
      expect(textOf(await collect(router, requestOf(router.resolve(null), "hello")))).toBe("hi");
      const [call] = model.requests;
      expect(call?.path).toBe(expected.path);
      expect(call?.headers).toMatchObject(expected.headers);
      for (const header of expected.without ?? []) expect(call?.headers).not.toHaveProperty(header);
      expect(call?.body).toMatchObject({ model: expected.model, stream: true });
    });
  }

  test("the doctor asks in the same way", async () => {
    const asked: string[] = [];
    using server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: ({ url, headers }) => {
        asked.push(`${new URL(url).pathname}${new URL(url).search} ${headers.get("api-key")}`);
        return Response.json({ data: [] });
      },
    });
    const index = SETTINGS.findIndex(([name]) => name === "Azure OpenAI by deployment");
    const toml =
      documented[index]?.text.replace("https://my-resource.openai.azure.com", server.url.origin) ?? "";
    const { findings } = await checkProviders(load({ toml, env }).config.llm);
    expect(findings).toMatchObject([{ state: "ok" }]);
    expect(asked).toEqual(["/openai/deployments/any/models?api-version=2024-10-21 key-of-AZURE"]);
  });
});

describe("an address", () => {
  const pathOf = async (more: object, base = (origin: string) => `${origin}/v1`): Promise<string> => {
    await using model = await startModelServer();
    model.reply().text("hi");
    const provider = createOpenAiProvider(openAiOptions(base(new URL(model.url()).origin), more));
    await collect(provider, { ...hello, model: "my model/ä" });
    return model.requests[0]?.path ?? "";
  };

  test("may end in a slash or not, and have a query of its own", async () => {
    expect(await pathOf({}, (origin) => `${origin}/v1/`)).toBe("/v1/chat/completions");
    expect(await pathOf({}, (origin) => origin)).toBe("/chat/completions");
    const path = await pathOf({ query: { b: "2 &", c: "3" } }, (origin) => `${origin}/v1?a=1&b=0`);
    expect(path).toBe("/v1/chat/completions?a=1&b=2%20%26&c=3");
  });

  test("has the model where it says so, and nothing of it is taken for a path", async () => {
    const path = await pathOf({}, (origin) => `${origin}/of/{model}/v1`);
    expect(path).toBe("/of/my%20model%2F%C3%A4/v1/chat/completions");
  });

  test("keeps what is in its query out of what is shown", async () => {
    await using model = await startModelServer();
    model
      .reply()
      .status(400, { body: JSON.stringify({ error: { message: "no such key: hidden-in-query" } }) });
    const options = openAiOptions(model.url(), { query: { key: "hidden-in-query" } });
    const { message } = errorOf(await collect(createOpenAiProvider(options), hello));
    expect(message).toContain("no such key: [redacted]");
  });
});

describe("the header of the key", () => {
  test("has the key as it is, and the next one where that is refused", async () => {
    await using model = await startModelServer();
    model.reply().status(401);
    model.reply().text("hi");
    const options = openAiOptions(model.url(), { api_key_header: "X-Key", api_keys: ["one-key", "two-key"] });
    await collect(createOpenAiProvider(options), hello);
    expect(model.requests.map(({ headers }) => [headers["x-key"], headers["authorization"]])).toEqual([
      ["one-key", undefined],
      ["two-key", undefined],
    ]);
  });

  test("is refused at once where it is none", () => {
    for (const api_key_header of ["api key", "x:y", "é"]) {
      expect(() => createOpenAiProvider(openAiOptions("http://127.0.0.1:1/v1", { api_key_header }))).toThrow(
        "llm.providers.test.api_key_header is no name of a header",
      );
    }
  });
});
