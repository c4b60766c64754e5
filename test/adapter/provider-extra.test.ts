import { describe, expect, test } from "bun:test";
import type { ModelMessage, ToolCall } from "../../src/core/ports.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import type { ModelServer } from "../support/model-server.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf } from "./provider.conformance.ts";
import { callsIn, chunks, hello, openAiOptions, piece } from "./provider.support.ts";

const SIGNED = { google: { thought_signature: "c2lnbmVk" } };
const FOREIGN = { google: { thought_signature: "skip_thought_signature_validator" } };
const GEMINI = "gemini-3-pro-preview";

async function calls(model: ModelServer, ...lists: (readonly object[])[]): Promise<readonly ToolCall[]> {
  chunks(...lists)(model.reply());
  const provider = createOpenAiProvider(openAiOptions(model.url(), { name: "gemini" }));
  return callsIn(await collect(provider, { ...hello, model: GEMINI }));
}

/** The calls as a provider of that name is told of them. */
async function told(model: ModelServer, tool_calls: readonly ToolCall[], name: string, id: string) {
  const results = tool_calls.map(({ tool_call_id }): ModelMessage => {
    return { role: "tool", tool_call_id, content: "done" };
  });
  const messages: ModelMessage[] = [{ role: "assistant", content: "", tool_calls }, ...results];
  model.reply().text("hi");
  await collect(createOpenAiProvider(openAiOptions(model.url(), { name })), {
    ...hello,
    messages,
    model: id,
  });
  return model.requests
    .at(-1)
    ?.body.messages[0].tool_calls.map(({ extra_content }: { extra_content?: unknown }) => extra_content);
}

describe("what a server wants back with a call", () => {
  test("comes back to it as it was, and to no other", async () => {
    await using model = await startModelServer();
    const made = await calls(model, [
      { ...piece(0, "c1", "read", "{}"), extra_content: SIGNED },
      piece(1, "c2", "list", "{}"),
    ]);
    expect(made.map(({ extra }) => extra === undefined)).toEqual([false, true]);
    expect(await told(model, made, "gemini", GEMINI)).toEqual([SIGNED, undefined]);
    expect(await told(model, made, "gemini", "gemini-2.5-flash")).toEqual([SIGNED, undefined]);
    expect(await told(model, made, "openai", "gpt-x")).toEqual([undefined, undefined]);
  });

  test("may come with any piece of the call", async () => {
    await using model = await startModelServer();
    const made = await calls(
      model,
      [piece(0, "c1", "read", '{"n":')],
      [{ ...piece(0, null, null, "1}"), extra_content: SIGNED }],
    );
    expect(made).toMatchObject([{ name: "read", arguments: '{"n":1}' }]);
    expect(await told(model, made, "gemini", GEMINI)).toEqual([SIGNED]);
  });

  test("is bounded with the answer it is part of", async () => {
    await using model = await startModelServer();
    const extra_content = { google: { thought_signature: "x".repeat(70_000) } };
    chunks([{ ...piece(0, "c1", "read", "{}"), extra_content }])(model.reply());
    const events = await collect(createOpenAiProvider(openAiOptions(model.url())), hello);
    expect(errorOf(events).reason).toBe("TOO_LARGE");
  });

  test("is made up for calls of another model, where a server refuses them without", async () => {
    await using model = await startModelServer();
    const other = ["c1", "c2"].map((tool_call_id) => ({ tool_call_id, name: "read", arguments: "{}" }));
    const own = [{ ...other[0], extra: "of a provider that is none of ours" } as ToolCall];
    expect(await told(model, other, "gemini", GEMINI)).toEqual([FOREIGN, undefined]);
    expect(await told(model, own, "gemini", `models/${GEMINI}`)).toEqual([FOREIGN]);
    expect(await told(model, other, "gemini", "gemini-2.5-flash")).toEqual([undefined, undefined]);
    expect(await told(model, own, "router", `google/${GEMINI}`)).toEqual([undefined]);
  });
});

test("an error that comes as a list of one says what it says", async () => {
  await using model = await startModelServer();
  const body = JSON.stringify([
    { error: { code: 400, message: "Function call is missing a thought_signature" } },
  ]);
  model.reply().status(400, { body });
  const events = await collect(createOpenAiProvider(openAiOptions(model.url())), hello);
  expect(errorOf(events).message).toBe(
    "test refused the request (400): Function call is missing a thought_signature",
  );
  for (const odd of ["[", "[]", "[1]"]) {
    model.reply().status(400, { body: odd });
    const { message } = errorOf(await collect(createOpenAiProvider(openAiOptions(model.url())), hello));
    expect(message).toStartWith("test refused the request (400)");
  }
});
