import { describe, expect, test } from "bun:test";
import type { ToolSpec } from "../../src/core/ports.ts";
import { createOpenAiProvider } from "../../src/provider/openai.ts";
import { startModelServer } from "../support/model-server.ts";
import { collect, errorOf, textOf } from "./provider.conformance.ts";
import { answered, callsIn, chunks, hello, openAiOptions, piece } from "./provider.support.ts";

describe("a server that means harm", () => {
  const caps = { max_line_bytes: 100_000, max_message_bytes: 50_000 };
  const endless: [string, object, string][] = [
    ["arguments", piece(0, "a", "read", "x".repeat(1_000)), "longer than 50000 bytes"],
    [
      "arguments that are objects",
      piece(0, "a", "read", { a: "x".repeat(1_000) }),
      "longer than 50000 bytes",
    ],
    ["calls", piece(null, null, "read", "{}"), "calls more than 128 tools"],
    ["calls nobody names", piece(null, null, null, "{}"), "longer than 50000 bytes"],
  ];
  test.each(endless)("%s without end are cut off", async (_, call, why) => {
    const chunk = `data: ${JSON.stringify({ choices: [{ delta: { tool_calls: [call] } }] })}\n\n`;
    const error = errorOf(await answered((reply) => reply.pour(chunk), caps));
    expect(error.reason).toBe("TOO_LARGE");
    expect(error.message).toContain(why);
    expect(error.retryable).toBe(false);
  });

  test("indexes without end are cut off, and long names and ids do not come through", async () => {
    const many = Array.from({ length: 200 }, (_, index) => piece(index, `i${index}`, "read", ""));
    expect(errorOf(await answered(chunks(many))).reason).toBe("TOO_LARGE");
    const [call] = callsIn(await answered(chunks([piece(0, "i".repeat(20_000), "n".repeat(20_000), "{}")])));
    expect(call?.name).toBe("n".repeat(200));
    expect(call?.tool_call_id).toMatch(/^[a-z0-9]{9}$/);
  });

  test("arguments that come slowly keep the call alive, nothing at all does not", async () => {
    const slow = { first_token_timeout_ms: 300, idle_timeout_ms: 300 };
    const args = JSON.stringify({ text: "x".repeat(40) });
    const events = await answered((reply) => reply.tool("write", args, { chunks: 8, everyMs: 100 }), slow);
    expect(callsIn(events)).toMatchObject([{ name: "write", arguments: args }]);
    const empty = await answered((reply) => {
      for (let i = 0; i < 30; i++) reply.wait(50).delta({ tool_calls: [piece(0, null, "", "")] });
      return reply.hang();
    }, slow);
    expect(errorOf(empty).reason).toBe("TIMEOUT");
  });
});

describe("what is sent", () => {
  const tools: ToolSpec[] = ["files.read", "files__read", "a.b", "x".repeat(64), `${"x".repeat(64)}.y`].map(
    (name) => ({ name, description: "d", parameters: { type: "object" } }),
  );

  test("names are spelled as the API takes them, all different, and mean the same when they come back", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    model.reply().text("ok");
    await collect(provider, { ...hello, tools });
    const sent: string[] = model.requests[0]?.body.tools.map(
      ({ function: { name } }: { function: { name: string } }) => name,
    );
    expect(sent.filter((name) => !/^[A-Za-z0-9_-]{1,64}$/.test(name))).toEqual([]);
    expect(new Set(sent).size).toBe(tools.length);
    const reply = model.reply();
    for (const name of [...sent, "files.read", "none.at.all"]) reply.tool(name, {});
    const events = await collect(provider, { ...hello, tools });
    expect(callsIn(events).map(({ name }) => name)).toEqual([
      ...tools.map(({ name }) => name),
      "files.read",
      "none.at.all",
    ]);
    expect(textOf(events)).toBe("");
  });

  test("ids are what a model of Mistral takes, the same for a call and its result, and otherwise as they were", async () => {
    await using model = await startModelServer();
    const provider = createOpenAiProvider(openAiOptions(model.url()));
    const call = (tool_call_id: string) => ({ tool_call_id, name: "time", arguments: "[1]" });
    const messages = [
      { role: "user", content: "hello" },
      {
        role: "assistant",
        content: "",
        tool_calls: [call("call_long_enough_for_openai"), call("AbCdEfGh1")],
      },
      { role: "tool", tool_call_id: "call_long_enough_for_openai", content: "1" },
      { role: "tool", tool_call_id: "AbCdEfGh1", content: "2" },
    ] as const;
    for (const name of ["mistralai/Mistral-Small", "gpt-x"]) {
      model.reply().text("ok");
      await collect(provider, { ...hello, model: name, messages });
    }
    const ids = model.requests.map(({ body }) => {
      const [, asked, first, second] = body.messages;
      const inCalls = asked.tool_calls.map(({ id }: { id: string }) => id);
      expect([first.tool_call_id, second.tool_call_id]).toEqual(inCalls);
      // What is no object makes some servers refuse the conversation.
      expect(asked.tool_calls[0].function.arguments).toBe("{}");
      return inCalls;
    });
    expect(ids).toEqual([
      [expect.stringMatching(/^[a-z0-9]{9}$/), "AbCdEfGh1"],
      ["call_long_enough_for_openai", "AbCdEfGh1"],
    ]);
  });
});
